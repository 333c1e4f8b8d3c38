"""One run in its own process: `python -m engine RUN_FOLDER`.

Exit codes: 0 finished, 1 training failed, 2 configuration, 3 dataset or device unavailable, 130 and 143 stopped.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

from engine.config import (
    CONFIG_CLASSES,
    BehaviourConfig,
    Config,
    ConfigError,
    DatasetConfig,
    TrainConfig,
    from_toml,
)
from engine.record import CONFIG, RUN, Recorder, read_json

FINISHED, FAILED, BAD_CONFIGURATION, UNAVAILABLE = 0, 1, 2, 3


class Unavailable(Exception):
    """A dataset or device that is not there; the message is one clear line."""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m engine RUN_FOLDER", file=sys.stderr)
        return BAD_CONFIGURATION
    folder = Path(arguments[0]).resolve()
    run = read_json(folder / RUN)
    if run is None:
        print(f"{folder / RUN}: missing or torn; is this a run folder?", file=sys.stderr)
        return BAD_CONFIGURATION
    try:
        config_class = CONFIG_CLASSES[run.get("job", "")]
        path = folder / CONFIG
        config = from_toml(config_class, path.read_text(encoding="utf-8"), str(path))
    except KeyError:
        print(f"{folder / RUN}: unknown job {run.get('job')!r}", file=sys.stderr)
        return BAD_CONFIGURATION
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIGURATION
    except (OSError, UnicodeDecodeError) as error:
        print(f"{path}: cannot be read: {error}", file=sys.stderr)
        return BAD_CONFIGURATION
    with Recorder(folder, echo=lambda line: print(line, flush=True)) as recorder:
        return _guarded(config, run, recorder)


def _guarded(config: Config, run: dict[str, Any], recorder: Recorder) -> int:
    """Run the job; every way it can end becomes an event and an exit code."""
    from engine.algorithms.stages import Diverged
    from engine.control import Stopped, StopRequests
    from engine.data.dataset import DatasetError

    stop = StopRequests(recorder)
    data_root = Path(run["paths"]["data"])
    try:
        if isinstance(config, TrainConfig):
            _train(config, data_root, recorder, stop)
        elif isinstance(config, DatasetConfig):
            _build(config, data_root, recorder, stop)
        else:
            _behaviour(config, recorder, stop)
    except Stopped as stopped:
        recorder.event("stopped", str(stopped))
        return stopped.code
    except (DatasetError, Unavailable) as error:
        recorder.event("failed", str(error))
        return UNAVAILABLE
    except Diverged as error:
        recorder.event("failed", str(error))
        return FAILED
    except OSError as error:
        recorder.event("failed", f"cannot write or read {error.filename or recorder.folder}: {error.strerror}")
        return FAILED
    except Exception as error:  # a defect of ours: the log keeps the traceback, the event the line
        traceback.print_exc()
        recorder.event("failed", f"{type(error).__name__}: {error}")
        return FAILED
    return FINISHED


def _threads(requested: int) -> int:
    return requested or min(os.cpu_count() or 1, 2)


def _compute(config: TrainConfig | BehaviourConfig) -> Any:
    import torch

    from engine.compute import Compute

    c = config.compute
    if c.device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise Unavailable(
                f"compute.device = {c.device!r}: torch {torch.__version__} sees no CUDA device here; use cpu"
            )
    elif c.device != "cpu":
        raise Unavailable(f"compute.device = {c.device!r}: devices are cpu, cuda and cuda:N")
    return Compute.choose(c.device, _threads(c.threads), compiled=None if c.compile else False)


def _train(config: TrainConfig, data_root: Path, recorder: Recorder, stop: Any) -> None:
    from engine.algorithms import RECIPES
    from engine.algorithms.stages import Training
    from engine.provenance import describe
    from engine.tasks import task

    compute = _compute(config)
    chosen = task(config.task)
    dataset, progress = _open_or_build(config, data_root, recorder, stop)
    recorder.environment(**describe(compute, chosen, dataset))
    RECIPES[config.algorithm](Training(config, chosen, dataset, recorder, progress, compute, stop, recorder.folder))


def _open_or_build(config: TrainConfig | DatasetConfig, data_root: Path, recorder: Recorder, stop: Any) -> Any:
    """The collected dataset, built as the stage "data" if it is missing, and the run's progress."""
    from engine.data.collect import build_dataset, open_dataset
    from engine.progress import ENVIRONMENT_STEP, Progress, planned_work
    from engine.tasks import task

    chosen, size, seed = task(config.task), config.dataset.size, config.dataset.seed
    dataset = open_dataset(chosen, size, seed, data_root)
    if isinstance(config, TrainConfig):
        work = planned_work(config, build_data=dataset is None)
    else:
        work = {"data": size * ENVIRONMENT_STEP}
    progress = Progress(recorder, work)
    if dataset is None:
        progress.begin("data", f"collecting {size} transitions of {chosen.environment} for {chosen.name}")

        def on_progress(done: int, total: int) -> None:
            progress.update(done / total, f"{done}/{total} transitions")

        dataset = build_dataset(chosen, size, seed, data_root, on_progress, stop)
    identifier, fingerprint = dataset.manifest["id"], dataset.fingerprint
    message = f"{identifier}: {len(dataset)} transitions, fingerprint {fingerprint[:12]}"
    recorder.event("dataset", message, id=identifier, size=len(dataset), fingerprint=fingerprint)
    return dataset, progress


def _build(config: DatasetConfig, data_root: Path, recorder: Recorder, stop: Any) -> None:
    dataset, _progress = _open_or_build(config, data_root, recorder, stop)
    about = dataset.manifest
    recorder.summary(force=True, stage="data", stage_progress=1.0, progress=1.0, eta_s=0.0)
    recorder.result(
        dataset=about["id"], fingerprint=about["fingerprint"], report=about["report"], references=about["references"]
    )


def _behaviour(config: BehaviourConfig, recorder: Recorder, stop: Any) -> None:
    from engine.algorithms.behaviour import train_behaviour

    train_behaviour(config, _compute(config), recorder, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
