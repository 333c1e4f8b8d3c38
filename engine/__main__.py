"""One run in its own process: `python -m engine RUN_FOLDER`.

Exit codes: 0 finished, 1 training failed, 2 configuration, 3 dataset or device unavailable, 130 and 143 stopped.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import (
    CONFIG_CLASSES,
    BehaviourConfig,
    Config,
    ConfigError,
    DatasetConfig,
    TrainConfig,
    from_toml,
)
from engine.control import CheckpointError, CompileError, Diverged, Stopped, StopRequests
from engine.record import CONFIG, ENVIRONMENT, EXTENSION, RUN, Recorder, read_json

if TYPE_CHECKING:
    from engine.compute import Compute
    from engine.data.dataset import TransitionDataset
    from engine.data_source import Wanted

FINISHED, FAILED, BAD_CONFIGURATION, UNAVAILABLE = 0, 1, 2, 3


class Unavailable(Exception):
    """A dataset or device that is not there; the message is one clear line."""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        return _refuse("usage: python -m engine RUN_FOLDER")
    folder = Path(arguments[0]).resolve()
    run = read_json(folder / RUN)
    if run is None:
        return _refuse(f"{folder / RUN}: missing or torn; is this a run folder?")
    if run.get("job") not in CONFIG_CLASSES:
        return _refuse(f"{folder / RUN}: unknown job {run.get('job')!r}")
    paths = run.get("paths")
    data = paths.get("data") if isinstance(paths, dict) else None
    if not isinstance(data, str) or not os.path.isabs(data):
        return _refuse(f"{folder / RUN}: paths.data is no absolute path")
    path = folder / CONFIG
    try:
        config = from_toml(CONFIG_CLASSES[run["job"]], path.read_text(encoding="utf-8"), str(path))
    except ConfigError as error:
        return _refuse(str(error))
    except (OSError, UnicodeDecodeError) as error:
        return _refuse(f"{path}: cannot be read: {error}")
    with Recorder(folder, echo=lambda line: print(line, flush=True)) as recorder:
        return _guarded(config, Path(data), recorder)


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return BAD_CONFIGURATION


def _guarded(config: Config, data_root: Path, recorder: Recorder) -> int:
    """Run the job; every way it can end becomes an event and an exit code."""
    stop = StopRequests(recorder)  # before torch loads: a signal in that second is a stop, too
    try:
        return _run(config, data_root, recorder, stop)
    except Stopped as stopped:
        _say(recorder, "stopped", str(stopped))
        return stopped.code
    except Unavailable as error:
        _say(recorder, "failed", str(error))
        return UNAVAILABLE
    except CheckpointError as error:
        _say(recorder, "failed", str(error))
        return FAILED
    except (Diverged, CompileError) as error:
        _say(recorder, "failed", f"{error}; {_last_checkpoint(config, recorder)}")
        return FAILED
    except OSError as error:
        where = f"cannot write or read {error.filename or recorder.folder}: {error.strerror or error}"
        _say(recorder, "failed", f"{where}; {_last_checkpoint(config, recorder)}")
        return FAILED
    except Exception as error:  # a defect of ours: the log keeps the traceback, the event the line
        traceback.print_exc()
        _say(recorder, "failed", f"{type(error).__name__}: {error}; {_last_checkpoint(config, recorder)}")
        return FAILED


def _last_checkpoint(config: Config, recorder: Recorder) -> str:
    """From where a training run can go on."""
    if not isinstance(config, TrainConfig):
        return "start it again"
    from engine.checkpoint import told

    return told(recorder.folder)


def _say(recorder: Recorder, kind: str, message: str) -> None:
    """The run's last event; where the disk is full, the log alone has it."""
    try:
        recorder.event(kind, message)
    except OSError:
        print(f"[{recorder.stage}] {message}", flush=True)


def _run(config: Config, data_root: Path, recorder: Recorder, stop: StopRequests) -> int:
    from engine.data.dataset import DatasetError

    try:
        if isinstance(config, TrainConfig):
            _train(config, data_root, recorder, stop)
        elif isinstance(config, DatasetConfig):
            _build(config, data_root, recorder, stop)
        else:
            _behaviour(config, recorder, stop)
    except DatasetError as error:
        raise Unavailable(str(error)) from error
    return FINISHED


def _compute(config: TrainConfig | BehaviourConfig, recorder: Recorder) -> Compute:
    """Threads, device, GEMM route and compile mode; those of the run's first attempt where there was one."""
    import torch

    from engine.compute import Compute

    c = config.compute
    if c.device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise Unavailable(
                f"compute.device = {c.device!r}: torch {torch.__version__} sees no CUDA device here; use cpu"
            )
        known = ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    else:
        known = ["cpu"]
    if c.device not in known or (isinstance(config, BehaviourConfig) and c.device != "cpu"):
        here = "cpu" if isinstance(config, BehaviourConfig) else ", ".join(dict.fromkeys(["cpu", *known]))
        raise Unavailable(f"compute.device = {c.device!r}: this run can use {here}")
    before = (read_json(recorder.folder / ENVIRONMENT) or {}).get("compute") or {}
    compiled = before.get("compiled") if c.compile else False
    return Compute.choose(c.device, c.threads or min(os.cpu_count() or 1, 2), before.get("gemm"), compiled)


