"""A run's configuration: typed, validated, TOML in and out (standard library and tomli only).

Three kinds of run have one each: `TrainConfig` (kind "train"), `DatasetConfig` and `BehaviourConfig` (kind "data"). Keys are dotted
paths such as `rollout.coefficient`; each field says what it means, its unit and its range. Values are resolved in layers (defaults,
task, preset, files, environment, command line) and each remembers the layer it came from. What one field alone tells is checked by
`engine.config_fields`; what others need of it is imported from here, too.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tomli

from engine.config_fields import ConfigError as ConfigError
from engine.config_fields import checked as checked
from engine.config_fields import fields_of as fields_of
from engine.config_fields import meaning as meaning
from engine.config_fields import option, types_of
from engine.own_tasks import OwnTasksError
from engine.presets import ALGORITHM_VALUES, PRESET_VALUES, Value
from engine.tasks import OURS, SOURCES, Task, UnknownName, task

MODEL_BASED = ("mopo", "mbpo", "mb2po")
ALGORITHMS = (*MODEL_BASED, "sac", "awac", "bc")
PRESETS = tuple(PRESET_VALUES)
UNCERTAINTIES = ("max_aleatoric", "max_disagreement", "ensemble_std")
DEFAULT_PRESET = "quick"
MINIMUM_ROWS = 100  # of a dataset


@dataclass(frozen=True)
class Dataset:
    source: str = option("ours", "ours (collected here), d4rl:NAME, minari:ID, training:RUN_FOLDER, or a path")
    size: int = option(0, "transitions; 0: the task's own number, or all that the source has", minimum=0)
    seed: int = option(0, "seed of the collection, or of the choice of episodes", minimum=0)
    next_observations: str = option(
        "true",
        "s' of a terminal row: true, or shifted: the next row's s, as the official code reads D4RL v0",
        choices=("true", "shifted"),
    )


@dataclass(frozen=True)
class Environment:
    """Where policies are evaluated; data from elsewhere bring their own environment."""

    id: str = option("", "Gymnasium id; empty: as the data's origin says")
    legacy_contacts: str = option(
        "auto", "contacts as MuJoCo up to 3.4 made them; auto: as the data's origin says", choices=("auto", "on", "off")
    )
    angle: float = option(30.0, "ant-angle: direction of the reward in degrees", minimum=-180.0, maximum=180.0)


@dataclass(frozen=True)
class Dynamics:
    """The ensemble and its training (Yu et al. 2020, appendix; constants of the official code)."""

    members: int = option(7, "networks in the ensemble", minimum=1)
    elites: int = option(5, "members with the lowest holdout error, from which rollouts sample", minimum=1)
    hidden: tuple[int, ...] = option((200, 200, 200, 200), "hidden layer sizes", minimum=1)
    weight_decay: tuple[float, ...] = option(
        (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4, 1e-4), "per layer: trunk, mean head, variance head", minimum=0
    )
    lr: float = option(1e-3, "Adam step size", above=0)
    batch_size: int = option(256, "rows per member and step", minimum=1)
    holdout_fraction: float = option(0.2, "share of rows held out", above=0, maximum=0.5)
    holdout_max: int = option(1000, "most rows held out", minimum=1)
    max_epochs: int = option(0, "epoch cap; 0: none, early stopping alone", minimum=0)
    patience: int = option(5, "stop after more than this many epochs without an improvement", minimum=0)
    improvement: float = option(0.01, "relative holdout improvement that counts", minimum=0.0)
    steps: int = option(0, "exactly so many gradient steps, without early stopping; 0: by epochs", minimum=0)
    spectral_norm: bool = option(False, "divide the log-variance head by its largest singular value")
    layer_norm: bool = option(False, "normalise each hidden layer before its activation")
    normalise_targets: bool = option(False, "fit standardised (r, s' − s); u stays in raw units")


@dataclass(frozen=True)
class Rollout:
    """Branched model rollouts and the penalty (Yu et al. 2020, algorithm 2)."""

    coefficient: float = option(1.0, "penalty coefficient λ", minimum=0.0)
    length: int = option(5, "model steps per rollout h", minimum=1)
    penalty: str = option(
        "reward",
        "where the penalty comes off: reward: λu off r; bellman: λ·std of the members' target values off y",
        choices=("reward", "bellman"),
    )
    penalty_samples: int = option(10, "bellman: next states per member", minimum=1)
    starts: int = option(50_000, "start states per round", minimum=1)
    transitions: int = option(
        0, "exactly so many model steps per round, whatever starts says; 0: starts × h", minimum=0
    )
    cut_quantile: float = option(
        0.0, "end rollouts where u exceeds that quantile of u on the data; 0: nowhere", minimum=0.0, maximum=1.0
    )
    retain_rounds: int = option(5, "rounds kept in the model buffer", minimum=1)
    real_fraction: float = option(0.05, "share of real transitions in a batch", minimum=0.0, maximum=1.0)
    uncertainty: str = option("max_aleatoric", "the u of the penalty", choices=UNCERTAINTIES)
    clip: bool = option(False, "clip predicted rewards and states to the range of the data")
    initial_length: int = option(0, "h of the first epoch, growing to rollout.length; 0: rollout.length", minimum=0)
    growth_epochs: int = option(0, "epochs over which h grows linearly from initial_length", minimum=0)


@dataclass(frozen=True)
class Sac:
    """Soft actor-critic (Haarnoja et al. 2018)."""

    hidden: tuple[int, ...] = option((256, 256), "hidden layer sizes of actor and critics", minimum=1)
    actor_lr: float = option(3e-4, "Adam step size of the actor", above=0)
    critic_lr: float = option(3e-4, "Adam step size of the critics", above=0)
    temperature_lr: float = option(3e-4, "Adam step size of log α", minimum=0)
    discount: float = option(0.99, "γ", minimum=0.0, maximum=1.0)
    polyak: float = option(0.005, "τ of the target critics", above=0, maximum=1.0)
    batch_size: int = option(256, "rows per update", minimum=1)
    target_entropy: float = option(-3.0, "H̄ in nats; 0 stands for −|A|")
    critics: int = option(2, "critics, of which the minimum is taken", minimum=1)
    diversity: float = option(0.0, "weight of EDAC's diversity term of the critics", minimum=0)
    entropy_backup: bool = option(True, "back up the entropy in the Bellman target")
    initial_log_temperature: float = option(0.0, "log α at the start")
    max_temperature: float = option(0.0, "cap of α; 0: none", minimum=0)
    log_std_min: float = option(-20.0, "lower clip of the policy's log σ")
    log_std_max: float = option(2.0, "upper clip of the policy's log σ")
    actor_schedule: str = option(
        "constant", "the actor's step size over the run: constant, or cosine decay to 0", choices=("constant", "cosine")
    )


@dataclass(frozen=True)
class Awac:
    """Advantage-weighted actor-critic (Nair et al. 2020), as stage 1 of MB2PO has it (Villaflor et al. 2020)."""

    hidden: tuple[int, ...] = option((256, 256), "hidden layer sizes of actor and critics", minimum=1)
    components: int = option(5, "Gaussians in the policy's mixture", minimum=1)
    actor_lr: float = option(3e-4, "Adam step size of the actor", above=0)
    critic_lr: float = option(3e-4, "Adam step size of the critics", above=0)
    discount: float = option(0.99, "γ", minimum=0.0, maximum=1.0)
    polyak: float = option(0.005, "τ of the target critics", above=0, maximum=1.0)
    batch_size: int = option(256, "rows per update", minimum=1)
    temperature: float = option(1.0, "α of the weights exp(A/α)", minimum=1e-6)
    max_weight: float = option(20.0, "clip of the weights", minimum=1.0)
    advantage_samples: int = option(4, "policy samples in the advantage's baseline", minimum=1)
    critics: int = option(2, "critics, of which the minimum is taken", minimum=1)
    critic: str = option("expected", "expected: Q itself; quantile: its distribution", choices=("expected", "quantile"))
    quantiles: int = option(32, "of a quantile critic", minimum=2)
    log_std_min: float = option(-5.0, "lower clip of the policy's log σ")
    log_std_max: float = option(2.0, "upper clip of the policy's log σ")


@dataclass(frozen=True)
class Mb2po:
    """The two stages of MB2PO (Villaflor et al. 2020) and the gate between them; stage 2 has `policy.epochs` iterations."""

    stage1_epochs: int = option(100, "epochs of AWAC on the batch", minimum=1)
    enter: str = option(
        "auto",
        "whether stage 2 is entered; auto: by offline evidence, paper: by the task's name",
        choices=("auto", "paper", "always", "never"),
    )
    fitted_q_updates: int = option(20_000, "gradient steps of each fitted Q evaluation after stage 2", minimum=1)


@dataclass(frozen=True)
class Bc:
    """Behaviour cloning: maximum likelihood of the batch's actions under SAC's tanh-Gaussian policy."""

    lr: float = option(3e-4, "Adam step size", above=0)
    batch_size: int = option(256, "rows per update", minimum=1)


@dataclass(frozen=True)
class Policy:
    epochs: int = option(1000, "policy epochs", minimum=1)
    updates_per_epoch: int = option(1000, "gradient steps per epoch", minimum=1)


@dataclass(frozen=True)
class Evaluation:
    every: int = option(1, "epochs between evaluations", minimum=1)
    episodes: int = option(10, "deterministic episodes per evaluation", minimum=1)
    final_episodes: int = option(100, "episodes of the final policy", minimum=1)
    calibration: bool = option(True, "hold the model's return, u and predictions against the real environment")
    calibration_starts: int = option(
        100, "initial states of the batch from which the model's return is taken", minimum=1
    )
    calibration_steps: int = option(1000, "model steps of it", minimum=1)


@dataclass(frozen=True)
class Compute:
    device: str = option("cpu", "cpu, cuda or cuda:N")
    threads: int = option(0, "torch threads; 0: min(cores, 2)", minimum=0, maximum=1024)
    compile: bool = option(True, "compile the updates where a C++ compiler is at hand")
    reuse: bool = option(True, "take an ensemble that was fitted to the same data with the same settings and seed")


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    task: str = option("ant-angle", "task of the table")
    algorithm: str = option("mopo", "recipe", choices=ALGORITHMS)
    preset: str = option(DEFAULT_PRESET, "named budget", choices=PRESETS)
    seed: int = option(0, "seed of everything random in the run", minimum=0)
    dataset: Dataset = field(default_factory=Dataset)
    environment: Environment = field(default_factory=Environment)
    dynamics: Dynamics = field(default_factory=Dynamics)
    rollout: Rollout = field(default_factory=Rollout)
    sac: Sac = field(default_factory=Sac)
    awac: Awac = field(default_factory=Awac)
    mb2po: Mb2po = field(default_factory=Mb2po)
    bc: Bc = field(default_factory=Bc)
    policy: Policy = field(default_factory=Policy)
    evaluation: Evaluation = field(default_factory=Evaluation)
    compute: Compute = field(default_factory=Compute)

    @property
    def kind(self) -> str:
        return "train"


@dataclass(frozen=True)
class DatasetConfig:
    """A run of kind "data" that makes a dataset ready: collects, downloads or imports it."""

    task: str = option("ant-angle", "task of the table")
    dataset: Dataset = field(default_factory=Dataset)
    environment: Environment = field(default_factory=Environment)
    compute: Compute = field(default_factory=lambda: Compute(threads=1))

    @property
    def kind(self) -> str:
        return "dataset"


@dataclass(frozen=True)
class BehaviourConfig:
    """A run of kind "data" that trains a behaviour policy with online SAC."""

    behaviour: str = option("ant", "behaviour of the table")
    steps: int = option(1_000_000, "environment steps", minimum=1)
    chunk: int = option(10_000, "environment steps per checkpoint and snapshot", minimum=100)
    half_chunks: int = option(10, "first chunks that leave a snapshot at their half, too", minimum=0)
    random_steps: int = option(10_000, "uniform actions at the start", minimum=0)
    episodes: int = option(5, "stochastic episodes per snapshot", minimum=1)
    seed: int = option(0, "seed", minimum=0)
    compute: Compute = field(default_factory=lambda: Compute(threads=1))

    @property
    def kind(self) -> str:
        return "behaviour"


Config = TrainConfig | DatasetConfig | BehaviourConfig
C = TypeVar("C", bound="TrainConfig | DatasetConfig | BehaviourConfig")


@dataclass(frozen=True)
class Resolved:
    """A configuration and, for every key, the layer that set it."""

    config: TrainConfig
    origins: dict[str, str]


def flat(config: Config) -> dict[str, Value]:
    """Every dotted key with its value."""
    out: dict[str, Value] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            out.update({f"{f.name}.{g.name}": getattr(value, g.name) for g in dataclasses.fields(value)})
        else:
            out[f.name] = value
    return out


def _build(cls: type[C], values: Mapping[str, Value]) -> C:
    hints = types_of(cls)
    arguments: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[f.name]):
            section = typing.cast(type, hints[f.name])
            prefix = f"{f.name}."
            given = {k[len(prefix) :]: v for k, v in values.items() if k.startswith(prefix)}
            arguments[f.name] = section(**given)
        elif f.name in values:
            arguments[f.name] = values[f.name]
    config: C = cls(**arguments)
    return config


def make(cls: type[C], values: Mapping[str, Any], origin: str = "configuration") -> C:
    """A configuration of class `cls` with `values` by dotted key over the defaults, validated.

    Raises:
        ConfigError: unknown key, wrong type, out of range, unknown task.
    """
    config = _build(cls, {k: checked(cls, k, v, origin) for k, v in values.items()})
    _check_whole(config)
    return config


def _check_whole(config: Config) -> None:
    """What no key alone tells; an error names the keys that a person may have set, and no origin."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", config.compute.device):
        raise ConfigError(f"compute.device = {config.compute.device!r} is not cpu, cuda or cuda:N", "compute.device")
    if isinstance(config, (TrainConfig, DatasetConfig)):
        _check_data(config)
    if isinstance(config, TrainConfig):
        _check_agents(config)
        _check_model(config)


