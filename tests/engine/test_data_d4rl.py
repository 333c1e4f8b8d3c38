"""D4RL's names, and reading HDF5 files in D4RL's form: every variant, and everything that can be wrong with one."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from engine import d4rl_files, envs
from engine.control import Stopped
from engine.data import d4rl
from engine.data.dataset import DatasetError, TransitionDataset, row_width
from engine.tasks import UnknownName

Arrays = dict[str, Any]
OBS, ACT = 11, 3  # the hopper's


def pass_by() -> None:
    """A poll that never stops."""


def store(path: Path, arrays: Mapping[str, Any], **options: Any) -> Path:
    with h5py.File(path, "w") as f:
        for key, value in arrays.items():
            f.create_dataset(key, data=value, **options)
    return path


def without(arrays: Arrays, *keys: str) -> Arrays:
    return {key: value for key, value in arrays.items() if key not in keys}


def hopper(lengths: list[int], terminal: list[bool], seed: int = 0) -> Arrays:
    """v2's arrays: episodes of these lengths, ended by a terminal or by a timeout; the numbers are noise."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(length + 1, OBS)).astype(np.float32) for length in lengths]
    size, last = sum(lengths), np.cumsum(lengths) - 1
    terminals, timeouts = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    terminals[last], timeouts[last] = terminal, np.logical_not(terminal)
    return {
        "observations": np.concatenate([part[:-1] for part in parts]),
        "actions": rng.uniform(-1, 1, size=(size, ACT)).astype(np.float32),
        "next_observations": np.concatenate([part[1:] for part in parts]),
        "rewards": rng.normal(size=size).astype(np.float32),
        "terminals": terminals,
        "timeouts": timeouts,
    }


def rollout(env_id: str, steps: int, **options: Any) -> Arrays:
    """v2's arrays from uniform actions in the real environment."""
    env = envs.make(env_id, **options)
    env.action_space.seed(0)
    s, _ = env.reset(seed=0)
    rows: list[tuple[Any, ...]] = []
    for _ in range(steps):
        action = env.action_space.sample()
        s_next, reward, terminated, truncated, _ = env.step(action)
        rows.append((s, action, s_next, reward, terminated, truncated))
        s = env.reset()[0] if terminated or truncated else s_next
    env.close()
    keys = ("observations", "actions", "next_observations", "rewards", "terminals", "timeouts")
    return {key: np.array(column) for key, column in zip(keys, zip(*rows, strict=True), strict=True)}


def same_rows(dataset: TransitionDataset, arrays: Arrays, which: Any) -> None:
    """s, a, r and d are the file's in these rows."""
    np.testing.assert_array_equal(dataset.observations, arrays["observations"][which].astype(np.float32))
    np.testing.assert_array_equal(dataset.actions, arrays["actions"][which].astype(np.float32))
    np.testing.assert_array_equal(dataset.rewards, arrays["rewards"][which].astype(np.float32))
    np.testing.assert_array_equal(dataset.terminals, arrays["terminals"][which])


# --- names ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path", "size", "family", "quality", "version"),
    [
        ("hopper-medium-replay-v2", "gym_mujoco_v2/hopper_medium_replay-v2.hdf5", 75854457, "Hopper", "medium-replay", 2),
        ("walker2d-medium-replay-v0", "gym_mujoco/walker_mixed.hdf5", 8832937, "Walker2d", "medium-replay", 0),
        ("walker2d-mixed-v0", "gym_mujoco/walker_mixed.hdf5", 8832937, "Walker2d", "medium-replay", 0),
        ("halfcheetah-medium-expert-v0", "gym_mujoco/halfcheetah_medium_expert.hdf5", 174437297, "HalfCheetah", "medium-expert", 0),
        ("ant-medium-v2", "gym_mujoco_v2/ant_medium-v2.hdf5", 376239825, "Ant", "medium", 2),
    ],
)  # fmt: skip
def test_published_files(name: str, path: str, size: int, family: str, quality: str, version: int) -> None:
    file = d4rl_files.published(name)
    assert (file.path, file.bytes, file.family, file.quality, file.version) == (path, size, family, quality, version)
    assert file.file == path.rpartition("/")[2]
    assert file.fault is None


