"""One builder of a dataset at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.data.dataset import DatasetError

POLL_SECONDS = 0.2


@contextmanager
def locked(target: Path, poll: Callable[[], object], waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock of the file or folder `target`, a hidden file beside it; the system frees it when its holder dies.

    Args:
        poll: called while another holds it; may raise to stop waiting.
        waiting: called once where another holds it.

    Raises:
        DatasetError: the folder is not writable, or the file system has no locks.
    """
    path = target.with_name(f".{target.name}.lock")
    told = False
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise DatasetError(f"cannot write below {target.parent}: {error.strerror}") from None
        try:
            if _taken(descriptor, path):
                yield
                return
        finally:
            os.close(descriptor)
        if not told:
            waiting()
            told = True
        poll()
        time.sleep(POLL_SECONDS)


def _taken(descriptor: int, path: Path) -> bool:
    """Whether the lock is ours now, and its file still the one at `path`: who removes a dataset removes its lock, too."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
            return False
        raise DatasetError(f"cannot lock {path}: {error.strerror}") from None
