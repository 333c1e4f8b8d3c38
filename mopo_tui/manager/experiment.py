"""Several runs from one description: seeds, a sweep over keys, another run's configuration, a TOML file that holds it all."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import random
import re
import string
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from engine import record
from engine.config import ConfigError, Resolved, TrainConfig, flat, flatten, from_toml, parse_setting, resolve
from engine.toml_lines import lines_of
from mopo_tui.manager import locations
from mopo_tui.manager.new_run import EXPERIMENT, Layer, resolve_run
from mopo_tui.manager.run import Run

MOST_RUNS = 1000
_KEYS = ("seeds", "sweep", "name", "tags", "note", "group")
# What a preset, a task or an algorithm decides for other keys.
_DECIDING = ("task", "preset", "algorithm")


@dataclass(frozen=True)
class PlannedRun:
    """One run of an experiment, before it is made."""

    resolved: Resolved
    name: str


@dataclass(frozen=True)
class Experiment:
    """Runs that are launched together.

    Attributes:
        group: the name they share; empty for a single run that nobody put into a group.
        tags, note: what each of them carries.
    """

    runs: tuple[PlannedRun, ...]
    group: str
    tags: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Description:
    """What a person asked for, on the command line or in the [experiment] table of a file; None or empty: nothing.

    Attributes:
        origins: where "seeds" and each swept key were written, if not on the command line: a message about them names that.
    """

    seeds: tuple[int, ...] = ()
    sweep: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    name: str | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    group: str | None = None
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def origin(self, of: str) -> str:
        """Where "seeds", or the values of a swept key, were written."""
        return self.origins.get(of) or ("--seeds" if of == "seeds" else f"--sweep {of}")

    def over(self, other: Description) -> Description:
        """This description where it says something, `other` where it does not; tags add, swept keys count one by one."""
        mine = {*self.sweep, *(("seeds",) if self.seeds else ())}
        origins = {what: origin for what, origin in other.origins.items() if what not in mine}
        return Description(
            self.seeds or other.seeds,
            {**other.sweep, **self.sweep},
            self.name if self.name is not None else other.name,
            tuple(dict.fromkeys((*other.tags, *self.tags))),
            self.note or other.note,
            self.group if self.group is not None else other.group,
            {**origins, **self.origins},
        )

    @property
    def several(self) -> bool:
        return bool(self.sweep) or len(self.seeds) > 1


def plan(
    description: Description,
    layers: Sequence[Layer],
    config_file: Path | None = None,
    *,
    like: Run | None = None,
    threads: Callable[[bool], int | None] = lambda several: 1 if several else None,
) -> Experiment:
    """Every run of an experiment, validated.

    Args:
        layers: of the command line, over files and variables.
        config_file: a file that the person named; its [experiment] table counts where `description` says nothing.
        like: the training run whose configuration lies under the command line.
        threads: what `compute.threads` = 0 stands for, given whether there are several runs.

    Raises:
        ConfigError: one of the runs cannot be, and so none is.
    """
    given = {key: origin for origin, values in layers for key in values}
    if config_file is not None:
        described = read_description(config_file)
        if "seed" in given and not description.seeds:  # --seed 3 means this one, whatever the file lists
            described = dataclasses.replace(described, seeds=())
        described = dataclasses.replace(
            described, sweep={key: values for key, values in described.sweep.items() if key not in given}
        )
        description = description.over(described)
    seeds, sweep = description.seeds, description.sweep
    if seeds and ("seed" in sweep or "seed" in given):
        other = description.origin("seed") if "seed" in sweep else given["seed"]
        raise ConfigError(f"the seed is given twice, by {description.origin('seeds')} and by {other}")
    for key in sweep:
        if key in given:
            raise ConfigError(f"{key} is set and swept: leave one of the two out")
    total = max(len(seeds), 1)
    for values in sweep.values():
        total *= len(values)
    if total > MOST_RUNS:
        raise ConfigError(f"{total} runs: an experiment has at most {MOST_RUNS}")

    several = total > 1
    runs = []
    for combination in itertools.product(*sweep.values()):
        swept = dict(zip(sweep, combination, strict=True))
        for seed in seeds or (None,):
            own: list[Layer] = [(description.origin(key), {key: value}) for key, value in swept.items()]
            if seed is not None:
                own.append((description.origin("seeds"), {"seed": seed}))
            all_layers = [*layers, *own]
            below = like_layer(like, all_layers) if like else None
            resolved = resolve_run(all_layers, config_file, like=below, threads=threads(several))
            runs.append(PlannedRun(resolved, _name(description.name, resolved.config, swept, several)))
    group = description.group
    if group is None:
        group = _new_group(runs[0].resolved.config) if several else ""
    return Experiment(tuple(runs), group, description.tags, description.note)


def _name(given: str | None, config: TrainConfig, swept: Mapping[str, Any], several: bool) -> str:
    """What one run is called: by what makes it differ from the others of its experiment."""
    if not several:
        return given or ""
    inner = {key: value for key, value in swept.items() if key not in ("task", "algorithm", "seed")}
    if given is None and not inner:
        return ""  # the run's own default says it all
    parts = [given or f"{config.task}-{config.algorithm}"]
    parts += [f"{key.rsplit('.', 1)[-1]}={_shown(value)}" for key, value in (swept if given else inner).items()]
    return "-".join([*parts, f"s{config.seed}"])


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "x".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _new_group(config: TrainConfig) -> str:
    """A readable name that no other experiment has: ant-angle-mopo-1120-x7k2."""
    tail = "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=4))
    return f"{config.task}-{config.algorithm}-{time.strftime('%m%d')}-{tail}"


# --- what a person writes ---------------------------------------------------------------------------------------------------------


def parse_seeds(text: str, origin: str = "seeds") -> tuple[int, ...]:
    """ "0-4", "0,2,5" or "0-2,7" as seeds, in the order given.

    Args:
        origin: what a message begins with.

    Raises:
        ConfigError: no such list, or a seed twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,12})\s*(?:-\s*(\d{1,12})\s*)?", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ConfigError(f"{origin} {text!r}: write them as 0-4, 0,2,5 or 0-2,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first >= MOST_RUNS:
            raise ConfigError(f"{origin} {text!r}: an experiment has at most {MOST_RUNS} runs")
        seeds += range(first, last + 1)
    return _once(tuple(seeds), origin)


