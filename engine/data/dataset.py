"""Transitions of one dataset as packed rows, and the flat cache that holds them: a folder of three files.

    dataset.json        the manifest: dimensions, where the data comes from, references, fingerprint
    rows.f32            (N, 2·obs + act + 2) little-endian float32: [s | a | r | s' | d]
    episode_ends.i64    (episodes,) little-endian int64: the row after each episode's last

A folder appears whole by one rename, so whatever can be opened is complete. Opening maps the rows and reads none of them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.record import dumps, read_json

FORMAT = 1
MANIFEST, ROWS, EPISODE_ENDS = "dataset.json", "rows.f32", "episode_ends.i64"


class DatasetError(ValueError):
    """A dataset that cannot be read, built or written; the message is one clear line."""


def row_width(observation_dim: int, action_dim: int) -> int:
    """Columns of a packed row [s | a | r | s' | d]."""
    return 2 * observation_dim + action_dim + 2


def fingerprint(rows: NDArray[Any], episode_ends: NDArray[Any], observation_dim: int, action_dim: int) -> str:
    """SHA-256 (hex) over the dimensions, the rows' bytes and the episode ends' bytes: the same content has the same name."""
    digest = hashlib.sha256(f"{observation_dim} {action_dim} {len(rows)} {len(episode_ends)}\n".encode())
    for start in range(0, len(rows), 1 << 16):  # a piece at a time: a mapped file is not pulled into memory whole
        digest.update(np.ascontiguousarray(rows[start : start + (1 << 16)], dtype="<f4").data)
    digest.update(np.ascontiguousarray(episode_ends, dtype="<i8").data)
    return digest.hexdigest()


@dataclass(frozen=True)
class TransitionDataset:
    """N transitions of whole or cut episodes, in the order in which they happened.

    Attributes:
        rows: (N, 2·obs + act + 2) float32, [s | a | r | s' | d]. d is 1 only where the environment terminated: an episode that
            ends by the time limit, or because its collection was cut, ends with d = 0. The rows of an opened dataset are a
            private mapping of the file: what is written to them reaches no other process.
        episode_ends: (episodes,) int64, the row after each episode's last; the last of them is N.
        manifest: the content of dataset.json.
    """

    rows: NDArray[np.float32]
    episode_ends: NDArray[np.int64]
    observation_dim: int
    action_dim: int
    manifest: dict[str, Any]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def id(self) -> str:
        """The Minari id."""
        return str(self.manifest["id"])

    @property
    def references(self) -> dict[str, Any]:
        """Raw returns against which a run is read: "random", "do_nothing", "batch_mean", "batch_best", and the score's "scale"."""
        references: dict[str, Any] = self.manifest["references"]
        return references

    @property
    def report(self) -> dict[str, Any]:
        """Numbers that describe the data: `engine.data.report.report`."""
        report: dict[str, Any] = self.manifest["report"]
        return report

    @property
    def fingerprint(self) -> str:
        """The content's SHA-256 as the manifest has it; `verify` recomputes it."""
        return str(self.manifest["fingerprint"])

    @property
    def observations(self) -> NDArray[np.float32]:
        """s, a view (N, obs)."""
        return self.rows[:, : self.observation_dim]

    @property
    def actions(self) -> NDArray[np.float32]:
        """a, a view (N, act)."""
        return self.rows[:, self.observation_dim : self.observation_dim + self.action_dim]

    @property
    def rewards(self) -> NDArray[np.float32]:
        """r, a view (N,)."""
        return self.rows[:, self.observation_dim + self.action_dim]

    @property
    def next_observations(self) -> NDArray[np.float32]:
        """s', a view (N, obs)."""
        return self.rows[:, self.observation_dim + self.action_dim + 1 : -1]

    @property
    def terminals(self) -> NDArray[np.float32]:
        """d, a view (N,) of zeros and ones."""
        return self.rows[:, -1]

    @property
    def terminal_next_observations(self) -> bool:
        """False where s' of terminal rows is not known and stands as s: they serve a critic, and never train a model."""
        return bool(self.manifest.get("terminal_next_observations", True))

    def learning_rows(self, next_observations: str) -> NDArray[np.float32]:
        """The packed rows to learn from: as they are ("true"), or with the next row's s as s' of terminal rows ("shifted"), as the
        official code reads data that do not tell s'. The last row has no next one and stays."""
        if next_observations == "true":
            return self.rows
        rows = np.array(self.rows)
        ended = np.flatnonzero(rows[:-1, -1])
        rows[ended, self.observation_dim + self.action_dim + 1 : -1] = rows[ended + 1, : self.observation_dim]
        return rows

    @cached_property
    def episode_starts(self) -> NDArray[np.int64]:
        """The first row of each episode, (episodes,)."""
        return np.concatenate([np.zeros(1, dtype=np.int64), self.episode_ends[:-1]])

    @property
    def start_states(self) -> NDArray[np.float32]:
        """The first observation of each episode, a copy (episodes, obs)."""
        return self.observations[self.episode_starts]

    @property
    def episode_lengths(self) -> NDArray[np.int64]:
        """Steps of each episode, (episodes,)."""
        return self.episode_ends - self.episode_starts

    @cached_property
    def episode_returns(self) -> NDArray[np.float64]:
        """The undiscounted return of each episode as far as it was recorded, (episodes,), summed in float64."""
        returns: NDArray[np.float64] = np.add.reduceat(self.rewards.astype(np.float64), self.episode_starts)
        return returns

    @property
    def complete_episodes(self) -> NDArray[np.bool_]:
        """Which episodes ran to their own end or to the environment's time limit, (episodes,); the others were cut."""
        limit = self.manifest.get("max_episode_steps") or np.iinfo(np.int64).max
        ended: NDArray[np.bool_] = (self.terminals[self.episode_ends - 1] > 0) | (self.episode_lengths >= limit)
        return ended

    def verify(self) -> None:
        """Read every row and compare with the fingerprint (about half a second a million rows).

        Raises:
            DatasetError: the content is not what was written.
        """
        actual = fingerprint(self.rows, self.episode_ends, self.observation_dim, self.action_dim)
        if actual != self.fingerprint:
            raise DatasetError(
                f"dataset {self.manifest.get('id')}: its rows (sha256 {actual[:12]}…) are not those its manifest names "
                f"({self.fingerprint[:12]}…); delete it and build it again"
            )

    @staticmethod
    def open(folder: Path) -> TransitionDataset:
        """Map the flat cache in `folder`, in milliseconds whatever its size.

        Raises:
            DatasetError: there is none, or it is damaged: the message names the folder and what to do.
        """
        again = f"delete {folder} and build it again"
        manifest = read_json(folder / MANIFEST)
        if manifest is None:
            if not folder.exists():
                raise DatasetError(f"no dataset at {folder}; build it with `mopo data build`")
            raise DatasetError(f"dataset at {folder}: {MANIFEST} is missing or unreadable; {again}")
        if manifest.get("format") != FORMAT:
            raise DatasetError(f"dataset at {folder} has format {manifest.get('format')}, this program reads {FORMAT}")
        try:
            size, episodes = int(manifest["size"]), int(manifest["episodes"])
            observation_dim, action_dim = int(manifest["observation_dim"]), int(manifest["action_dim"])
            for key in ("id", "fingerprint", "references", "report"):
                manifest[key]
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"dataset at {folder}: {MANIFEST} is damaged ({error!r}); {again}") from None
        width = row_width(observation_dim, action_dim)
        for name, expected in ((ROWS, 4 * size * width), (EPISODE_ENDS, 8 * episodes)):
            try:
                actual = (folder / name).stat().st_size
            except OSError as error:
                raise DatasetError(f"dataset at {folder}: {name}: {error.strerror}; {again}") from None
            if actual != expected:
                raise DatasetError(f"dataset at {folder}: {name} has {actual:,} bytes, not {expected:,}; {again}")
        try:
            rows = np.memmap(folder / ROWS, dtype="<f4", mode="c", shape=(size, width))
            episode_ends = np.fromfile(folder / EPISODE_ENDS, dtype="<i8")
        except (OSError, ValueError) as error:
            raise DatasetError(f"dataset at {folder} cannot be read: {error}") from None
        if episodes < 1 or episode_ends[-1] != size or (np.diff(episode_ends, prepend=0) <= 0).any():
            raise DatasetError(f"dataset at {folder}: {EPISODE_ENDS} does not divide its {size:,} rows; {again}")
        return TransitionDataset(rows, episode_ends, observation_dim, action_dim, manifest)


