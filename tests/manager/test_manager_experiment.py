"""Seeds, sweeps, another run's configuration and whole experiments in a file: what runs they become."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import record
from engine.config import ConfigError
from mopo_tui.manager import Run, Store, StoreError, locations
from mopo_tui.manager.experiment import (
    Description,
    Experiment,
    parse_seeds,
    parse_sweep,
    parse_sweeps,
    plan,
)
from mopo_tui.manager.settings import read_settings

SMOKE = ("--preset", {"preset": "smoke"})


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", (0, 1, 2, 3, 4)), ("0,2,5", (0, 2, 5)), ("0-2,7", (0, 1, 2, 7)), (" 3 - 4 , 1", (3, 4, 1)), ("9", (9,))],
)
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4-0", "1,,2", "-1", "0-100000", "1,1", "0-3,2"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("rollout.coefficient=0.5,1,5", "rollout.coefficient", (0.5, 1, 5)),
        ("algorithm=mopo,mbpo", "algorithm", ("mopo", "mbpo")),
        ("sac.hidden=[64,64],[256,256]", "sac.hidden", ([64, 64], [256, 256])),
        ("rollout.clip = true, false", "rollout.clip", (True, False)),
    ],
)
def test_sweeps(text: str, key: str, values: tuple[Any, ...]) -> None:
    assert parse_sweep(text) == (key, values)


@pytest.mark.parametrize("text", ["rollout.length", "=1,2", "rollout.length=", "rollout.length=1,1", "task=a,,b"])
def test_sweeps_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="sweep"):
        parse_sweep(text)


def test_a_key_is_swept_once() -> None:
    with pytest.raises(ConfigError, match="twice"):
        parse_sweeps(["seed=1", "seed=2"])


def test_seeds_times_swept_values_become_runs_of_one_group(store: Store) -> None:
    sweep = parse_sweeps(["rollout.coefficient=0.5,5", "rollout.length=1,5"])
    experiment = plan(Description(seeds=(0, 3), sweep=sweep, tags=("a",), note="why"), [SMOKE])
    runs = store.create_all(experiment, ["mopo", "run"])
    assert len(runs) == 8
    settings = [read_settings(run.folder) for run in runs]
    found = {(s["rollout.coefficient"], s["rollout.length"], s["seed"]) for s in settings}
    assert found == {(c, h, s) for c in (0.5, 5.0) for h in (1, 5) for s in (0, 3)}
    assert {s["compute.threads"] for s in settings} == {1}  # each waits for one slot
    assert len({run.group for run in runs}) == 1
    assert runs[0].group.startswith("ant-angle-mopo-")
    assert len({run.name for run in runs}) == 8
    assert runs[0].name == "ant-angle-mopo-coefficient=0.5-length=1-s0"
    assert {(run.tags, run.note) for run in runs} == {(("a",), "why")}
    assert runs[0].group != plan(Description(seeds=(0, 1)), [SMOKE]).group


def test_names_of_seeds_alone_and_of_a_named_sweep() -> None:
    def names(description: Description) -> list[str]:
        return [run.name for run in plan(description, [SMOKE]).runs]

    assert names(Description(seeds=(0, 1))) == ["", ""]  # the default name holds the seed already
    assert names(Description(seeds=(0, 1), name="x")) == ["x-s0", "x-s1"]
    assert names(Description(sweep={"algorithm": ("sac", "bc")}, name="x")) == [
        "x-algorithm=sac-s0",
        "x-algorithm=bc-s0",
    ]
    assert names(Description(name="x")) == ["x"]


def test_one_run_has_no_group_unless_named_and_takes_the_threads_it_is_given() -> None:
    alone = plan(Description(), [SMOKE], threads=lambda several: 1 if several else 2)
    assert (len(alone.runs), alone.group, alone.runs[0].resolved.config.compute.threads) == (1, "", 2)
    assert plan(Description(group="mine"), [SMOKE]).group == "mine"
    given = plan(Description(seeds=(0, 1)), [SMOKE, ("--threads", {"compute.threads": 3})])
    assert {run.resolved.config.compute.threads for run in given.runs} == {3}


@pytest.mark.parametrize(
    ("description", "layers", "why"),
    [
        (Description(sweep={"rollout.lenth": (1, 2)}), [], "--sweep rollout.lenth.*did you mean 'rollout.length'"),
        (Description(sweep={"rollout.length": (1, 0)}), [], "at least 1"),
        (Description(sweep={"rollout.length": (1, 2)}), [("--set", {"rollout.length": 3})], "set and swept"),
        (Description(seeds=(0, 1)), [("--seed", {"seed": 3})], "twice"),
        (Description(seeds=(0, 1), sweep={"seed": (3,)}), [], "twice"),
        (Description(seeds=tuple(range(500)), sweep={"rollout.length": (1, 2, 3)}), [], "1500 runs"),
    ],
)
def test_one_impossible_run_makes_the_whole_experiment_impossible(
    description: Description, layers: Any, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        plan(description, [SMOKE, *layers])


# --- a file -----------------------------------------------------------------------------------------------------------------------


def in_file(text: str) -> Path:
    path = Path.cwd() / "exp.toml"
    path.write_text(text)
    return path


WHOLE = """
preset = "smoke"
rollout.length = 2
[experiment]
seeds = "0-1"
name = "both"
tags = ["one"]
note = "what for"
group = "my group"
[experiment.sweep]
rollout.coefficient = [0.5, 1]
"sac.discount" = [0.9]
"""


def test_a_file_holds_a_whole_experiment() -> None:
    experiment = plan(Description(tags=("two",)), [], in_file(WHOLE))
    configs = [run.resolved.config for run in experiment.runs]
    assert [(c.rollout.coefficient, c.seed) for c in configs] == [(0.5, 0), (0.5, 1), (1.0, 0), (1.0, 1)]
    assert {(c.rollout.length, c.sac.discount, c.preset) for c in configs} == {(2, 0.9, "smoke")}
    assert (experiment.group, experiment.tags, experiment.note) == ("my group", ("one", "two"), "what for")
    assert experiment.runs[0].name == "both-coefficient=0.5-discount=0.9-s0"


def test_the_command_line_stands_above_the_file() -> None:
    path = in_file(WHOLE)
    other = plan(Description(seeds=(7,), group="else", sweep={"rollout.coefficient": (3,)}), [], path)
    assert [(r.resolved.config.seed, r.resolved.config.rollout.coefficient) for r in other.runs] == [(7, 3.0)]
    assert other.group == "else"
    one = plan(Description(), [("--seed", {"seed": 4}), ("--set", {"rollout.coefficient": 2})], path)
    assert [(r.resolved.config.seed, r.resolved.config.rollout.coefficient) for r in one.runs] == [(4, 2.0)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[experiment]\nseed = 3", r"toml:2: unknown key experiment.seed; did you mean 'seeds'"),
        ("[experiment]\nseeds = [1, -2]", r"toml:2: experiment.seeds = .* is not a list of whole numbers"),
        ("[experiment]\nseeds = [true]", "experiment.seeds"),
        ("[experiment]\nseeds = [1, 1]", r"toml:2: experiment.seeds: 1 stands there twice"),
        ("[experiment]\ntags = [1]", "experiment.tags"),
        ("[experiment]\nname = 3", r"toml:2: experiment.name = 3 is not a text"),
        ("[experiment.sweep]\nrollout.length = 3", r"toml:2: experiment.sweep.rollout.length = 3 is not a list"),
        ("experiment = 3", r"toml:1: experiment is a table"),
        ("[experiment.sweep]\nrollout.lenth = [3]", r"toml:2: experiment\.sweep: .*did you mean 'rollout.length'"),
        (
            "[experiment.sweep]\nrollout.length = [-3]",
            r"toml:2: experiment\.sweep: rollout.length = -3 is not at least 1",
        ),
        ('[experiment]\nseeds = "0-x"', r"toml:2: experiment\.seeds = '0-x': write them as"),
        (
            "[experiment.sweep]\nrollout.length = [\n1]\n[experiment.sweep.dataset]\nsize = [150]",
            r"toml:5: experiment\.sweep: dataset.size = 150 is too few",
        ),
        ('[experiment.sweep]\n"rollout.lenth" = [3]', r"toml:2: experiment\.sweep: unknown key 'rollout.lenth'"),
        ("[experiment]\nsweep = {seed = [1, 1]}", r"toml:2: experiment.sweep.seed: 1 stands there twice"),
        ("\n[sac]\nlog_std_max = -30\n[experiment]\nseeds = [1]", r"exp\.toml:3: sac.log_std_min = "),
        ("[experiment]\nseeds = [1]\nsweep.seed = [1]", r"twice, by .*experiment\.seeds and by .*experiment\.sweep"),
    ],
)
def test_a_mistake_in_the_file_names_its_place(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        plan(Description(), [SMOKE], in_file(text))
    assert "--" not in str(caught.value)


def test_a_mistake_on_the_command_line_names_its_option() -> None:
    with pytest.raises(ConfigError, match=r"^--sweep rollout.length: rollout.length = -3 is not at least 1"):
        plan(Description(sweep={"rollout.length": (-3,)}), [SMOKE])
    with pytest.raises(ConfigError, match=r"twice, by --seeds and by --seed$"):
        plan(Description(seeds=(1, 2)), [SMOKE, ("--seed", {"seed": 3})])
    # An option in place of the file's own words is the one that is named.
    with pytest.raises(ConfigError, match=r"^--sweep rollout.length"):
        plan(Description(sweep={"rollout.length": (-3,)}), [SMOKE], in_file("[experiment.sweep]\nrollout.length = [1]"))


def test_an_experiment_counts_only_in_a_file_that_is_named() -> None:
    (Path.cwd() / "mopo.toml").write_text("[experiment]\nseeds = [0, 1]\n")
    with pytest.raises(ConfigError, match=r"mopo\.toml.*--config"):
        plan(Description(), [SMOKE])


def test_on_finish_counts_only_in_the_persons_own_file() -> None:
    named = in_file('on_finish = "true"\n')
    for config_file in (named, None):
        (Path.cwd() / "mopo.toml").write_text('on_finish = "true"\n' if config_file is None else "")
        with pytest.raises(ConfigError, match="on_finish counts only in your own file"):
            plan(Description(), [SMOKE], config_file)
    (Path.cwd() / "mopo.toml").unlink()
    locations.user_config().parent.mkdir(parents=True)
    locations.user_config().write_text('on_finish = "true"\nseed = 5\n')
    assert plan(Description(), [SMOKE]).runs[0].resolved.config.seed == 5


# --- like ------------------------------------------------------------------------------------------------------------------------


def test_like_takes_the_whole_configuration_of_a_run(make_run: Callable[..., Run]) -> None:
    run = make_run(seed=4, **{"rollout.coefficient": 7.0, "dataset.size": 600, "compute.threads": 3})
    (Path.cwd() / "mopo.toml").write_text("rollout.coefficient = 9\nrollout.length = 9\n")
    planned = plan(Description(), [("--set", {"sac.discount": 0.5})], like=run).runs[0].resolved
    expected = {**read_settings(run.folder), "sac.discount": 0.5}
    del expected["compute.threads"]
    from engine.config import flat

    values = flat(planned.config)
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if k != "compute.threads"} == expected
    assert planned.origins["rollout.coefficient"] == f"like {run.id}"
    assert planned.origins["sac.discount"] == "--set"
    seeds = plan(Description(seeds=(0, 1)), [], like=run)
    assert [r.resolved.config.seed for r in seeds.runs] == [0, 1]
    assert {r.resolved.config.rollout.coefficient for r in seeds.runs} == {7.0}


def test_like_with_another_preset_or_algorithm_follows_the_new_one(make_run: Callable[..., Run]) -> None:
    run = make_run(**{"sac.discount": 0.9})
    config = plan(Description(), [("--preset", {"preset": "quick"})], like=run).runs[0].resolved.config
    assert (config.preset, config.policy.epochs, config.sac.discount) == ("quick", 100, 0.9)
    swept = plan(Description(sweep={"algorithm": ("mopo", "mbpo")}), [], like=run)
    assert [r.resolved.config.rollout.coefficient for r in swept.runs] == [1.0, 0.0]


def test_like_with_a_preset_or_task_that_is_none_names_who_said_so(make_run: Callable[..., Run]) -> None:
    run = make_run()
    with pytest.raises(ConfigError, match=r"^--preset: preset = 'quik' is not one of"):
        plan(Description(), [("--preset", {"preset": "quik"})], like=run)
    with pytest.raises(ConfigError, match=r"exp\.toml:2: experiment\.sweep: unknown task 'hoper-medium'"):
        plan(Description(), [], in_file('[experiment.sweep]\ntask = ["hoper-medium"]'), like=run)


def test_like_needs_a_training_run_that_can_be_read(store: Store, make_run: Callable[..., Run]) -> None:
    from engine.config import BehaviourConfig, make

    with pytest.raises(ConfigError, match="only training runs"):
        plan(Description(), [], like=store.create(make(BehaviourConfig, {"behaviour": "ant"})))
    run = make_run()
    (run.folder / record.CONFIG).write_text("rollout = [")
    with pytest.raises(ConfigError, match=r"config\.toml: not TOML"):
        plan(Description(), [], like=run)
    (run.folder / record.CONFIG).write_text("seed = 1\n[rollout]\nlenth = 3\n")
    with pytest.raises(ConfigError, match=r"config\.toml:3: unknown key 'rollout.lenth'"):
        plan(Description(), [], like=run)


# --- making them -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["", "two words", "+a", "-a", "a,b", "a\x1b", "x" * 51])
def test_tags_that_cannot_be_typed_are_refused(store: Store, tag: str) -> None:
    with pytest.raises(StoreError, match="tag"):
        store.create_all(plan(Description(tags=("fine", tag)), [SMOKE]))
    assert store.runs() == []


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_disk_that_fills_at_any_write_leaves_nothing_half_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = plan(Description(seeds=(0, 1), tags=("a",)), [SMOKE])
    before, write = everything_below(store.root), record.write_atomically

    def full_after(writes: int) -> Callable[..., None]:
        left = [writes]

        def full(path: Path, content: str | bytes) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            write(path, content)

        return full

    for writes in range(6):  # three files a run
        monkeypatch.setattr(record, "write_atomically", full_after(writes))
        with pytest.raises(StoreError, match="No space left"):
            store.create_all(experiment)
        assert everything_below(store.root) == before
    monkeypatch.setattr(record, "write_atomically", full_after(6))
    assert len(store.create_all(experiment)) == 2


def test_a_group_name_is_checked_like_a_name(store: Store) -> None:
    for name in ("latest", "a\nb", "x" * 101):
        with pytest.raises(StoreError, match="group"):
            store.create_all(Experiment(plan(Description(), [SMOKE]).runs, name, (), ""))
