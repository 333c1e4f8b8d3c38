"""File locks that end with the process that holds them (standard library only)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path


class Busy(OSError):
    """Another process holds the lock."""


class Unsupported(OSError):
    """This file system has no locks."""


def hold(path: Path, seconds: float) -> int:
    """A descriptor that holds the lock until it is closed, or this process and all that share it have ended.

    Args:
        seconds: how long to wait for another holder.

    Raises:
        Busy: another one kept it.
        Unsupported: the file system has no locks.
        OSError: the file cannot be opened.
    """
    descriptor = _opened(path)
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(descriptor)
                raise Busy(f"{path} is locked") from None
            time.sleep(0.01)
        except OSError as error:
            os.close(descriptor)
            raise Unsupported(error.errno, error.strerror, str(path)) from None


def held(path: Path) -> bool:
    """Whether another process holds the lock now; False where that cannot be known."""
    if not path.exists():
        return False
    try:
        os.close(hold(path, 0.0))
    except Busy:
        return True
    except OSError:
        pass
    return False


@contextlib.contextmanager
def locked(path: Path, seconds: float) -> Iterator[bool]:
    """Hold the lock for the body; gives False where the file system has no locks and the body runs without.

    Raises:
        Busy, OSError: as `hold`.
    """
    try:
        descriptor = hold(path, seconds)
    except Unsupported:
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """The file for locking; several people may share a store, so one that only another may write is opened for reading."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY)