def test_every_published_file_has_a_name_of_its_own_and_a_checksum() -> None:
    table = Path(d4rl.__file__).with_name("d4rl_files.tsv").read_text().splitlines()
    assert table[0].startswith("#")
    assert "tensorflow/datasets" in table[0]
    assert len(d4rl_files.files()) == len(table) - 1 == 39
    for name, file in d4rl_files.files().items():
        assert d4rl_files.published(name) is file
        assert re.fullmatch(r"[a-z0-9]+(-[a-z]+)+-v[02]", name)
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)


def test_the_known_fault_is_told() -> None:
    assert "no medium" in str(d4rl_files.published("hopper-medium-expert-v0").fault)
    assert d4rl_files.published("hopper-medium-expert-v2").fault is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hoper-medium-v2", r"unknown D4RL dataset 'hoper-medium-v2'; did you mean 'hopper-medium-v2'\?"),
        ("hopper-medium-v1", r"v1 data are deprecated; use hopper-medium-v2"),
        ("walker2d-mixed-v1", r"v1 data are deprecated; use walker2d-medium-replay-v2"),
        ("maze-v1", r"unknown D4RL dataset"),
    ],
)
def test_other_names(name: str, said: str) -> None:
    with pytest.raises(UnknownName, match=said) as caught:
        d4rl_files.published(name)
    assert "\n" not in str(caught.value)


# --- the forms --------------------------------------------------------------------------------------------------------------------


def test_v2(tmp_path: Path) -> None:
    arrays = hopper([5, 3, 4], [False, True, False])
    arrays["timeouts"][-1] = False  # the last episode is cut, and the file says nothing of it
    path = store(
        tmp_path / "a.hdf5", {**arrays, "infos/qpos": np.zeros((12, 6)), "metadata/algorithm": np.bytes_("SAC")}
    )
    dataset = d4rl.read(path, pass_by)
    same_rows(dataset, arrays, slice(None))
    np.testing.assert_array_equal(dataset.next_observations, arrays["next_observations"])
    np.testing.assert_array_equal(dataset.episode_ends, [5, 8, 12])
    assert dataset.manifest["environment"] == "Hopper-v4"
    assert dataset.manifest["environment_options"] == {"legacy_contacts": True}
    assert dataset.manifest["max_episode_steps"] == 1000
    assert dataset.manifest["origin"] == "d4rl"
    assert dataset.manifest["terminal_next_observations"] is True
    assert dataset.manifest["notes"] == []
    dataset.verify()


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"chunks": True}, {"chunks": (7, 1)}])
def test_storage_and_float64_and_blocks_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    arrays = hopper([50] * 4, [True] * 4)
    expected = d4rl.read(store(tmp_path / "a.hdf5", arrays), pass_by)
    columns = ("rewards", "terminals", "timeouts")
    wide = {k: v if v.dtype == bool else v.astype(np.float64) for k, v in arrays.items()}
    path = tmp_path / "b.hdf5"
    with h5py.File(path, "w") as f:
        for key, value in wide.items():
            own = {"chunks": (7,)} if key in columns and isinstance(options.get("chunks"), tuple) else options
            f.create_dataset(key, data=value, **own)
    monkeypatch.setattr("engine.data.hdf5.BLOCK", 16)
    assert d4rl.read(path, pass_by).fingerprint == expected.fingerprint


