"""Fetching one published file whose length and SHA-256 are known, so that it is there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from engine.data.dataset import DatasetError, sync_folder
from engine.data.locking import locked

TIMEOUT_SECONDS = 10.0
PROGRESS_SECONDS = 0.1
PIECE = 1 << 18  # bytes from the network at once


@dataclass(frozen=True)
class Published:
    """What is to be fetched.

    Attributes:
        advice: what to do where the host does not answer or has something else; the end of a message.
    """

    url: str
    bytes: int
    sha256: str
    advice: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


def fetch(
    file: Published,
    path: Path,
    progress: Callable[[int, int], object],
    poll: Callable[[], object],
    timeout: float = TIMEOUT_SECONDS,
) -> None:
    """Fetch `file` to `path` unless it is there; what an earlier call got of it is kept in PATH.part and continued.

    It appears by one rename, once its length and SHA-256 were found right; the SHA-256 is recorded beside it. Processes that want
    the same file queue at a lock.

    Args:
        progress: gets (bytes so far, bytes in all), ten times a second at most.
        poll: called at every piece; may raise to stop.
        timeout: seconds for the host to answer, and between two pieces.

    Raises:
        DatasetError: the host does not answer or has another file, or the folder is full or not writable.
    """
    if _is_there(file, path, poll):
        return
    with locked(path, poll):
        if _is_there(file, path, poll):  # the process that held the lock fetched it
            return
        part = path.with_name(f"{path.name}.part")
        try:
            _complete(file, part, timeout, progress, poll)
            if _sha256(part, poll) != file.sha256:
                part.unlink()
                raise DatasetError(f"{file.url} is not the published file: its SHA-256 differs; {file.advice}")
            os.replace(part, path)
            sync_folder(path.parent)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full" if full else error.strerror or error
            kept = "; what came so far is kept, and the next attempt continues there" if part.exists() else ""
            raise DatasetError(f"cannot write {part}: {reason}{kept}") from None
        _record(file, path)


def _is_there(file: Published, path: Path, poll: Callable[[], object]) -> bool:
    """Whether `path` is that file, by the record beside it or, where that is missing or older, by its content."""
    try:
        status = path.stat()
        if status.st_size != file.bytes:
            return False
        if _recorded(file, path, status.st_mtime_ns):
            return True
        if _sha256(path, poll) != file.sha256:
            return False
    except OSError:
        return False
    _record(file, path)
    return True


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(file: Published, path: Path, changed: int) -> bool:
    """Whether the content was found right after the file's last change (time in nanoseconds)."""
    record = _record_path(path)
    try:
        return record.stat().st_mtime_ns >= changed and record.read_bytes().split()[:1] == [file.sha256.encode()]
    except OSError:
        return False


def _record(file: Published, path: Path) -> None:
    """Note, as sha256sum does, that the content was found right. Without the note it is read again."""
    with suppress(OSError):
        _record_path(path).write_text(f"{file.sha256}  {path.name}\n", encoding="utf-8")


def _sha256(path: Path, poll: Callable[[], object]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(1 << 22):
            digest.update(piece)
            poll()
    return digest.hexdigest()


def _complete(
    file: Published,
    part: Path,
    timeout: float,
    progress: Callable[[int, int], object],
    poll: Callable[[], object],
) -> None:
    """Make `part` as long as the file, from where it ends.

    Raises:
        DatasetError: of the host or its answer, or too little space.
        OSError: of the disk.
    """
    have = part.stat().st_size if part.exists() else 0
    if have > file.bytes:
        part.unlink()
        have = 0
    need, free = file.bytes - have, shutil.disk_usage(part.parent).free
    if free < need:
        raise DatasetError(f"{part.parent} has {free / 1e6:.0f} MB free; {part.stem} needs {need / 1e6:.0f} MB")
    poll()
    if need:
        with _open_url(file, have, part, timeout) as response:
            have = _receive(file, response, have, part, timeout, progress, poll)
    if have > file.bytes:
        part.unlink()
        raise DatasetError(
            f"{file.url} is not the published file: it is longer than {file.bytes:,} bytes; {file.advice}"
        )
    if have < file.bytes:
        raise DatasetError(
            f"{file.host} broke off at byte {have:,} of {file.bytes:,}; the next attempt continues there"
        )
    progress(have, file.bytes)


def _open_url(file: Published, start: int, part: Path, timeout: float) -> http.client.HTTPResponse:
    """The answer to a request for the bytes from `start` on."""
    try:
        scheme = urlsplit(file.url).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise DatasetError(f"{file.url} is no http or https address; {file.advice}")
    headers = {"User-Agent": "mopo-tui"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        request = urllib.request.Request(file.url, headers=headers)
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # of a longer file than the host's
        raise DatasetError(f"{file.url}: {error.code} {error.reason}; {file.advice}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unanswered(file, error, timeout) from None
    return response


def _receive(
    file: Published,
    response: http.client.HTTPResponse,
    have: int,
    part: Path,
    timeout: float,
    progress: Callable[[int, int], object],
    poll: Callable[[], object],
) -> int:
    """Append the answer to the `have` bytes of `part`, or start again where the host sends the whole; returns its length."""
    continues = response.status == http.HTTPStatus.PARTIAL_CONTENT
    if continues and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        part.unlink()
        raise DatasetError(f"{file.host} did not continue at byte {have:,} as asked; try again from the start")
    have = have if continues else 0
    announced, need = response.headers.get("Content-Length"), file.bytes - have
    if announced is not None and announced != str(need):
        if continues:
            part.unlink()
        raise DatasetError(f"{file.url} is not the published file: {announced} bytes, not {need}; {file.advice}")
    shown = 0.0
    with open(part, "ab" if continues else "wb") as f:
        while have <= file.bytes and (piece := _read_piece(file, response, timeout)):
            f.write(piece)
            have += len(piece)
            poll()
            if time.monotonic() - shown >= PROGRESS_SECONDS:
                shown = time.monotonic()
                progress(have, file.bytes)
        f.flush()
        os.fsync(f.fileno())
    return have


def _read_piece(file: Published, response: http.client.HTTPResponse, timeout: float) -> bytes:
    try:
        return response.read1(PIECE)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unanswered(file, error, timeout) from None


def _unanswered(file: Published, error: Exception, timeout: float) -> DatasetError:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        said = f"did not answer within {timeout:g} s"
    else:
        said = f"cannot be reached ({getattr(reason, 'strerror', None) or reason or type(reason).__name__})"
    return DatasetError(f"{file.host} {said}; {file.advice}")