def _check_agents(config: TrainConfig) -> None:
    for section, settings in (("sac", config.sac), ("awac", config.awac)):
        low, high = f"{section}.log_std_min", f"{section}.log_std_max"
        if not settings.log_std_min < settings.log_std_max:
            raise ConfigError(
                f"{low} = {settings.log_std_min:g} is not below {high} = {settings.log_std_max:g}", low, high
            )
    if config.sac.diversity and config.sac.critics < 2:
        raise ConfigError(
            "sac.diversity makes critics differ: sac.critics must be at least 2", "sac.diversity", "sac.critics"
        )
    if config.algorithm == "mbpo" and config.rollout.coefficient != 0:
        raise ConfigError(
            "mbpo has no penalty: rollout.coefficient must be 0 (or use --algorithm mopo)",
            "rollout.coefficient",
            "algorithm",
        )


def _check_model(config: TrainConfig) -> None:
    """The ensemble and its rollouts, which also need data enough."""
    d, r = config.dynamics, config.rollout
    if r.initial_length > r.length:
        raise ConfigError(
            f"rollout.initial_length = {r.initial_length} is more than rollout.length = {r.length}",
            "rollout.initial_length",
            "rollout.length",
        )
    if d.elites > d.members:
        raise ConfigError(
            f"dynamics.elites = {d.elites} is more than dynamics.members = {d.members}",
            "dynamics.elites",
            "dynamics.members",
        )
    if len(d.weight_decay) != len(d.hidden) + 2:
        raise ConfigError(
            f"dynamics.weight_decay needs {len(d.hidden) + 2} values (each hidden layer, mean head, variance head), "
            f"not {len(d.weight_decay)}",
            "dynamics.weight_decay",
            "dynamics.hidden",
        )
    if config.algorithm not in MODEL_BASED or (config.algorithm == "mb2po" and config.mb2po.enter == "never"):
        return  # no ensemble is fitted
    if r.penalty == "bellman" and d.elites < 2:
        raise ConfigError(
            "rollout.penalty = 'bellman' is a spread over members: dynamics.elites must be at least 2",
            "rollout.penalty",
            "dynamics.elites",
        )
    section, batch = ("awac", config.awac) if config.algorithm == "mb2po" else ("sac", config.sac)
    if r.real_fraction > 0 and int(r.real_fraction * batch.batch_size) == 0:
        raise ConfigError(
            f"rollout.real_fraction = {r.real_fraction:g} of {section}.batch_size = {batch.batch_size} is less than one row: "
            f"it must be 0 or at least 1/{batch.batch_size}",
            "rollout.real_fraction",
            f"{section}.batch_size",
        )
    size = config.dataset.size
    held_out = min(int(size * d.holdout_fraction), d.holdout_max)
    if size and (held_out == 0 or size - held_out < d.batch_size):  # as engine.dynamics.training splits them
        raise ConfigError(
            f"dataset.size = {size} is too few: dynamics.holdout_fraction = {d.holdout_fraction:g} leaves {size - held_out} "
            f"to train the ensemble on and {held_out} held out, and it needs at least dynamics.batch_size = {d.batch_size} and 1",
            "dataset.size",
            "dynamics.batch_size",
            "dynamics.holdout_fraction",
        )