def test_columns_of_shape_n_1_are_flattened(tmp_path: Path) -> None:
    arrays = hopper([5, 3], [False, True])
    columns = {k: arrays[k][:, None] for k in ("rewards", "terminals", "timeouts")}
    dataset = d4rl.read(store(tmp_path / "a.hdf5", {**arrays, **columns}), pass_by)
    same_rows(dataset, arrays, slice(None))
    assert [note.split()[0] for note in dataset.manifest["notes"]] == ["rewards", "terminals", "timeouts"]


def test_terminals_may_be_numbers_and_a_row_may_be_both(tmp_path: Path) -> None:
    arrays = hopper([5, 3], [False, True])
    arrays["timeouts"][7] = True
    numbers = {"terminals": arrays["terminals"].astype(np.float64), "timeouts": arrays["timeouts"].astype(np.uint8)}
    dataset = d4rl.read(store(tmp_path / "a.hdf5", {**arrays, **numbers}), pass_by)
    np.testing.assert_array_equal(dataset.episode_ends, [5, 8])
    np.testing.assert_array_equal(np.flatnonzero(dataset.terminals), [7])


def test_v0_takes_s_next_from_the_following_row(tmp_path: Path) -> None:
    arrays = hopper([1, 5, 3, 4, 1, 2], [False, False, True, False, False, True])
    path = store(tmp_path / "a.hdf5", without(arrays, "next_observations"))
    dataset = d4rl.read(path, pass_by)
    kept = np.delete(np.arange(16), [0, 5, 12, 13])  # ends without a terminal; an episode of one row goes with its row
    same_rows(dataset, arrays, kept)
    np.testing.assert_array_equal(dataset.episode_ends, [4, 7, 10, 12])
    inside = dataset.terminals == 0
    np.testing.assert_array_equal(dataset.next_observations[inside], arrays["next_observations"][kept][inside])
    np.testing.assert_array_equal(dataset.next_observations[~inside], dataset.observations[~inside])
    assert dataset.manifest["terminal_next_observations"] is False
    assert dataset.manifest["notes"] == [
        "2 terminal rows whose s' is not told: s' = s, for a critic only",
        "4 rows at the end of an episode dropped: their s' is not told",
    ]


def test_v0_with_a_partial_last_episode(tmp_path: Path) -> None:
    arrays = hopper([5, 4], [False, False])
    arrays["timeouts"][-1] = False
    dataset = d4rl.read(store(tmp_path / "a.hdf5", without(arrays, "next_observations")), pass_by)
    same_rows(dataset, arrays, [0, 1, 2, 3, 5, 6, 7])
    np.testing.assert_array_equal(dataset.episode_ends, [4, 7])
    assert dataset.manifest["terminal_next_observations"] is True  # no terminal row lacks anything


def test_v0_without_timeouts_ends_an_episode_after_1000_steps(tmp_path: Path) -> None:
    arrays = hopper([1000, 30, 1000, 200], [False, True, False, False])
    dataset = d4rl.read(store(tmp_path / "a.hdf5", without(arrays, "next_observations", "timeouts")), pass_by)
    same_rows(dataset, arrays, np.delete(np.arange(2230), [999, 2029, 2229]))
    np.testing.assert_array_equal(dataset.episode_lengths, [999, 30, 999, 199])
    # An episode that ran to the time limit lacks its last row, and is complete all the same.
    assert dataset.manifest["max_episode_steps"] == 999
    np.testing.assert_array_equal(dataset.complete_episodes, [True, True, True, False])
    assert "no timeouts in the file" in dataset.manifest["notes"][0]


def test_v2_without_timeouts_ends_an_episode_after_1000_steps(tmp_path: Path) -> None:
    arrays = hopper([2500, 30], [False, True])
    dataset = d4rl.read(store(tmp_path / "a.hdf5", without(arrays, "timeouts")), pass_by)
    np.testing.assert_array_equal(dataset.episode_lengths, [1000, 1000, 500, 30])
    same_rows(dataset, arrays, slice(None))


