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
def locked(target: Path, poll: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of the file or folder `target`, a hidden file beside it; the system frees it when its holder dies.

    Args:
        poll: called while another holds it; may raise to stop waiting.

    Raises:
        DatasetError: the folder is not writable, or the file system has no locks.
    """
    path = target.with_name(f".{target.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DatasetError(f"cannot write below {target.parent}: {error.strerror}") from None
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
                    raise DatasetError(f"cannot lock {path}: {error.strerror}") from None
            poll()
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)
