"""Reading the arrays of an HDF5 file that somebody else made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import DatasetError

BLOCK = 1 << 16  # rows at once

Poll = Callable[[], object]


def blocks(rows: int, poll: Poll, step: int = 0) -> Iterator[slice]:
    """Slices of `step` rows, or BLOCK, that cover `rows` rows, with a call of `poll` before each."""
    step = step or BLOCK
    for start in range(0, rows, step):
        poll()
        yield slice(start, min(start + step, rows))


class Arrays:
    """The arrays of an open HDF5 file: checked, copied a block at a time, and never leading into another file."""

    def __init__(self, file: Any, path: Path, poll: Poll) -> None:
        self._file, self.path, self.poll = file, path, poll
        self.notes: list[str] = []

    def error(self, said: str) -> DatasetError:
        return DatasetError(f"{self.path}: {said}")

    def find(self, key: str) -> Any:
        """The array of numbers of that name, or None where there is none."""
        import h5py

        link = self._file.get(key, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise self.error(f"{key} is a link, and links are not followed")
        array = self._file[key]
        if not isinstance(array, h5py.Dataset):
            raise self.error(f"{key} is a group, not an array")
        if array.is_virtual or array.external:
            raise self.error(f"{key} lies in another file, and links are not followed")
        if array.dtype.kind not in "fiub":
            raise self.error(f"{key} holds values of type {array.dtype}, not numbers")
        return array

    def needed(self, key: str) -> Any:
        """The array of that name, which D4RL's form must have."""
        array = self.find(key)
        if array is None:
            raise self.error(f"no {key}; D4RL's form has observations, actions, rewards and terminals")
        return array

    def matrix(self, key: str, array: Any, rows: int | None = None, width: int | None = None) -> tuple[int, int]:
        """The shape of (rows, numbers); as many of both as given."""
        shape = array.shape
        if shape is None or len(shape) != 2 or shape[1] < 1:
            raise self.error(f"{key} has the shape {shape}, not (rows, numbers)")
        if width is not None and shape[1] != width:
            raise self.error(f"{key} has {shape[1]} numbers a row, observations {width}")
        self._same_rows(key, shape[0], rows)
        return int(shape[0]), int(shape[1])

    def column(self, key: str, array: Any, rows: int) -> None:
        """Check that its shape is (rows,) or (rows, 1)."""
        shape = array.shape
        if shape is None or len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
            raise self.error(f"{key} has the shape {shape}, not (rows,)")
        if len(shape) == 2:
            self.notes.append(f"{key} of shape (rows, 1) taken as (rows,)")
        self._same_rows(key, shape[0], rows)

    def _same_rows(self, key: str, has: int, rows: int | None) -> None:
        if rows is not None and has != rows:
            raise self.error(f"{key} has {has:,} rows, observations {rows:,}")

    def blocks_of(self, array: Any) -> Iterator[slice]:
        """Blocks of its rows that never split a compressed chunk, which would be read twice."""
        chunk = array.chunks[0] if array.chunks else 1
        return blocks(len(array), self.poll, max(chunk, BLOCK // chunk * chunk))

    def copy(self, key: str, array: Any, out: NDArray[np.float32]) -> None:
        """Copy the array's first columns into `out`, (rows, columns)."""
        bad, first = 0, 0
        for block in self.blocks_of(array):
            piece = array[block] if array.ndim == 1 else array[block, : out.shape[1]]
            with np.errstate(over="ignore"):
                out[block] = piece.reshape(len(piece), -1)
            finite = np.isfinite(out[block]).all(axis=1)
            if not finite.all():
                first = first if bad else block.start + int(finite.argmin())
                bad += int(np.count_nonzero(~finite))
        if bad:
            raise self.error(
                f"{key} has NaN, infinite or too large values in {bad:,} of {len(out):,} rows; the first is row {first:,}, "
                "counted from 0"
            )

    def flags(self, key: str, array: Any, out: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Copy zeros and ones into `out` (rows, 1), and return them as (rows,)."""
        self.copy(key, array, out)
        set_: NDArray[np.bool_] = out[:, 0] != 0
        if not (out[set_, 0] == 1).all():
            raise self.error(f"{key} has values other than 0 and 1")
        return set_