def test_an_end_that_the_file_does_not_mark_shows_in_s_next(tmp_path: Path) -> None:
    arrays = hopper([5, 3, 4], [False, False, True])
    arrays["timeouts"][4] = False
    dataset = d4rl.read(store(tmp_path / "a.hdf5", arrays), pass_by)
    np.testing.assert_array_equal(dataset.episode_ends, [5, 8, 12])
    assert not dataset.terminals[4]
    assert dataset.manifest["notes"] == [
        "1 ends of episodes that the file does not mark: s' is not the following row's s"
    ]


def test_s_next_made_by_shifting_is_not_taken_across_an_end(tmp_path: Path) -> None:
    arrays = hopper([5, 3, 4], [False, True, True])
    shifted = np.concatenate([arrays["observations"][1:], arrays["next_observations"][-1:]])
    dataset = d4rl.read(store(tmp_path / "a.hdf5", {**arrays, "next_observations": shifted}), pass_by)
    same_rows(dataset, arrays, np.delete(np.arange(12), 4))
    np.testing.assert_array_equal(dataset.next_observations[6], dataset.observations[6])
    np.testing.assert_array_equal(dataset.next_observations[10], arrays["next_observations"][11])
    np.testing.assert_array_equal(dataset.episode_ends, [4, 7, 11])
    assert dataset.manifest["terminal_next_observations"] is False


@pytest.mark.parametrize("env_id", ["Hopper-v4", "Walker2d-v4", "HalfCheetah-v4"])
@pytest.mark.filterwarnings("ignore:.*out of date:DeprecationWarning")
def test_resets_of_the_real_environment_end_an_episode_that_v0_leaves_open(tmp_path: Path, env_id: str) -> None:
    parts = [rollout(env_id, 12), rollout(env_id, 25), rollout(env_id, 40)]
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    told = d4rl.read(store(tmp_path / "told.hdf5", arrays), pass_by)
    arrays["timeouts"][:] = False
    hidden = d4rl.read(store(tmp_path / "hidden.hdf5", without(arrays, "next_observations")), pass_by)
    cut = told.episode_ends[told.terminals[told.episode_ends - 1] == 0]
    assert {12, 37} <= {*told.episode_ends.tolist()}
    same_rows(hidden, arrays, np.delete(np.arange(77), cut - 1))
    np.testing.assert_array_equal(hidden.episode_lengths, told.episode_lengths - np.isin(told.episode_ends, cut))
    assert "the following row's s is that of a reset" in hidden.manifest["notes"][0]
    assert hidden.manifest["environment"] == told.manifest["environment"] == env_id


def test_a_v0_file_of_999_rows_an_episode(tmp_path: Path) -> None:
    """As D4RL's v0 HalfCheetah files have them; a count to 1000 alone would drift by a row each episode."""
    rng = np.random.default_rng(0)
    s = rng.normal(size=(3 * 999, 17)).astype(np.float32)
    s[::999] = 0.05  # a start state
    arrays = {
        "observations": s,
        "actions": np.zeros((len(s), 6), dtype=np.float32),
        "rewards": np.ones(len(s), dtype=np.float32),
        "terminals": np.zeros(len(s), dtype=bool),
    }
    dataset = d4rl.read(store(tmp_path / "a.hdf5", arrays), pass_by)
    np.testing.assert_array_equal(dataset.episode_lengths, [998, 998, 998])
    assert dataset.manifest["max_episode_steps"] == 998
    assert dataset.complete_episodes.all()


# --- which environment ------------------------------------------------------------------------------------------------------------


def still(obs: int, act: int, height: float, terminal: bool = False, size: int = 10) -> Arrays:
    s = np.random.default_rng(0).normal(size=(size + 1, obs)).astype(np.float32)
    s[:, 0] = height
    flags = np.zeros(size, dtype=bool)
    flags[-1] = terminal
    return {
        "observations": s[:-1],
        "next_observations": s[1:],
        "actions": np.zeros((size, act), dtype=np.float32),
        "rewards": np.zeros(size, dtype=np.float32),
        "terminals": flags,
        "timeouts": np.zeros(size, dtype=bool),
    }


