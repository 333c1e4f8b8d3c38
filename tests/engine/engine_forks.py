"""Engine processes without the seconds that loading torch takes: one process that has it loaded, and forks one for each request.

    stdin   {"folder": …, "environment": {…}, "output": …}   one a line
    stdout  {"pid": …} at once for each, and {"pid": …, "code": …} when it has ended; the code is −N after signal N

What a fork does is what `python -P -m engine FOLDER` does; tests of the command line start that very command.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
from typing import Any

from engine.__main__ import main

LOADED = (
    "torch._dynamo",  # which torch.func loads at its first use
    "minari",
    "gymnasium.envs.mujoco.half_cheetah_v5",
    "gymnasium.envs.mujoco.hopper_v5",
    "engine.algorithms",
    "engine.algorithms.behaviour",
    "engine.algorithms.training",
    "engine.data.sources",
    "engine.provenance",
    "minari.data_collector",
)


def run(request: dict[str, Any]) -> None:
    """Become the engine process of a request; does not return."""
    code = 1
    try:
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, target)
        code = main([request["folder"]])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def tell(**said: int) -> None:
    print(json.dumps(said), flush=True)


def serve() -> None:
    """Until stdin ends; what still runs then is killed."""
    running = set[int]()
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], 0.01 if running else None)
        if ready:
            line = sys.stdin.buffer.readline()
            if not line:
                break
            pid = os.fork()
            if not pid:
                run(json.loads(line))
            running.add(pid)
            tell(pid=pid)
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            running.discard(pid)
            tell(pid=pid, code=os.waitstatus_to_exitcode(status))
    for pid in running:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    for name in LOADED:
        importlib.import_module(name)
    serve()