def _train(config: TrainConfig, data_root: Path, recorder: Recorder, stop: StopRequests) -> None:
    from engine.algorithms import RECIPES
    from engine.algorithms.training import Training
    from engine.data.sources import open_ready, prepare
    from engine.data_source import wanted
    from engine.plan import planned_work
    from engine.progress import Progress
    from engine.provenance import describe, describe_data
    from engine.tasks import task

    begun = time.perf_counter()
    compute = _compute(config, recorder)
    data = wanted(task(config.task), config.dataset, config.environment)
    dataset = open_ready(data, data_root)
    progress = Progress(recorder, planned_work(config, build_data=dataset is None))
    seconds = {}
    if dataset is None:
        progress.begin("data", _what(data))
        dataset = prepare(data, data_root, progress.of_data, stop, compute.threads, _waiting(data, recorder))
        seconds["data"] = time.perf_counter() - recorder.paused - begun
    _record_environment(recorder, {**describe(compute), **describe_data(dataset)})
    _record_dataset(recorder, dataset)
    epochs = max(config.policy.epochs, int((read_json(recorder.folder / EXTENSION) or {}).get("epochs") or 0))
    training = Training(
        config,
        data.task,
        dataset,
        recorder,
        progress,
        compute,
        stop,
        recorder.folder,
        data_root,
        epochs,
        seconds=seconds,
        begun=begun,
    )
    with contextlib.closing(training.evaluator):
        RECIPES[config.algorithm](training)


def _build(config: DatasetConfig, data_root: Path, recorder: Recorder, stop: StopRequests) -> None:
    from engine.data.sources import prepare
    from engine.data_source import wanted
    from engine.progress import Progress
    from engine.provenance import describe, describe_data
    from engine.tasks import task

    data = wanted(task(config.task), config.dataset, config.environment)
    progress = Progress(recorder, {"data": 1.0})
    progress.begin("data", _what(data))
    workers = config.compute.threads or min(os.cpu_count() or 1, 2)
    dataset = prepare(data, data_root, progress.of_data, stop, workers, _waiting(data, recorder))
    recorder.environment(**describe(), **describe_data(dataset))
    _record_dataset(recorder, dataset)
    progress.finish()
    recorder.result(
        dataset=dataset.id, fingerprint=dataset.fingerprint, report=dataset.report, references=dataset.references
    )


def _what(data: Wanted) -> str:
    """What the stage "data" does, for its event."""
    if data.kind == "ours":
        return f"collecting {data.settings.size} transitions of {data.task.environment} for {data.task.name}"
    return f"reading {data.source} for {data.task.name}"


def _waiting(data: Wanted, recorder: Recorder) -> Callable[[], object]:
    return lambda: recorder.event("waiting", f"{data.id} is being made by another run; this one waits for it")


def _record_environment(recorder: Recorder, now: dict[str, Any]) -> None:
    """environment.json of this attempt, with what was otherwise in earlier ones: their numbers stay theirs."""
    before = read_json(recorder.folder / ENVIRONMENT) or {}
    kinds = ("host", "versions", "git_commit")
    earlier = list(before.get("earlier") or [])
    then = {kind: before.get(kind) for kind in kinds}
    if "versions" in before and then != {kind: now[kind] for kind in kinds}:
        earlier.append(then)
        changed = ", ".join(f"{kind} {then[kind]} → {now[kind]}" for kind in kinds if then[kind] != now[kind])
        recorder.alert(f"this attempt differs from the one before: {changed}", cause=f"attempt {len(earlier)}")
    recorder.environment(**now, **({"earlier": earlier} if earlier else {}))


def _record_dataset(recorder: Recorder, dataset: TransitionDataset) -> None:
    message = f"{dataset.id}: {len(dataset)} transitions, fingerprint {dataset.fingerprint[:12]}"
    recorder.event("dataset", message, id=dataset.id, size=len(dataset), fingerprint=dataset.fingerprint)
    for note in dataset.manifest.get("notes", ()):
        recorder.event("dataset", note)
    if not dataset.manifest["reached_target"]:
        recorder.alert(f"{dataset.id}: no behaviour policy reaches the return at which this dataset is to end")


def _behaviour(config: BehaviourConfig, recorder: Recorder, stop: StopRequests) -> None:
    from engine.algorithms.behaviour import train_behaviour
    from engine.provenance import describe

    compute = _compute(config, recorder)
    recorder.environment(**describe(compute))
    train_behaviour(config, compute, recorder, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