@pytest.mark.parametrize(
    ("arrays", "family", "environment"),
    [
        (still(11, 3, 1.25, terminal=True), None, "Hopper-v4"),
        (still(17, 6, 1.2, terminal=True), None, "Walker2d-v4"),
        (still(17, 6, 1.2), None, "Walker2d-v4"),
        (still(17, 6, -0.1), None, "HalfCheetah-v4"),
        (still(17, 6, 0.0, terminal=True), "Walker2d", "Walker2d-v4"),
        (still(27, 8, 0.7), None, "Ant-v4"),
    ],
)
def test_the_environment_is_told_from_the_data(
    tmp_path: Path, arrays: Arrays, family: str | None, environment: str
) -> None:
    manifest = d4rl.read(store(tmp_path / "a.hdf5", arrays), pass_by, family).manifest
    assert (manifest["environment"], manifest["environment_options"]) == (environment, {"legacy_contacts": True})


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("env_id", ["Hopper-v4", "Ant-v4"])
def test_a_file_is_evaluated_with_the_contacts_that_its_steps_were_made_with(
    tmp_path: Path, env_id: str, legacy: bool
) -> None:
    arrays = rollout(env_id, 600, legacy_contacts=legacy)
    manifest = d4rl.read(store(tmp_path / "a.hdf5", arrays), pass_by).manifest
    assert (manifest["environment"], manifest["environment_options"]) == (env_id, {"legacy_contacts": legacy})
    told = "evaluated with the contacts of MuJoCo 3.5 and newer: its steps are theirs"
    assert manifest["notes"] == ([] if legacy else [told])


def test_ants_contact_forces_stay_unless_they_are_all_zero(tmp_path: Path) -> None:
    arrays = still(111, 8, 0.7)
    dataset = d4rl.read(store(tmp_path / "a.hdf5", arrays), pass_by)
    assert dataset.observation_dim == 111
    assert dataset.manifest["environment_options"] == {"legacy_contacts": True, "use_contact_forces": True}
    for key in ("observations", "next_observations"):
        arrays[key][:, 27:] = 0
    dataset = d4rl.read(store(tmp_path / "b.hdf5", arrays), pass_by)
    np.testing.assert_array_equal(dataset.observations, arrays["observations"][:, :27])
    np.testing.assert_array_equal(dataset.next_observations, arrays["next_observations"][:, :27])
    assert dataset.manifest["environment_options"] == {"legacy_contacts": True}
    assert dataset.manifest["notes"] == ["84 contact forces, 0 in every row, left out of the observations"]


def test_the_caller_names_any_other_environment(tmp_path: Path) -> None:
    arrays = still(4, 2, 0.0)
    dataset = d4rl.read(store(tmp_path / "a.hdf5", arrays), pass_by, environment="Reacher-v5")
    assert dataset.manifest["environment"] == "Reacher-v5"
    assert dataset.manifest["environment_options"] == {}
    assert dataset.manifest["max_episode_steps"] is None
    assert dataset.rows.shape == (10, row_width(4, 2))


