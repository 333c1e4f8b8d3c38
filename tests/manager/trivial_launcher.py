"""A launcher on this host whose supervisors start a small program in the engine's place, and so do the ones that those start."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from mopo_tui.manager.launcher import ThisHost

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from trivial_launcher import Trivial
from mopo_tui.manager import identity, supervisor
if sys.argv[7]:
    identity.host = lambda: sys.argv[7]
supervisor.LOOK_SECONDS = supervisor.GPU_SECONDS = float(sys.argv[3])
launcher = Trivial(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[7])
folder = Path(sys.argv[6])
command = [sys.executable, "-S", "-E", "-c", sys.argv[4], str(folder)]
sys.exit(supervisor.take_over(folder, command, queued=sys.argv[5] == "queued", launcher=launcher))
"""
# Says when it began and ended, in one line each; two of them at once in one folder would be seen.
WORK = """
import os, sys, time
folder = sys.argv[1]
log = os.path.join(os.path.dirname(folder), "work.log")
def say(what):
    number = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(number, f"{what} {time.monotonic_ns()} {os.path.basename(folder)}\\n".encode())
    os.close(number)
try:
    os.close(os.open(os.path.join(folder, "at-work"), os.O_CREAT | os.O_EXCL))
except FileExistsError:
    say("twice")
say("begin")
time.sleep(SECONDS)
with open(os.path.join(folder, "result.json.new"), "w") as f:
    f.write('{"t": %f, "final": {}}' % time.time())
os.replace(os.path.join(folder, "result.json.new"), os.path.join(folder, "result.json"))
say("end")
os.unlink(os.path.join(folder, "at-work"))
"""


class Trivial(ThisHost):
    """`slots` of them; `look` seconds between a supervisor's looks at the queue; `code` runs with the run folder as argument;
    `name` where it passes for another host than the one it is."""

    def __init__(
        self, slots: int = 2, look: float = 30.0, code: str = WORK.replace("SECONDS", "0.05"), name: str = ""
    ) -> None:
        super().__init__()
        self._slots, self._look, self._code, self._name = slots, look, code, name
        self.shot = 0

    def host(self) -> str:
        return self._name or super().host()

    def slots(self) -> int:
        return self._slots

    def command(self, folder: Path, *, queued: bool) -> list[str]:
        how = "queued" if queued else "now"
        here = str(Path(__file__).parent)
        return [
            sys.executable,
            "-P",
            "-c",
            PROGRAM,
            here,
            str(self._slots),
            str(self._look),
            self._code,
            how,
            str(folder),
            self._name,
        ]


class Shooting(Trivial):
    """One of whose supervisors in seven is killed while it comes up."""

    def start(self, folder: Path, *, queued: bool) -> subprocess.Popen[bytes]:
        starter = super().start(folder, queued=queued)
        if random.random() < 1 / 7:
            threading.Thread(target=self._shoot, args=(starter,)).start()
        return starter

    def _shoot(self, starter: subprocess.Popen[bytes]) -> None:
        time.sleep(random.uniform(0, 0.25))
        starter.send_signal(signal.SIGKILL)
        self.shot += 1
