"""A real training run's replay buffer as a dataset, held against the environments stepped anew."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine import envs
from engine.algorithms.behaviour import train_behaviour
from engine.compute import Compute
from engine.config import BehaviourConfig, make, to_toml
from engine.control import Stopped
from engine.data import training_replay
from engine.data.dataset import DatasetError, TransitionDataset
from engine.data.training_replay import TASK_REWARDS, fed_with_another_reward, from_training
from engine.policy import Policy
from engine.randomness import key
from engine.record import CHECKPOINTS, EVENTS, Recorder, create_run, read_rows
from engine.tasks import BEHAVIOURS, TASKS, Task

ANT, JUMP, HOPPER = TASKS["ant-angle"], TASKS["halfcheetah-jump"], TASKS["hopper-medium-replay"]
# Enough steps for falls, the time limit and chunk ends; the ant learns in the last thirty.
RUNS = {
    "hopper": {"steps": 900, "chunk": 300, "random_steps": 900},
    "halfcheetah-capped": {"steps": 2300, "chunk": 1150, "random_steps": 2300},
    "ant": {"steps": 300, "chunk": 150, "random_steps": 270},
}


def nothing(*_: object) -> None:
    pass


def begin(folder: Path, behaviour: str) -> Path:
    values = {"behaviour": behaviour, "episodes": 1, "compute.compile": False, **RUNS[behaviour]}
    create_run(folder, {"id": folder.name, "job": "behaviour"}, to_toml(make(BehaviourConfig, values, "test")))
    return folder


def train(folder: Path, behaviour: str, stop: Callable[[], None] = nothing) -> Path:
    values = {"behaviour": behaviour, "episodes": 1, "compute.compile": False, **RUNS[behaviour]}
    config, compute = make(BehaviourConfig, values, "test"), Compute.choose(threads=1, gemm="stock", compiled=False)
    with Recorder(folder, echo=nothing) as recorder:
        train_behaviour(config, compute, recorder, stop)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    return {name: train(begin(root / f"run-{name}", name), name) for name in RUNS}


@pytest.fixture
def copy(trained: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A run that a test may damage."""
    return lambda name: Path(shutil.copytree(trained[name], tmp_path / f"copy-{name}"))


def test_a_disk_that_is_nearly_full_is_told_while_a_behaviour_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.algorithms.alerts.FREE_BYTES", float("inf"))
    folder = train(begin(tmp_path / "run", "hopper"), "hopper")
    alerts = [row for row in read_rows(folder / EVENTS)[0] if row["kind"] == "alert"]
    assert [(row["cause"], row["stage"]) for row in alerts] == [("disk", "behaviour")]