@pytest.mark.parametrize(
    ("arrays", "family", "said"),
    [
        (
            still(4, 2, 0.0),
            None,
            "4 observations and 2 actions are those of none of Hopper, HalfCheetah, Walker2d, Ant",
        ),
        (still(11, 3, 1.2), "Walker2d", "11 observations and 3 actions are those of Hopper, not of Walker2d"),
        (still(17, 6, 0.0, terminal=True), None, r"HalfCheetah or Walker2d\? The median height is 0.00 and 1 rows"),
        (still(17, 6, 1.2), "HalfCheetah", "these are data of Walker2d, not of HalfCheetah"),
        (still(11, 3, 1.2), "Hoppper", "unknown family 'Hoppper'; there are Hopper, HalfCheetah, Walker2d, Ant"),
    ],
)
def test_an_environment_that_is_not_told(tmp_path: Path, arrays: Arrays, family: str | None, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        d4rl.read(store(tmp_path / "a.hdf5", arrays), pass_by, family)


def test_a_published_file_is_known_by_name_and_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(tmp_path / "hopper_medium_expert.hdf5", hopper([5], [True]))
    assert d4rl.read(path, pass_by).manifest["notes"] == []  # somebody's own file of that name
    file = dataclasses.replace(d4rl_files.published("hopper-medium-expert-v0"), bytes=path.stat().st_size)
    monkeypatch.setattr(d4rl, "files", lambda: {file.name: file})
    manifest = d4rl.read(path, pass_by).manifest
    assert "hopper-medium-expert-v0" in manifest["description"]
    assert any("no medium" in note for note in manifest["notes"])


# --- what can be wrong ------------------------------------------------------------------------------------------------------------


def bad(**changes: Any) -> Arrays:
    return {**hopper([5, 3], [False, True]), **changes}


def spoilt(key: str, row: int, value: float, dtype: Any = np.float32) -> Arrays:
    arrays = hopper([5, 3], [False, True])
    arrays[key] = arrays[key].astype(dtype)
    arrays[key][row] = value
    return arrays


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (without(bad(), "actions"), "no actions; D4RL's form has observations, actions, rewards and terminals"),
        (without(bad(), "observations"), "no observations; "),
        (without(bad(), "rewards"), "no rewards; "),
        (without(bad(), "terminals"), "no terminals; "),
        (bad(observations=np.zeros(8)), r"observations has the shape \(8,\), not \(rows, numbers\)"),
        (bad(observations=np.zeros((8, 0))), r"observations has the shape \(8, 0\)"),
        (bad(actions=np.zeros((8, 3, 1))), r"actions has the shape \(8, 3, 1\)"),
        (bad(rewards=np.zeros((8, 2))), r"rewards has the shape \(8, 2\), not \(rows,\)"),
        (bad(rewards=np.float32(1)), r"rewards has the shape \(\), not \(rows,\)"),
        (bad(terminals=h5py.Empty("f4")), "terminals has the shape None"),
        (bad(actions=np.zeros((7, 3))), "actions has 7 rows, observations 8"),
        (bad(rewards=np.zeros(9)), "rewards has 9 rows, observations 8"),
        (bad(timeouts=np.zeros(7)), "timeouts has 7 rows, observations 8"),
        (bad(next_observations=np.zeros((7, 11))), "next_observations has 7 rows, observations 8"),
        (bad(next_observations=np.zeros((8, 10))), "next_observations has 10 numbers a row, observations 11"),
        (bad(rewards=np.array([b"one"] * 8)), r"rewards holds values of type \|S3, not numbers"),
        (bad(rewards=["one"] * 8), "rewards holds values of type object, not numbers"),
        (bad(rewards=np.zeros(8, dtype=complex)), "rewards holds values of type complex128, not numbers"),
        (bad(rewards=np.zeros(8, dtype=[("a", "f4")])), "rewards holds values of type .*, not numbers"),
        (spoilt("terminals", 2, 2, np.int64), "terminals has values other than 0 and 1"),
        (spoilt("timeouts", 2, 0.5), "timeouts has values other than 0 and 1"),
        (spoilt("rewards", 6, np.nan), "rewards has NaN, infinite .* in 1 of 8 rows; the first is row 6, counted from 0"),
        (spoilt("actions", 3, -np.inf), "actions has NaN, infinite .* in 1 of 8 rows; the first is row 3"),
        (spoilt("next_observations", 7, np.nan), "next_observations has NaN, infinite .* the first is row 7"),
        (spoilt("observations", slice(2, 5), 1e300, np.float64), "observations has .* too large values in 3 of 8 rows; .* row 2"),
        (spoilt("terminals", 1, np.nan), "terminals has NaN"),
        ({key: value[:0] for key, value in bad().items()}, "no rows"),
        ({key: value[:1] for key, value in without(bad(), "next_observations").items()}, "no row is left whose s' is told"),
    ],
)  # fmt: skip
def test_a_bad_array_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: Arrays, said: str
) -> None:
    monkeypatch.setattr("engine.data.hdf5.BLOCK", 4)
    path = store(tmp_path / "a.hdf5", arrays)
    with pytest.raises(DatasetError, match=said) as caught:
        d4rl.read(path, pass_by)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_path_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.hdf5: no such file"):
        d4rl.read(tmp_path / "none.hdf5", pass_by)
    with pytest.raises(DatasetError, match="not a file"):
        d4rl.read(tmp_path, pass_by)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    for content in (b"", b"observations,actions\n1,2\n"):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="not an HDF5 file"):
            d4rl.read(path, pass_by)


