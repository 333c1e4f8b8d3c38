"""What the form says and what it comes to: problems at their fields, the runs, and what starting them will mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from realistic import make_run

from engine.config import TrainConfig, fields_of, flat, from_toml
from mopo_tui.draft import Draft, about_key, as_typed, examine, found, like, refused, setting_keys
from mopo_tui.launching import begin
from mopo_tui.manager import Store, StoreError
from mopo_tui.manager.experiment import Description, Experiment, parse_values, plan
from mopo_tui.outlook import outlook, outlook_in_words, rough, runs_in_words


def runs_of(draft: Draft) -> Experiment:
    examined = examine(draft)
    assert not examined.problems
    assert examined.experiment is not None
    return examined.experiment


def configs_of(draft: Draft) -> list[TrainConfig]:
    return [planned.resolved.config for planned in runs_of(draft).runs]


WRONG: list[tuple[dict[str, object], str, str]] = [
    ({"seeds": "0-x"}, "seeds", "'0-x': write them as 0-4, 0,2,5 or 0-2,7"),
    ({"seeds": "-1"}, "seeds", "'-1': write them as"),
    ({"seeds": "0-1000"}, "seeds", "at most 1000 runs"),
    ({"threads": "two"}, "threads", "'two' is not a whole number"),
    ({"threads": "-1"}, "threads", "-1 is not at least 0"),
    ({"device": "gpu"}, "device", "'gpu' is not cpu, cuda or cuda:N"),
    (
        {"source": "d4rl:hoper-medium-v2"},
        "source",
        "unknown D4RL dataset 'hoper-medium-v2'; did you mean 'hopper-medium-v2'?",
    ),
    ({"source": "d4rl"}, "source", "ours, d4rl:NAME, minari:ID"),
    ({"source": "d4rl:hopper-medium-v2"}, "source", "is data of Hopper; ant-angle is a task of Ant"),
    ({"source": "missing.hdf5"}, "source", "missing.hdf5: no such file or folder"),
    ({"name": "latest"}, "name", "always means the newest run"),
    ({"name": "n" * 98, "seeds": "10,11"}, "name", "at most 100 characters"),
    ({"tags": "good -bad"}, "tags", "tag '-bad'"),
    ({"settings": {"rollout.coefficient": "-1"}}, "rollout.coefficient", "-1 is not at least 0"),
    ({"settings": {"rollout.coefficient": "0.5,-1"}}, "rollout.coefficient", "-1 is not at least 0"),
    ({"settings": {"rollout.coefficient": "1,1"}}, "rollout.coefficient", "1 stands there twice"),
    ({"settings": {"rollout.coefficient": "1,,2"}}, "rollout.coefficient", "a value is missing"),
    ({"settings": {"rollout.penalty": "reword"}}, "rollout.penalty", "(did you mean 'reward'?)"),
    ({"settings": {"rollout.length": "1.5"}}, "rollout.length", "1.5 is not a whole number"),
    ({"settings": {"sac.hidden": "64,64"}}, "sac.hidden", "a list in brackets, such as [200, 200]"),
    ({"settings": {"rollout.initial_length": "9"}}, "rollout.initial_length", "9 is more than rollout.length = 5"),
    ({"settings": {"dataset.size": "50"}}, "dataset.size", "at least 100 transitions"),
    ({"algorithm": "mbpo", "settings": {"rollout.coefficient": "1"}}, "rollout.coefficient", "mbpo has no penalty"),
    ({"settings": {"dynamics.hidden": "[64,64]"}}, "", "dynamics.weight_decay needs 4 values"),
    ({"seeds": "0-499", "settings": {"rollout.length": "1,3,5"}}, "", "1500 runs: an experiment has at most 1000"),
]


@pytest.mark.parametrize(("texts", "field", "why"), WRONG)
def test_what_is_wrong_is_said_at_its_field(texts: dict[str, object], field: str, why: str) -> None:
    examined = examine(Draft(**texts))  # type: ignore[arg-type]
    assert list(examined.problems) == [field]
    assert why in examined.problems[field]
    assert "\n" not in examined.problems[field]
    assert "form" not in examined.problems[field]
    assert "--sweep" not in examined.problems[field]
    assert examined.experiment is None


def test_several_mistakes_are_told_at_once() -> None:
    draft = Draft(seeds="x", threads="x", tags="-x", settings={"rollout.length": "0", "bc.lr": "fast"})
    assert set(examine(draft).problems) == {"seeds", "threads", "tags", "rollout.length", "bc.lr"}


def test_an_empty_form_is_what_mopo_run_would_start() -> None:
    (Path.cwd() / "mopo.toml").write_text('task = "hopper-medium"\nseed = 7\nrollout.length = 3\n')
    (config,) = configs_of(Draft())
    assert (config.task, config.seed, config.rollout.length, config.compute.threads) == ("hopper-medium", 7, 3, 1)
    without = examine(Draft(settings={"rollout.length": "1"})).without
    assert (without["task"], without["rollout.length"]) == ("hopper-medium", 3)


def test_a_broken_file_of_the_persons_is_told() -> None:
    (Path.cwd() / "mopo.toml").write_text("[rollout]\nlenth = 3\n")
    problems = examine(Draft(settings={"rollout.length": "1"})).problems
    assert list(problems) == [""]
    assert "mopo.toml" in problems[""]


def test_every_field_reaches_the_runs() -> None:
    draft = Draft(
        task="hopper-medium", source="d4rl:hopper-medium-v2", algorithm="mopo", preset="smoke", seeds="0-2,7", device="cuda:1",
        threads="2", name="try", tags="one, two", note=" why ", settings={"rollout.length": "3"},
    )  # fmt: skip
    experiment = runs_of(draft)
    configs = configs_of(draft)
    assert [config.seed for config in configs] == [0, 1, 2, 7]
    assert [planned.name for planned in experiment.runs] == ["try-s0", "try-s1", "try-s2", "try-s7"]
    assert (experiment.tags, experiment.note) == (("one", "two"), "why")
    first = configs[0]
    assert (first.task, first.algorithm, first.preset) == ("hopper-medium", "mopo", "smoke")
    assert (first.dataset.source, first.compute.device, first.compute.threads) == ("d4rl:hopper-medium-v2", "cuda:1", 2)
    assert first.rollout.length == 3


def test_a_setting_with_several_values_is_the_sweep_of_the_command_line() -> None:
    draft = Draft(preset="smoke", seeds="0-4", settings={"rollout.coefficient": "0.5,1,5", "rollout.length": "3"})
    experiment = runs_of(draft)
    same = plan(
        Description(seeds=(0, 1, 2, 3, 4), sweep={"rollout.coefficient": (0.5, 1, 5)}),
        [("--set", {"preset": "smoke", "rollout.length": 3})],
    )
    assert [run.resolved.config for run in experiment.runs] == [run.resolved.config for run in same.runs]
    assert [run.name for run in experiment.runs] == [run.name for run in same.runs]
    lists = runs_of(Draft(settings={"sac.hidden": "[64, 64], [256, 256]"}))
    assert [run.resolved.config.sac.hidden for run in lists.runs] == [(64, 64), (256, 256)]


def test_a_setting_that_changes_nothing_says_why() -> None:
    settings = {"rollout.length": "3", "bc.lr": "1e-3", "dataset.size": "5000"}
    examined = examine(Draft(algorithm="bc", settings=settings))
    assert examined.experiment is not None
    assert examined.idle == {"rollout.length": "changes nothing: bc does not use it"}
    assert examine(Draft(algorithm="mopo", settings=settings)).idle == {
        "bc.lr": "changes nothing: mopo does not use it"
    }


# --- finding keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("coef", "rollout.coefficient"),
        ("length", "rollout.length"),
        ("rollout len", "rollout.length"),
        ("sac.actor", "sac.actor_lr"),
        ("target entropy", "sac.target_entropy"),  # by words of its name or meaning
        ("λ", "rollout.coefficient"),  # by its meaning
        ("lenth", "rollout.length"),  # by the nearest spelling
        ("rollout.coeficient", "rollout.coefficient"),
    ],
)
def test_a_key_is_found_by_a_part_of_its_name(text: str, first: str) -> None:
    assert found(text)[0] == first


def test_keys_that_are_no_settings() -> None:
    assert found("") == found("xyzzy") == []
    assert "seed" not in setting_keys()
    assert "did you mean 'rollout.length'" in refused("rollout.lenth")
    assert refused("seed") == "seed has a field of its own: seeds"
    assert refused("rollout.length") == ""
    assert about_key("rollout.length") == "model steps per rollout h; at least 1"
    assert "(true, shifted)" not in about_key("dataset.next_observations")
    assert "max_aleatoric, max_disagreement" in about_key("rollout.uncertainty")


def test_every_default_is_read_back_as_it_is_written() -> None:
    for key, value in flat(TrainConfig()).items():
        if key in setting_keys() and value != "":
            (config,) = configs_of(Draft(preset="paper", settings={key: as_typed(value)}))
            assert flat(config)[key] == value or key in ("dataset.size", "sac.target_entropy"), key
    assert parse_values(as_typed("a, 'b'"), "x") == ("a, 'b'",)
    assert fields_of(TrainConfig).keys() >= set(setting_keys())


# --- like another run -------------------------------------------------------------------------------------------------------------


def test_like_another_run_only_what_differs_is_a_setting(tmp_path: Path) -> None:
    settings: dict[str, object] = {
        "rollout.coefficient": 2.5,
        "sac.hidden": (64, 64),
        "sac.actor_schedule": "cosine",
        "compute.threads": 3,
    }
    folder = make_run(tmp_path, "20260921-141500-ant-angle-mopo-s4-k3v9", seed=4, settings=settings, ending="queued")
    run = Store.open(tmp_path).run(folder.name)
    draft = like(run)
    assert draft == Draft(
        task="ant-angle",
        algorithm="mopo",
        preset="quick",
        seeds="4",
        settings={"rollout.coefficient": "2.5", "sac.hidden": "[64, 64]", "sac.actor_schedule": "cosine"},
    )
    (config,) = configs_of(draft)
    (same,) = plan(Description(), [], like=run, threads=lambda _: 1).runs
    assert config == same.resolved.config


def test_like_another_run_whatever_the_persons_files_say(tmp_path: Path) -> None:
    source = tmp_path / "mine.hdf5"
    source.touch()
    (Path.cwd() / "mopo.toml").write_text('rollout.length = 2\ncompute.device = "cuda"\n')
    own: dict[str, object] = {"dataset.source": str(source)}
    folder = make_run(tmp_path / "runs", "20260921-141500-ant-angle-mopo-s4-k3v9", settings=own, ending="queued")
    run = Store.open(tmp_path / "runs").run(folder.name)
    draft = like(run)
    assert (draft.source, draft.device, draft.settings["rollout.length"]) == (str(source), "cpu", "5")
    old = from_toml(TrainConfig, (folder / "config.toml").read_text(), "")
    (config,) = configs_of(draft)
    assert {k: v for k, v in flat(config).items() if k != "compute.threads"} == {
        k: v for k, v in flat(old).items() if k != "compute.threads"
    }


# --- what is ahead ----------------------------------------------------------------------------------------------------------------


def ahead_of(store: Store, draft: Draft) -> dict[str, str]:
    experiment = runs_of(draft)
    return dict(runs_in_words(experiment, 70) + outlook_in_words(outlook(store, experiment), len(experiment.runs)))


def test_the_first_runs_are_named_as_far_as_they_fit() -> None:
    experiment = runs_of(Draft(seeds="0-4", settings={"rollout.coefficient": "0.5,1,5"}))
    assert runs_in_words(experiment, 66)[0] == (
        "15 runs",
        "ant-angle-mopo: coefficient=0.5-s0, coefficient=0.5-s1 and 13 more",
    )
    assert runs_in_words(runs_of(Draft(seeds="0,2")), 66)[0] == ("2 runs", "ant-angle-mopo-s0, ant-angle-mopo-s2")
    mixed = runs_of(Draft(seeds="0-9", task="hopper-medium", name="x" * 60))
    assert runs_in_words(mixed, 66)[0][1].endswith(" more")


def test_data_that_are_there_and_data_that_are_not(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs")
    assert ahead_of(store, Draft())["Data"] == "mopo/ant-angle/100k-v0: built first, about 30 s"
    folder = tmp_path / "data" / "datasets" / "mopo" / "ant-angle" / "100k-v0"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text('{"fingerprint": "abc", "size": 100000, "episodes": 100}')
    assert ahead_of(store, Draft())["Data"] == "mopo/ant-angle/100k-v0: present, 100,000 transitions"
    hopper = Draft(task="hopper-medium", source="d4rl:hopper-medium-v2")
    assert "downloaded first, 153 MB" in ahead_of(store, hopper)["Data"]
    (tmp_path / "data" / "downloads" / "d4rl").mkdir(parents=True)
    (tmp_path / "data" / "downloads" / "d4rl" / "hopper_medium-v2.hdf5").touch()
    assert "read first, from the file that is downloaded" in ahead_of(store, hopper)["Data"]
    minari = Draft(task="hopper-medium", source="minari:mujoco/hopper/medium-v0")
    assert "downloaded first, with Minari" in ahead_of(store, minari)["Data"]
    two = ahead_of(store, Draft(settings={"dataset.size": "1000,2000,3000"}))["Data"]
    assert two.endswith("; and 2 more datasets")


def test_time_and_memory_are_those_of_a_dry_run(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs")
    store.queue.set_slots(2)
    one = ahead_of(store, Draft(preset="smoke"))
    assert one["Time"] == "about 8 s; 0.7 GB of memory"
    several = ahead_of(store, Draft(seeds="0-3"))
    assert several["Time"] == "about 14 min each, all of them 29 min; 0.8 GB of memory each"
    assert (rough(0.2), rough(100), rough(9000), rough(3e5)) == ("1 s", "2 min", "2.5 h", "3.5 days")


def test_whether_they_start_or_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(tmp_path / "runs")
    store.queue.set_slots(2)
    assert ahead_of(store, Draft())["Start"] == "now; 0 of 2 slots taken"
    assert (
        ahead_of(store, Draft(seeds="0-4"))["Start"]
        == "2 now, 3 wait in the queue, from place 1 on; 0 of 2 slots taken"
    )
    assert (
        ahead_of(store, Draft(seeds="0-1", threads="2"))["Start"]
        == "1 now, 1 waits in the queue, place 1; 0 of 2 slots taken"
    )
    store.queue.set_slots(0)
    folder = make_run(store.root, "20260921-141500-ant-angle-mopo-s1-k3v9", ending="queued")
    store.enqueue([store.run(folder.name)])
    assert ahead_of(store, Draft())["Start"] == "waits in the queue, place 2: 0 of 0 slots taken"
    assert ahead_of(store, Draft(seeds="0,1"))["Start"] == "wait in the queue, from place 2 on: 0 of 0 slots taken"
    monkeypatch.setattr("mopo_tui.manager.launcher.ThisHost.has_gpus", lambda _: False)
    assert ahead_of(store, Draft(device="cuda"))["Start"] == "waits in the queue, place 2: there is no GPU on this host"


# --- starting them ----------------------------------------------------------------------------------------------------------------


def test_nothing_is_left_where_the_third_of_five_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mopo_tui.manager import making

    store = Store.open(tmp_path / "runs")
    create, calls = making.create, []

    def failing(*args: object, **said: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise StoreError("the disk is full")
        return create(*args, **said)  # type: ignore[arg-type]

    monkeypatch.setattr(making, "create", failing)
    with pytest.raises(StoreError, match="the disk is full"):
        begin(store, runs_of(Draft(seeds="0-4", preset="smoke")))
    assert len(calls) == 3
    assert store.runs() == []


def test_nothing_is_left_where_the_queue_cannot_be_written(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs")
    (store.root / "queue").write_text("in the way")
    for seeds in ("0", "0-2"):
        with pytest.raises(StoreError, match="cannot"):
            begin(store, runs_of(Draft(seeds=seeds, preset="smoke")))
        assert store.runs() == []


def test_several_runs_wait_in_one_group(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs")
    store.queue.set_slots(0)
    begun = begin(store, runs_of(Draft(seeds="0-2", preset="smoke", tags="a", note="why")))
    assert [run.id for run in begun.runs] == [job.run_id for job in store.queue.waiting()]
    (group,) = {run.group for run in store.runs()}
    assert f"3 runs in group {group}" in begun.text
    assert {(run.tags, run.note) for run in store.runs()} == {(("a",), "why")}