def _check_data(config: TrainConfig | DatasetConfig) -> None:
    """Task, source, size and environment go together."""
    source, size, env_id = config.dataset.source, config.dataset.size, config.environment.id
    if not source or source.removesuffix(":") in SOURCES:
        raise ConfigError(
            f"dataset.source = {source!r}: ours, d4rl:NAME, minari:ID, training:RUN_FOLDER, or a path", "dataset.source"
        )
    if 0 < size < MINIMUM_ROWS:
        raise ConfigError(
            f"dataset.size = {size}: at least {MINIMUM_ROWS} transitions, or 0: the task's own number, or all",
            "dataset.size",
        )
    if ":" in env_id:  # module:Id would import a module, and a run folder may come from anybody
        raise ConfigError(
            f"environment.id = {env_id!r}: `module:Id` stands in a file of own tasks only", "environment.id"
        )
    chosen = _task(config.task)
    if source == OURS and (env_id or config.environment.legacy_contacts != "auto"):
        raise ConfigError(
            f"{chosen.name}: data that are collected here are evaluated where they were collected, in {chosen.environment}; "
            "environment.id and environment.legacy_contacts are for data from elsewhere (`mopo evaluate --env` tries another)",
            "environment.id" if env_id else "environment.legacy_contacts",
        )
    if source == OURS and chosen.dataset != OURS:
        raise ConfigError(
            f"{chosen.name} is a task of your own: its dataset cannot be collected; name it as dataset.source",
            "dataset.source",
        )
    if config.environment.angle != Environment.angle and "angle" not in chosen.environment_options:
        raise ConfigError(
            f"environment.angle = {config.environment.angle:g}: {chosen.name} has no angle; ant-angle has",
            "environment.angle",
            "task",
        )