def in_memory(
    rows: NDArray[np.float32],
    episode_ends: NDArray[np.int64],
    observation_dim: int,
    action_dim: int,
    manifest: Mapping[str, Any],
) -> TransitionDataset:
    """A dataset of these arrays, whose manifest gets the keys that follow from them."""
    about = {
        "format": FORMAT,
        **manifest,
        "size": len(rows),
        "episodes": len(episode_ends),
        "observation_dim": observation_dim,
        "action_dim": action_dim,
        "fingerprint": fingerprint(rows, episode_ends, observation_dim, action_dim),
    }
    return TransitionDataset(rows, episode_ends, observation_dim, action_dim, about)


def write(dataset: TransitionDataset, folder: Path) -> TransitionDataset:
    """Write the flat cache `folder` whole or not at all, and open it. The caller holds the folder's lock.

    Raises:
        DatasetError: the disk is full or not writable, or `folder` exists.
    """
    building = folder.with_name(f".{folder.name}.building")
    try:
        shutil.rmtree(building, ignore_errors=True)  # of a builder that was killed
        building.mkdir(parents=True)
        try:
            with open(building / ROWS, "wb") as f:
                f.write(np.ascontiguousarray(dataset.rows, dtype="<f4").data)  # tofile would not say why it failed
                os.fsync(f.fileno())
            with open(building / EPISODE_ENDS, "wb") as f:
                f.write(np.ascontiguousarray(dataset.episode_ends, dtype="<i8").data)
                os.fsync(f.fileno())
            with open(building / MANIFEST, "w", encoding="utf-8") as f:
                f.write(dumps({**dataset.manifest, "written": time.time()}, indent=1) + "\n")
                f.flush()
                os.fsync(f.fileno())
            sync_folder(building)
            os.rename(building, folder)
            sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    except OSError as error:
        raise DatasetError(f"cannot write the dataset {folder}: {error.strerror or error}") from None
    return TransitionDataset.open(folder)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
