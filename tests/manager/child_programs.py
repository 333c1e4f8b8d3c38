"""Programs that tests put in the engine's place."""

TAKE_OVER = """
import sys
from pathlib import Path
from mopo_tui.manager.supervisor import take_over
sys.exit(take_over(Path(sys.argv[1]), sys.argv[2:]))
"""
PREAMBLE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from engine.record import Recorder
folder = Path(sys.argv[1])
"""