def _task(name: str) -> Task:
    try:
        return task(name)
    except OwnTasksError as error:  # names a file of its own: whoever asks for a task is not at fault
        raise ConfigError(str(error)) from None
    except UnknownName as error:
        raise ConfigError(str(error), "task") from None


def resolve(layers: Iterable[tuple[str, Mapping[str, Any]]]) -> Resolved:
    """A training configuration from layers in rising precedence, under which lie the defaults, the task and the preset.

    Args:
        layers: (origin, values by dotted key), such as ("--set", {"rollout.coefficient": 2}).

    Raises:
        ConfigError: with the origin of what is wrong.
    """
    layers = list(layers)
    given: dict[str, tuple[str, Value]] = {}
    for origin, values in layers:
        for key, value in values.items():
            given[key] = (origin, checked(TrainConfig, key, value, origin))

    def chosen(key: str, default: str) -> str:
        return str(given[key][1]) if key in given else default

    def blamed(error: ConfigError) -> ConfigError:
        """The error with the origin of the key that the strongest layer set; none where all are defaults."""
        rank = {origin: i for i, (origin, _) in enumerate(layers)}
        said = [key for key in error.keys if key in given]
        said.sort(key=lambda key: -rank[given[key][0]])
        return ConfigError(error.message, *said, origin=given[said[0]][0] if said else "")

    try:
        chosen_task = _task(chosen("task", TrainConfig.task))
    except ConfigError as error:
        raise blamed(error) from None
    preset, algorithm = chosen("preset", DEFAULT_PRESET), chosen("algorithm", "mopo")
    published = chosen_task.paper_rollout if preset == "paper" else None
    coefficient, length = published or chosen_task.tuned_rollout
    base: dict[str, tuple[str, Value]] = {k: ("default", v) for k, v in flat(TrainConfig()).items()}
    base["preset"] = ("default", preset)
    of_task: dict[str, Value] = {
        "task": chosen_task.name,
        "rollout.coefficient": coefficient,
        "rollout.length": length,
        "dataset.source": chosen_task.dataset,
        "dataset.size": chosen_task.default_size,
    }
    base |= {k: (f"task {chosen_task.name}", v) for k, v in of_task.items()}
    base |= {k: (f"preset {preset}", v) for k, v in PRESET_VALUES[preset].items()}
    of_algorithm = ALGORITHM_VALUES.get(algorithm, {}).get(preset, {})
    base |= {k: (f"algorithm {algorithm}, preset {preset}", v) for k, v in of_algorithm.items()}
    source = chosen("dataset.source", chosen_task.dataset)
    if source != OURS:  # a preset's size is that of a dataset to be collected
        base["dataset.size"] = (f"all of {source}", 0)
    merged = base | given
    merged["task"] = (merged["task"][0], chosen_task.name)
    if source == OURS and merged["dataset.size"][1] == 0:
        merged["dataset.size"] = (f"{merged['dataset.size'][0]}: 0, the task's own number", chosen_task.default_size)
    if merged["sac.target_entropy"][1] == 0.0:
        merged["sac.target_entropy"] = (merged["sac.target_entropy"][0], -float(chosen_task.action_dim))
    config = _build(TrainConfig, {k: v for k, (_, v) in merged.items()})
    try:
        _check_whole(config)
    except ConfigError as error:
        raise blamed(error) from None
    return Resolved(config, {k: origin for k, (origin, _) in merged.items()})


