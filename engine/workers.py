"""Processes that work beside this one, each at the other end of a pipe. They end with it, however it ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any


@contextlib.contextmanager
def team(count: int, prepare: Callable[..., Callable[..., Any]], *job: Any) -> Iterator[dict[Connection, BaseProcess]]:
    """Processes, by the pipe to each; they are gone at the end.

    Args:
        prepare: called with `job` in each of them; what it returns is called with each message (a tuple) that is sent there, and
            its answer sent back. What either of them raises comes back in an answer's place, and is that process's last.
    """
    context = multiprocessing.get_context("spawn")  # a copy of this process would hold its torch and its threads
    members: dict[Connection, BaseProcess] = {}
    try:
        # One thread each: numpy's products of one observation are too small for more.
        with _environment(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")):
            for _ in range(count):
                ours, theirs = context.Pipe()
                process: BaseProcess = context.Process(target=_work, args=(theirs, prepare, *job), daemon=True)
                process.start()
                theirs.close()
                members[ours] = process
        yield members
    finally:
        for connection, process in members.items():
            connection.close()
            process.kill()
        for process in members.values():
            process.join()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables for the processes started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(connection: Connection, prepare: Callable[..., Callable[..., Any]], *job: Any) -> None:
    """Answers messages until the parent closes the pipe or dies."""
    # Signals go to the whole process group; the parent decides, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        answer = prepare(*job)
        while True:
            connection.send(answer(*connection.recv()))
    except (EOFError, ConnectionError):
        pass  # the parent is gone
    except Exception as error:
        with contextlib.suppress(ConnectionError):
            connection.send(_portable(error))


def _portable(error: Exception) -> Exception:
    """`error` with its traceback as a note, in a form that another process can read."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
