"""The flat cache: written whole, opened at once, damage told."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

import numpy as np
import pytest

from engine.data.dataset import DatasetError, TransitionDataset, fingerprint, in_memory, row_width, write

OBS, ACT = 3, 2
MANIFEST = {"id": "mopo/test/9-v0", "max_episode_steps": 4, "references": {}, "report": {}}


def example() -> TransitionDataset:
    """Three episodes: ended by the time limit (4 steps), terminal (2), cut (3)."""
    rows = np.random.default_rng(0).normal(size=(9, row_width(OBS, ACT))).astype(np.float32)
    rows[:, -1] = 0
    rows[5, -1] = 1
    return in_memory(rows, np.array([4, 6, 9]), OBS, ACT, MANIFEST)


def test_views_and_episodes() -> None:
    d = example()
    assert np.shares_memory(d.observations, d.rows)
    parts = [d.observations, d.actions, d.rewards[:, None], d.next_observations, d.terminals[:, None]]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), d.rows)
    np.testing.assert_array_equal(d.start_states, d.rows[[0, 4, 6], :OBS])
    np.testing.assert_array_equal(d.episode_lengths, [4, 2, 3])
    np.testing.assert_array_equal(d.complete_episodes, [True, True, False])
    np.testing.assert_allclose(
        d.episode_returns, [d.rewards[a:b].sum() for a, b in ((0, 4), (4, 6), (6, 9))], rtol=1e-6
    )


def test_the_fingerprint_is_of_dimensions_rows_and_ends() -> None:
    d = example()
    base = fingerprint(d.rows, d.episode_ends, OBS, ACT)
    changed = d.rows.copy()
    changed[8, 1] = np.nextafter(changed[8, 1], 10)
    assert base == d.fingerprint == fingerprint(d.rows.copy(), d.episode_ends.copy(), OBS, ACT)
    assert base != fingerprint(changed, d.episode_ends, OBS, ACT)
    assert base != fingerprint(d.rows, np.array([4, 7, 9]), OBS, ACT)
    assert base != fingerprint(d.rows, d.episode_ends, OBS - 1, ACT + 2)


def test_written_and_opened(tmp_path: Path) -> None:
    opened = write(example(), tmp_path / "a" / "9-v0")
    np.testing.assert_array_equal(opened.rows, example().rows)
    np.testing.assert_array_equal(opened.episode_ends, [4, 6, 9])
    assert opened.fingerprint == example().fingerprint
    opened.verify()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["9-v0"]


@pytest.mark.parametrize("limit", [0, 100])
def test_a_file_that_cannot_be_written_whole_leaves_nothing_and_says_why(tmp_path: Path, limit: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(DatasetError, match=r"cannot write the dataset .*9-v0: File too large"):
            write(example(), tmp_path / "9-v0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_million_rows_open_in_milliseconds(tmp_path: Path) -> None:
    rows = np.zeros((1_000_000, row_width(OBS, ACT)), dtype=np.float32)
    write(in_memory(rows, np.arange(20, 1_000_001, 20), OBS, ACT, MANIFEST), tmp_path / "big")
    start = time.perf_counter()
    TransitionDataset.open(tmp_path / "big")
    assert time.perf_counter() - start < 0.1


def damaged(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.f32", b"123", r"rows\.f32 has 3 bytes, not 360; delete .* and build it again"),
        ("rows.f32", None, r"rows\.f32: No such file or directory; delete"),
        ("episode_ends.i64", b"12345678", r"episode_ends\.i64 has 8 bytes, not 24"),
        ("episode_ends.i64", np.array([4, 4, 9]).tobytes(), r"episode_ends\.i64 does not divide its 9 rows"),
        ("dataset.json", b'{"format": 1, "si', r"dataset\.json is missing or unreadable"),
        ("dataset.json", b'{"format": 1}', r"dataset\.json is damaged \(KeyError\('size'\)\)"),
        ("dataset.json", b'{"format": 1, "size": "many"}', r"dataset\.json is damaged"),
        ("dataset.json", b'{"format": 7}', r"has format 7, this program reads 1"),
    ],
)
def test_damage_is_one_clear_error(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    folder = tmp_path / "9-v0"
    write(example(), folder)
    damaged(folder, name, content)
    with pytest.raises(DatasetError, match=said) as caught:
        TransitionDataset.open(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_is_told_apart_from_damaged(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no dataset at .*; build it with"):
        TransitionDataset.open(tmp_path / "none")


def test_verify_finds_a_flipped_bit(tmp_path: Path) -> None:
    folder = tmp_path / "9-v0"
    write(example(), folder)
    data = bytearray((folder / "rows.f32").read_bytes())
    data[100] ^= 1
    (folder / "rows.f32").write_bytes(data)
    with pytest.raises(DatasetError, match="delete it and build it again"):
        TransitionDataset.open(folder).verify()


def test_a_killed_builder_leaves_no_trace_in_the_next_one(tmp_path: Path) -> None:
    stale = tmp_path / ".9-v0.building"
    stale.mkdir()
    (stale / "rows.f32").write_bytes(b"torn")
    write(example(), tmp_path / "9-v0")
    assert not stale.exists()
    assert json.loads((tmp_path / "9-v0" / "dataset.json").read_text())["size"] == 9
