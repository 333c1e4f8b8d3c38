"""The task table, a person's own tasks, and which dataset a configuration names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine import envs
from engine.config import ConfigError, DatasetConfig, make, resolve
from engine.data.behaviours import reference
from engine.data_source import wanted
from engine.evaluation import run_episodes, uniform_actor
from engine.own_tasks import OwnTasksError, read_tasks
from engine.tasks import BEHAVIOURS, TASKS, UnknownName, dataset_id, task, task_of_source


def test_the_table_has_both_papers_tasks() -> None:
    qualities = ("random", "medium", "medium-replay", "medium-expert", "expert")
    gym = {f"{robot}-{quality}" for robot in ("halfcheetah", "hopper", "walker2d") for quality in qualities}
    assert set(TASKS) == gym | {"ant-angle", "halfcheetah-jump"}
    for robot in ("halfcheetah", "hopper", "walker2d"):
        assert task(f"{robot}-mixed") is TASKS[f"{robot}-medium-replay"]
    assert all(t.behaviour in BEHAVIOURS for t in TASKS.values())
    assert all(t.reference is None or t.reference in BEHAVIOURS for t in TASKS.values())


def test_rollouts_are_those_published_and_say_whose_they_are() -> None:
    assert (TASKS["walker2d-medium-expert"].paper_rollout, TASKS["walker2d-medium-expert"].tuned_rollout) == (
        (2.0, 1),
        (2.5, 1),
    )
    expert, near = TASKS["hopper-expert"], TASKS["hopper-medium-expert"]
    assert (expert.paper_rollout, expert.tuned_rollout) == (near.paper_rollout, near.tuned_rollout)
    assert expert.tuned_origin.startswith("ours")
    assert TASKS["hopper-random"].tuned_rollout == TASKS["hopper-random"].paper_rollout == (1.0, 5)
    assert TASKS["ant-angle"].paper_rollout is TASKS["halfcheetah-jump"].paper_rollout is None
    assert TASKS["ant-angle"].tuned_rollout == TASKS["halfcheetah-jump"].tuned_rollout == (1.0, 5)


def test_scores_use_d4rls_constants() -> None:
    assert TASKS["hopper-expert"].normalized_score(3234.3) == pytest.approx(100.0)
    assert TASKS["walker2d-random"].normalized_score(1.629008) == pytest.approx(0.0)
    assert TASKS["halfcheetah-medium"].normalized_score(4770.0) == pytest.approx(40.678, abs=0.001)


def test_every_published_score_names_source_and_data() -> None:
    for entry in TASKS.values():
        assert entry.published
        for p in entry.published:
            assert p.source
            assert p.data
            assert p.unit == ("return" if entry.own_reward else "normalized")


def test_a_task_is_told_from_the_name_of_published_data() -> None:
    assert task_of_source("d4rl:walker2d-medium-replay-v2").name == "walker2d-medium-replay"
    assert task_of_source("d4rl:halfcheetah-mixed-v0").name == "halfcheetah-medium-replay"
    assert task_of_source("minari:mujoco/hopper/expert-v0").name == "hopper-expert"
    no_quality = ("minari:mujoco/hopper/simple-v0", "d4rl:hopper-full-replay-v2")
    for source in ("minari:door/human-v2", "data/hopper.hdf5", *no_quality):
        with pytest.raises(UnknownName, match="--task"):
            task_of_source(source)


# --- which dataset ----------------------------------------------------------------------------------------------------------------


def identifier(task_name: str, **values: object) -> str:
    settings = {"task": task_name, **{k.replace("__", "."): v for k, v in values.items()}}
    config = resolve([("test", settings)]).config
    return wanted(task(config.task), config.dataset, config.environment).id


def test_each_source_seed_size_and_environment_has_its_own_name() -> None:
    quick = {"preset": "quick"}
    assert identifier("ant-angle", **quick) == "mopo/ant-angle/100k-v0"
    assert identifier("ant-angle", dataset__seed=3, **quick) == "mopo/ant-angle/100k-seed3-v0"
    assert identifier("ant-angle", environment__angle=45.0, **quick) == "mopo/ant-angle/100k-angle45-v0"
    assert identifier("hopper-medium", dataset__source="d4rl:hopper-medium-v2") == "d4rl/hopper-medium-v2"
    drawn = identifier("hopper-medium", dataset__source="d4rl:hopper-medium-v2", dataset__size=5000, dataset__seed=1)
    assert drawn == "d4rl/hopper-medium-v2-5k-seed1"
    other = identifier("hopper-medium", dataset__source="d4rl:hopper-medium-v2", environment__id="Hopper-v5")
    assert other == "d4rl/hopper-medium-v2@Hopper-v5"
    legacy = identifier("hopper-medium", dataset__source="minari:a/b-v0", environment__legacy_contacts="on")
    assert legacy == "minari/a/b-v0@+legacy"
    one, two = (identifier("hopper-medium", dataset__source=path) for path in ("/a/x.hdf5", "/b/x.hdf5"))
    assert one != two
    assert one.startswith("file/x-")
    # An own reward makes the cache the task's own: the references in it are on that reward.
    assert identifier("halfcheetah-jump", dataset__source="/a/x.hdf5").endswith("@halfcheetah-jump")
    turned = identifier("ant-angle", dataset__source="/a/x.hdf5", environment__angle=45.0)
    assert turned.endswith("@ant-angle-angle45")
    assert identifier("hopper-medium", dataset__source="/b/../a/x.hdf5") == one


def test_a_presets_size_is_that_of_a_dataset_to_be_collected() -> None:
    foreign = resolve([("test", {"task": "hopper-medium", "dataset.source": "d4rl:hopper-medium-v2"})])
    assert foreign.config.dataset.size == 0
    assert foreign.origins["dataset.size"] == "all of d4rl:hopper-medium-v2"
    ours = make(DatasetConfig, {"task": "hopper-medium-replay"})
    assert wanted(task(ours.task), ours.dataset, ours.environment).id.startswith("mopo/hopper-medium-replay/")


@pytest.mark.parametrize("name", ["ant-angle", "halfcheetah-jump"])
def test_the_scale_of_a_special_task_is_what_was_measured(name: str) -> None:
    """0 and 100 as the data's references have them: the random policy, and the online reference policy that ships."""
    chosen = task(name)
    assert chosen.score_scale is not None
    low, high = chosen.score_scale
    env = envs.make(chosen.environment, **chosen.environment_options)
    random = run_episodes(env, uniform_actor(chosen.action_dim), 100, (name, "reference", "random")).returns
    assert low == pytest.approx(random.mean(), abs=0.1)
    assert f"standard error {random.std(ddof=1) / 10:.1f}" in chosen.scale_origin
    shipped = reference(name)
    assert shipped is not None
    assert high == pytest.approx(shipped["return"], abs=0.1)
    assert f"({shipped['stderr']:.1f})" in chosen.scale_origin
    assert shipped["episodes"] == 100