def replayed(task: Task, dataset: TransitionDataset, behaviour: str) -> list[int]:
    """Step the task's environment through the dataset's actions as training did; returns where episodes ended."""
    env = envs.make(task.environment, **task.environment_options)
    chunk, ends = RUNS[behaviour]["chunk"], []
    for row in range(len(dataset)):
        if row % chunk == 0:
            observation, _ = env.reset(seed=key(0, "online", "env", row // chunk) % 2**31)
        np.testing.assert_array_equal(dataset.observations[row], observation.astype(np.float32))
        observation, reward, terminated, truncated, _ = env.step(dataset.actions[row])
        np.testing.assert_array_equal(dataset.next_observations[row], observation.astype(np.float32))
        assert dataset.rewards[row] == np.float32(reward)
        assert dataset.terminals[row] == terminated
        if terminated or truncated or (row + 1) % chunk == 0 or row + 1 == len(dataset):
            ends.append(row + 1)
        if terminated or truncated:
            observation, _ = env.reset()
    return ends


@pytest.mark.parametrize(("task", "behaviour"), [(HOPPER, "hopper"), (JUMP, "halfcheetah-capped"), (ANT, "ant")])
def test_rows_rewards_and_episodes_are_those_of_the_run(trained: dict[str, Path], task: Task, behaviour: str) -> None:
    polled: list[None] = []
    dataset = from_training(task, trained[behaviour], None, lambda: polled.append(None))
    assert len(dataset) == RUNS[behaviour]["steps"]
    assert dataset.episode_ends.tolist() == replayed(task, dataset, behaviour)
    dataset.verify()
    assert polled
    assert dataset.manifest["origin"] == "training"
    assert dataset.manifest["environment"] == task.environment
    assert dataset.manifest["environment_options"] == dict(task.environment_options)
    assert dataset.manifest["terminal_next_observations"]
    assert f"run-{behaviour}" in dataset.manifest["description"]
    assert {"gymnasium", "mujoco", "torch"} <= set(dataset.manifest["versions"])
    if behaviour == "halfcheetah-capped":  # both chunks: the time limit, then what was left of the chunk
        assert dataset.episode_lengths.tolist() == [1000, 150, 1000, 150]
        assert dataset.complete_episodes.tolist() == [True, False, True, False]


def test_the_jump_reward_follows_from_the_rows_of_a_run_that_did_not_keep_it(copy: Callable[[str], Path]) -> None:
    run = copy("halfcheetah-capped")
    kept = from_training(JUMP, run, None, nothing)
    (run / CHECKPOINTS / TASK_REWARDS).unlink()
    computed = from_training(JUMP, run, None, nothing)
    np.testing.assert_allclose(computed.rewards, kept.rewards, atol=2e-6)
    behaviours = np.fromfile(run / CHECKPOINTS / "replay.f32", dtype="<f4").reshape(len(kept), -1)[:, 17 + 6]
    assert np.abs(kept.rewards - behaviours).max() > 1
    assert computed.manifest["notes"] != kept.manifest["notes"]
    higher = from_training(JUMP.with_options(height_weight=20.0), run, None, nothing)
    start = envs.make("HalfCheetah-v5").unwrapped.init_qpos[1]  # type: ignore[attr-defined]
    expected = 5.0 * (kept.next_observations[:, 0] - start)
    np.testing.assert_allclose(higher.rewards - kept.rewards, expected, atol=1e-5)


@pytest.mark.parametrize("kept", [True, False])
def test_keeping_the_task_reward_changes_nothing_that_is_learnt_and_a_run_goes_on_as_it_was_begun(
    trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    from engine.algorithms import behaviour

    run = begin(tmp_path / "run", "ant")
    checkpoint = run / CHECKPOINTS / "checkpoint.safetensors"

    def stop() -> None:
        if checkpoint.exists():
            raise Stopped(143, "in the second chunk")

    with monkeypatch.context() as earlier:
        if not kept:  # as by a version that kept none
            earlier.setattr(behaviour, "fed_with_another_reward", lambda _: None)
        with pytest.raises(Stopped):
            train(run, "ant", stop)
    assert (run / CHECKPOINTS / TASK_REWARDS).exists() == kept
    train(run, "ant")
    assert (run / CHECKPOINTS / TASK_REWARDS).exists() == kept
    for name in ("replay.f32", "checkpoint.safetensors", "snapshots/0000300.safetensors"):
        assert (run / CHECKPOINTS / name).read_bytes() == (trained["ant"] / CHECKPOINTS / name).read_bytes(), name
    if kept:
        again, whole = from_training(ANT, run, None, nothing), from_training(ANT, trained["ant"], None, nothing)
        assert again.fingerprint == whole.fingerprint
    else:
        with pytest.raises(DatasetError, match=r"task_rewards\.f32 is missing: .* train 'ant' anew"):
            from_training(ANT, run, None, nothing)


def test_which_tasks_have_another_reward_than_the_behaviour() -> None:
    fed = {name: fed_with_another_reward(behaviour) for name, behaviour in BEHAVIOURS.items()}
    told = {name: task.name for name, task in fed.items() if task is not None}
    assert told == {"ant": "ant-angle", "halfcheetah-capped": "halfcheetah-jump"}
    for name, task in ((n, t) for n, t in fed.items() if t is not None):
        env = envs.make(task.environment, **task.environment_options)
        own = envs.make(BEHAVIOURS[name].environment, **BEHAVIOURS[name].environment_options)
        env.reset(seed=5)
        own.reset(seed=5)
        action = np.full(BEHAVIOURS[name].action_dim, 0.3, np.float32)
        for _ in range(20):
            observation, reward, _, _, info = env.step(action)
            expected, its_reward, _, _, _ = own.step(action)
            np.testing.assert_array_equal(observation, expected)
            assert info["behaviour_reward"] == its_reward
        assert reward != its_reward


def test_a_size_takes_the_first_transitions_and_cuts_the_last_episode(trained: dict[str, Path]) -> None:
    whole, part = (from_training(JUMP, trained["halfcheetah-capped"], n, nothing) for n in (None, 1300))
    np.testing.assert_array_equal(part.rows, whole.rows[:1300])
    assert part.episode_lengths.tolist() == [1000, 150, 150]
    with pytest.raises(DatasetError, match=r"--size 2,301: run run-halfcheetah-capped has 2,300 transitions so far"):
        from_training(JUMP, trained["halfcheetah-capped"], 2301, nothing)


def test_without_a_size_the_replay_ends_where_the_task_says(trained: dict[str, Path]) -> None:
    whole = from_training(HOPPER, trained["hopper"], None, nothing)
    assert "all 900 up to its last checkpoint (no snapshot has a mean return of 1422)" in whole.manifest["description"]
    # A best return: up to the end of the first episode that has it.
    best = int(whole.episode_returns.argmax())
    task = dataclasses.replace(HOPPER, target=("best", float(whole.episode_returns[best])))
    dataset = from_training(task, trained["hopper"], None, nothing)
    assert len(dataset) == whole.episode_ends[best] < 900
    np.testing.assert_array_equal(dataset.rows, whole.rows[: len(dataset)])
    # A mean return: up to the medium policy as the run itself evaluated its snapshots.
    snapshots = trained["hopper"] / CHECKPOINTS / "snapshots"
    second = float(Policy.load(snapshots / "0000600.safetensors").metadata["return"])
    first = float(Policy.load(snapshots / "0000300.safetensors").metadata["return"])
    task = dataclasses.replace(HOPPER, target=("mean", second))
    assert len(from_training(task, trained["hopper"], None, nothing)) == (600 if first < second else 300)


def damage(run: Path, name: str, change: Callable[[Path], object]) -> Path:
    change(run / name)
    return run


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no run": ("run.json", Path.unlink, r"is no run folder: run\.json is missing"),
    "torn run": ("run.json", lambda p: p.write_text('{"id": "x", "jo'), r"is no run folder: run\.json is missing"),
    "another job": ("run.json", lambda p: p.write_text('{"job": "train"}'), r"is a run of another kind"),
    "no configuration": ("config.toml", Path.unlink, r"config\.toml cannot be read"),
    "torn configuration": ("config.toml", lambda p: p.write_text("behaviour = "), r"config\.toml cannot be read"),
    "not begun": ("checkpoints/checkpoint.safetensors", Path.unlink, r"has not come to its first checkpoint"),
    "torn checkpoint": ("checkpoints/checkpoint.safetensors", lambda p: p.write_bytes(b"x"), r"is damaged"),
    "no replay": ("checkpoints/replay.f32", Path.unlink, r"replay\.f32: No such file"),
    "short replay": (
        "checkpoints/replay.f32",
        lambda p: p.write_bytes(p.read_bytes()[:-108]),
        r"replay\.f32 has 97,092 bytes, which are not 900 or more rows of 27 numbers",
    ),
    "unwritten rows": (
        "checkpoints/replay.f32",
        lambda p: p.write_bytes(p.read_bytes()[: 700 * 108] + bytes(200 * 108)),
        r"row 700 is empty or not finite",
    ),
    "torn snapshot": (
        "checkpoints/snapshots/0000600.safetensors",
        lambda p: p.write_bytes(b"x"),
        r"a snapshot is damaged",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_one_clear_error(copy: Callable[[str], Path], name: str) -> None:
    path, change, message = DAMAGES[name]
    with pytest.raises(DatasetError, match=message) as raised:
        from_training(HOPPER, damage(copy("hopper"), path, change), None, nothing)
    assert "\n" not in str(raised.value)


def test_a_run_that_does_not_fit_the_task_is_refused(trained: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"trained 'hopper', .* is that of 'ant'; .* gives hopper-medium-replay$"):
        from_training(ANT, trained["hopper"], None, nothing)
    with pytest.raises(
        DatasetError, match=r"hopper-medium is not made of a training's replay; .* hopper-medium-replay$"
    ):
        from_training(TASKS["hopper-medium"], trained["hopper"], None, nothing)
    with pytest.raises(DatasetError, match=r"nowhere is no run folder"):
        from_training(ANT, tmp_path / "nowhere", None, nothing)
    with pytest.raises(DatasetError, match="in its usual form only"):
        from_training(ANT.with_options(angle=45.0), trained["ant"], None, nothing)


def test_rows_that_go_on_past_the_time_limit_are_no_replay(copy: Callable[[str], Path]) -> None:
    run = copy("halfcheetah-capped")
    path = run / CHECKPOINTS / "replay.f32"
    rows = np.fromfile(path, dtype="<f4").reshape(2300, -1)
    rows[1000, :17] = rows[999, -18:-1]
    rows.tofile(path)
    with pytest.raises(DatasetError, match=r"replay\.f32 is damaged: 1,150 rows follow each other"):
        from_training(JUMP, run, None, nothing)


def test_reading_can_be_stopped(trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_replay, "BLOCK_ROWS", 100)
    calls = iter(range(100))

    def poll() -> None:
        if next(calls) == 3:
            raise Stopped(143, "stopped on request")

    with pytest.raises(Stopped):
        from_training(HOPPER, trained["hopper"], None, poll)