def test_a_file_cut_short_or_damaged(tmp_path: Path) -> None:
    path = store(tmp_path / "a.hdf5", hopper([500] * 4, [True] * 4), compression="gzip")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="damaged or cut short") as caught:
        d4rl.read(path, pass_by)
    assert "\n" not in str(caught.value)
    with h5py.File(path.with_name("b.hdf5"), "w") as f:
        for key, value in hopper([500] * 4, [True] * 4).items():
            f.create_dataset(key, data=value, compression="gzip")
        offset = f["rewards"].id.get_chunk_info(0).byte_offset
    damaged = bytearray(path.with_name("b.hdf5").read_bytes())
    damaged[offset : offset + 64] = bytes(64)
    path.write_bytes(damaged)
    with pytest.raises(DatasetError, match="damaged or cut short"):
        d4rl.read(path, pass_by)


def test_a_file_that_claims_more_rows_than_fit_into_memory(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.hdf5", 10**12
    with h5py.File(path, "w") as f:
        for key, shape in {
            "observations": (rows, 11),
            "actions": (rows, 3),
            "rewards": (rows,),
            "terminals": (rows,),
        }.items():
            f.create_dataset(key, shape=shape, dtype="f4", chunks=True)
    with pytest.raises(DatasetError, match="larger than this machine's memory"):
        d4rl.read(path, pass_by)


def test_nothing_leads_into_another_file(tmp_path: Path) -> None:
    arrays = bad()
    secret = store(tmp_path / "secret.hdf5", arrays)
    layout = h5py.VirtualLayout(shape=(8,), dtype="f4")
    layout[:] = h5py.VirtualSource(secret, "rewards", shape=(8,))
    (tmp_path / "raw").write_bytes(bytes(32))

    def linked(path: Path, kind: str) -> Path:
        store(path, without(arrays, "rewards"))
        with h5py.File(path, "a") as f:
            if kind == "external link":
                f["rewards"] = h5py.ExternalLink(str(secret), "/rewards")
            elif kind == "soft link":
                f["elsewhere"] = h5py.ExternalLink(str(secret), "/")
                f["rewards"] = h5py.SoftLink("/elsewhere/rewards")
            elif kind == "virtual":
                f.create_virtual_dataset("rewards", layout)
            elif kind == "raw":
                f.create_dataset("rewards", shape=(8,), dtype="f4", external=[(str(tmp_path / "raw"), 0, 32)])
            else:
                f.create_group("rewards")
        return path

    for kind in ("external link", "soft link", "virtual", "raw", "group"):
        with pytest.raises(DatasetError, match=r"rewards (is a link|lies in another file|is a group)"):
            d4rl.read(linked(tmp_path / f"{kind}.hdf5", kind), pass_by)


def test_reading_can_be_stopped(tmp_path: Path) -> None:
    def stop() -> None:
        raise Stopped(143, "asked")

    with pytest.raises(Stopped):
        d4rl.read(store(tmp_path / "a.hdf5", bad()), stop)