def parse_setting(text: str) -> tuple[str, Any]:
    """ "rollout.coefficient=2" as a key and a TOML value; a bare word counts as a text.

    Raises:
        ConfigError: no "=".
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r}: write it as key=value, such as rollout.coefficient=2")
    try:
        return key.strip(), tomli.loads(f"value = {value.strip()}")["value"]
    except tomli.TOMLDecodeError:
        return key.strip(), value.strip()


# --- TOML -------------------------------------------------------------------------------------------------------------------------


def _toml_value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return repr(value)


def to_toml(config: Config) -> str:
    """The whole configuration as TOML: top-level keys first, then one table per section."""
    top, sections = [], []
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            lines = [f"{g.name} = {_toml_value(getattr(value, g.name))}" for g in dataclasses.fields(value)]
            sections.append("\n".join([f"[{f.name}]", *lines]))
        else:
            top.append(f"{f.name} = {_toml_value(value)}")
    return "\n\n".join(["\n".join(top), *sections]) + "\n"


def flatten(table: Mapping[str, Any]) -> dict[str, Any]:
    """A parsed TOML table with one level of sections, by dotted key."""
    out: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            out.update({f"{key}.{k}": v for k, v in flatten(value).items()})
        else:
            out[key] = value
    return out


def from_toml(cls: type[C], text: str, origin: str) -> C:
    """A configuration written by `to_toml`, or by a person; keys left out have their defaults.

    Raises:
        ConfigError: no TOML, or as `make`.
    """
    try:
        table = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}", origin=origin) from None
    values = flatten(table)
    try:
        return make(cls, values, origin)
    except ConfigError as error:
        said = [key for key in error.keys if key in values]
        raise ConfigError(error.message, *said, origin=origin).in_file(text) if said else error from None


CONFIG_CLASSES: dict[str, type[Config]] = {
    "train": TrainConfig,
    "dataset": DatasetConfig,
    "behaviour": BehaviourConfig,
}