def test_another_angle_has_no_references() -> None:
    turned = task("ant-angle").with_options(angle=45.0)
    assert turned.score_scale is None
    assert turned.reference is None
    assert "angle = 45" in turned.scale_origin
    assert task("ant-angle").with_options(angle=30.0) is task("ant-angle")
    assert dataset_id(turned, 1000) != dataset_id(task("ant-angle"), 1000)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset.size": 99}, "at least 100 transitions, or 0: the task"),
        ({"dataset.source": "d4rl:"}, "d4rl:NAME, minari:ID"),
        ({"dataset.source": ""}, "d4rl:NAME, minari:ID"),
        ({"environment.id": "os:system"}, "file of own tasks only"),
        ({"environment.id": "Hopper-v4", "task": "hopper-medium"}, "evaluated where they were collected"),
        ({"environment.legacy_contacts": "on"}, "evaluated where they were collected"),
        ({"task": "hopper-medium", "environment.angle": 45.0}, "hopper-medium has no angle; ant-angle has"),
        ({"environment.angle": 400.0}, "at most 180"),
    ],
)
def test_what_does_not_go_together_is_one_clear_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as problem:
        resolve([("test", values)])
    assert "\n" not in str(problem.value)


# --- own tasks --------------------------------------------------------------------------------------------------------------------