def parse_sweep(text: str) -> tuple[str, tuple[Any, ...]]:
    """ "rollout.coefficient=0.5,1,5" as key and values; a value may be a list, a bare word counts as a text.

    Raises:
        ConfigError: no key, no values, or one of them twice.
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not key or not values.strip():
        raise ConfigError(f"--sweep {text!r}: write it as key=value,value, such as rollout.coefficient=0.5,1,5")
    return key, parse_values(values, f"--sweep {key}")


def parse_values(text: str, origin: str) -> tuple[Any, ...]:
    """ "0.5,1,5" as values; a value may be a list, a bare word counts as a text.

    Args:
        origin: what a message begins with.

    Raises:
        ConfigError: one of them is missing, or stands there twice.
    """
    try:
        parsed = tomli.loads(f"values = [{text}]")["values"]
    except tomli.TOMLDecodeError:
        parsed = [parse_setting(f"value={value}")[1] for value in text.split(",")]
    if "" in parsed or not parsed:
        raise ConfigError(f"{origin} = {text.strip()!r}: a value is missing")
    return _once(tuple(parsed), origin)


def parse_sweeps(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """All --sweep options of a command line.

    Raises:
        ConfigError: as `parse_sweep`, or a key twice.
    """
    sweep: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        key, values = parse_sweep(text)
        if key in sweep:
            raise ConfigError(f"--sweep {key} stands there twice: give all its values in one list")
        sweep[key] = values
    return sweep


def _once(values: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ConfigError(f"{what}: {value!r} stands there twice")
    return values


def read_description(path: Path) -> Description:
    """The [experiment] table of a TOML file; one that says nothing where there is none.

    Raises:
        ConfigError: unreadable, an unknown key, or a value of the wrong type.
    """
    try:
        table = locations.read_toml(path).get(EXPERIMENT, {})
        lines = lines_of(path.read_text(encoding="utf-8"))
    except (locations.LocationError, OSError) as error:
        raise ConfigError(str(error)) from None

    def at(key: str) -> str:
        """A key of the file with file and line, as a message begins."""
        return f"{path}:{lines[key]}: {key}" if key in lines else f"{path}: {key}"

    if not isinstance(table, Mapping):
        raise ConfigError(f"{at(EXPERIMENT)} is a table: [{EXPERIMENT}]")

    def bad(key: str, wanted: str) -> ConfigError:
        return ConfigError(f"{at(f'{EXPERIMENT}.{key}')} = {table[key]!r} is not {wanted}")

    for key in table:
        if key not in _KEYS:
            close = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(_KEYS)}"
            wrong = f"{EXPERIMENT}.{key}"
            raise ConfigError(f"{at(wrong).removesuffix(wrong)}unknown key {wrong}; {hint}")
    for key in ("name", "note", "group"):
        if not isinstance(table.get(key, ""), str):
            raise bad(key, "a text")
    seeds = table.get("seeds", ())
    if isinstance(seeds, str):
        seeds = parse_seeds(seeds, f"{at(f'{EXPERIMENT}.seeds')} =")
    elif not isinstance(seeds, (list, tuple)) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise bad("seeds", 'a list of whole numbers, or a text such as "0-4"')
    tags = table.get("tags", [])
    tags = [tags] if isinstance(tags, str) else tags
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise bad("tags", "a list of texts")
    swept = table.get("sweep", {})
    if not isinstance(swept, Mapping):
        raise bad("sweep", f"a table: [{EXPERIMENT}.sweep]")
    sweep, origins = {}, {"seeds": at(f"{EXPERIMENT}.seeds")}
    for key, values in flatten(swept).items():
        where = at(f"{EXPERIMENT}.sweep.{key}")
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{where} = {values!r} is not a list of values")
        sweep[key] = _once(tuple(values), where)
        origins[key] = where.removesuffix(f".{key}")
    return Description(
        _once(tuple(seeds), origins["seeds"]),
        sweep,
        table.get("name"),
        tuple(tags),
        table.get("note", ""),
        table.get("group"),
        origins,
    )


# --- another run's configuration --------------------------------------------------------------------------------------------------


def read_config(run: Run) -> TrainConfig:
    """The configuration of a training run.

    Raises:
        ConfigError: it is no training run, or its configuration cannot be read by this version.
    """
    if run.job != "train":
        raise ConfigError(
            f"{run.id} is a run of kind {run.job or '?'}: only training runs have a configuration to start from"
        )
    path = run.folder / record.CONFIG
    try:
        return from_toml(TrainConfig, path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def like_layer(run: Run, layers: Sequence[Layer]) -> Layer:
    """The configuration of `run` as a layer, threads aside, under the `layers` of the command line.

    Where those choose another task, preset or algorithm, what the run took from its own follows the new one.

    Raises:
        ConfigError: as `read_config`, or no such task or preset.
    """
    config = read_config(run)
    values = flat(config)
    decided = {key: values[key] for key in _DECIDING}
    deciding = [(origin, {k: v for k, v in said.items() if k in _DECIDING}) for origin, said in layers]
    chosen = decided | {key: value for _, said in deciding for key, value in said.items()}
    if chosen != decided:
        like = (f"like {run.id}", decided)
        before, after = (flat(resolve(given).config) for given in ([like], [like, *deciding]))
        values = {key: after[key] if value == before[key] else value for key, value in values.items()} | chosen
    values.pop("compute.threads")  # how many there are to use now, not then
    return f"like {run.id}", values
