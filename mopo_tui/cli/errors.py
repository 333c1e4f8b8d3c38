"""Exit codes, and errors as one line each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

OK, FAILED, USAGE, UNAVAILABLE, NOT_FOUND, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 130, 143


def guarded(command: Callable[[], object]) -> int:
    """Run `command`; what a person can put right becomes one line on stderr and an exit code."""
    try:
        command()
    except SystemExit as end:
        return _flushed(end.code if isinstance(end.code, int) else OK if end.code is None else FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _unread()
    except (ValueError, RuntimeError, OSError) as error:
        code = _code(error)
        if code is None:
            raise
        print(f"mopo: {error}", file=sys.stderr)
        return code
    return _flushed(OK)


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _unread()
    return code


def _unread() -> int:
    """The reader of our output (`head`) has gone: nothing is wrong, and nothing may be written at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def _code(error: Exception) -> int | None:
    """The exit code of an error that is no defect of ours."""
    from engine.tasks import UnknownName
    from mopo_tui.manager.errors import LaunchError, RunNotFound, StoreError
    from mopo_tui.manager.locations import LocationError
    from mopo_tui.manager.queue import QueueError

    if isinstance(error, RunNotFound):
        return NOT_FOUND
    if isinstance(error, LaunchError):
        return FAILED
    if isinstance(error, (StoreError, QueueError, LocationError, UnknownName)):
        return USAGE
    from engine.config import ConfigError
    from mopo_tui.manager.datasets import DatasetUnavailable

    if isinstance(error, DatasetUnavailable):
        return UNAVAILABLE
    return USAGE if isinstance(error, ConfigError) else None