WHOLE = """
[slippery-hopper]
title = "Hopper on ice"
environment = "my_envs:Slippery-v0"
environment_options = { friction = 0.1 }
observation_dim = 11
action_dim = 3
termination = "hopper"
dataset = "data/ice.hdf5"
references = { min = -20.0, max = 3000.0, origin = "ten runs of ours" }
rollout = { coefficient = 2.5, length = 10 }

[my-hopper]
like = "hopper-medium"
dataset = "d4rl:hopper-medium-v2"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "tasks.toml"
    path.write_text(WHOLE)
    monkeypatch.setenv("MOPO_TASKS", str(path))
    return path


def test_an_own_task_works_like_one_that_ships(own: Path) -> None:
    config = resolve([("test", {"task": "slippery-hopper"})]).config
    assert (config.rollout.coefficient, config.rollout.length) == (2.5, 10)
    assert (config.dataset.source, config.dataset.size) == (str(own.parent / "data" / "ice.hdf5"), 0)
    ice = task("slippery-hopper")
    assert ice.normalized_score(3000.0) == 100.0
    assert ice.environment == "my_envs:Slippery-v0"
    assert ice.environment_options == {"friction": 0.1}
    mine = task("my-hopper")
    assert (mine.environment, mine.termination, mine.family) == ("Hopper-v5", "hopper", "Hopper")
    assert mine.tuned_rollout == TASKS["hopper-medium"].tuned_rollout
    turned = (
        own.read_text() + '[my-ant]\nlike = "ant-angle"\ndataset = "a.hdf5"\nenvironment_options = { angle = 45.0 }\n'
    )
    own.write_text(turned)
    ant = resolve([("test", {"task": "my-ant"})]).config
    assert wanted(task("my-ant"), ant.dataset, ant.environment).task.environment_options == {"angle": 45.0}
    with pytest.raises(ConfigError, match="task of your own"):
        resolve([("test", {"task": "my-hopper", "dataset.source": "ours"})])
    with pytest.raises(ConfigError, match="did you mean 'my-hopper'"):
        resolve([("test", {"task": "my-hoper"})])


def test_no_file_of_own_tasks_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOPO_TASKS", str(tmp_path / "none.toml"))
    with pytest.raises(UnknownName, match="did you mean"):
        task("hopper-mediums")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a\n", "not TOML"),
        ('a = "b"', "'a' is no table"),
        ('[a]\nlike = "hopper-mediu"\ndataset = "x"', "did you mean 'hopper-medium'"),
        ('[a]\nlike = "hopper-medium"\ndatset = "x"', "unknown key 'datset'; did you mean 'dataset'"),
        ('[a]\nlike = "hopper-medium"', "dataset missing"),
        ('[a]\nlike = "hopper-medium"\ndataset = "ours"', "only tasks that ship can be collected"),
        ('[a]\ndataset = "x"\ntermination = "never"', "environment, observation_dim, action_dim missing"),
        ('[a]\nlike = "hopper-medium"\ndataset = "x"\ntermination = "hoper"', "did you mean 'hopper'"),
        ('[a]\nlike = "hopper-medium"\ndataset = "x"\naction_dim = 0', "action_dim = 0 is not at least 1"),
        ('[a]\nlike = "hopper-medium"\ndataset = "x"\naction_dim = true', "action_dim = True is not a whole number"),
        ('[a]\nlike = "hopper-medium"\ndataset = "x"\nreferences = { min = 3 }', "needs min and max"),
        ('[a]\nlike = "hopper-medium"\ndataset = "x"\nrollout = { h = 3 }', "unknown key rollout.h"),
        ('[a]\nlike = "hopper-medium"\ndataset = "x"\nrollout = { length = 0 }', "rollout.length = 0 is too small"),
        ('[hopper-mixed]\nlike = "hopper-medium"\ndataset = "x"', "belongs to the task hopper-medium-replay"),
        ('["a b"]\nlike = "hopper-medium"\ndataset = "x"', "small letters"),
        ('[a]\nlike = "hopper-medium"\ndataset = "x"\nenvironment_options = { a = [1] }', "environment_options.a"),
    ],
)
def test_a_fault_in_the_file_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tasks.toml"
    path.write_text(text)
    with pytest.raises(OwnTasksError, match=message) as problem:
        read_tasks(path)
    assert str(problem.value).startswith(str(path))
    assert "\n" not in str(problem.value)


@pytest.mark.usefixtures("own")
def test_the_table_needs_no_library() -> None:
    code = (
        "import sys; from engine.tasks import task; task('my-hopper'); import engine.config, engine.data_source; "
        "print([m for m in ('numpy', 'torch', 'gymnasium', 'my_envs') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
