"""What a run measured, for other programs: CSV, JSON, Parquet, TensorBoard, HTML and Markdown."""

from __future__ import annotations

from pathlib import Path

from engine import record
from mopo_tui.manager.store import StoreError


def check_target(path: Path, force: bool) -> None:
    """Refuse a place where nothing can be written, or where something is.

    Raises:
        StoreError: with what to do.
    """
    if not path.absolute().parent.is_dir():
        raise StoreError(f"{path}: there is no folder {path.absolute().parent}")
    if path.is_dir():
        raise StoreError(f"{path} is a folder")
    if path.exists() and not force:
        raise StoreError(f"{path} is there already; --force overwrites it")


def write_target(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        record.write_atomically(path, content)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
