"""Attempts at a run: letting it wait in the queue, starting its supervisor, going on beyond a result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import record
from mopo_tui.manager import locks
from mopo_tui.manager.errors import LaunchError, StoreError
from mopo_tui.manager.queue import Queue, QueueError
from mopo_tui.manager.run import Run, number_of, read_run
from mopo_tui.manager.state import (
    NOW_REQUEST,
    PAUSE_REQUEST,
    STOP_AFTER_REQUEST,
    STOP_REQUEST,
    SUPERVISOR_LOCK,
    RunState,
    alive,
    left_by,
    log_tail,
)

LAUNCH_SECONDS = 20.0


def start(queue: Queue, run: Run, *, now: bool) -> int:
    """Start the supervisor of a run that waits, where its turn has come or `now` says so; as `Store.launch`."""
    before = left_by(run.folder)
    try:
        queue.advance(besides=run.id)  # what waits before it goes first
        if not now and not queue.may_start(run.id):
            return _place(queue, run, before)
        if now and locks.held(run.folder / SUPERVISOR_LOCK):  # one that waits for a GPU
            request(run, NOW_REQUEST)
        started = queue.launcher.start(run.folder, queued=not now or (run.folder / NOW_REQUEST).exists())
    except OSError as error:
        why = f"the supervisor could not be started: {error.strerror or error}"
        queue.fail(run.id, why)
        raise LaunchError(f"{run.id}: {why}") from None
    end = time.monotonic() + LAUNCH_SECONDS
    while left_by(run.folder) == before:
        failed = started.poll() not in (None, 0)
        if failed or time.monotonic() > end:
            last = log_tail(run.folder, 1)
            queue.fail(run.id, "the supervisor did not come up" + (f": {last[0]}" if last else ""))
            raise LaunchError(
                f"{run.id} was not started" + (f": {last[0]}" if last else f"; see {run.folder / record.CONSOLE}")
            )
        # Another run may have taken the room meanwhile, and a GPU may have to be waited for.
        if started.poll() == 0 and not now and queue.position(run.id) and not _coming(queue, run):
            return _place(queue, run, before)
        time.sleep(0.01)
    return 0


def could_start(queue: Queue, run: Run) -> bool:
    """Whether the queue's host has what the run needs, once there is room."""
    return not _device(run).startswith("cuda") or queue.launcher.has_gpus()


def why_waiting(queue: Queue, run: Run) -> str:
    """What a run in the queue waits for, in a few words."""
    if _device(run).startswith("cuda"):
        return "for a GPU with enough free memory" if queue.launcher.has_gpus() else "there is no GPU on this host"
    used, slots = queue.used(), queue.slots()
    return f"{used} of {slots} slot{'s' if slots != 1 else ''} taken"


def enqueue(queue: Queue, runs: Sequence[Run], command: Sequence[str]) -> None:
    """Let runs wait in the queue, in this order, behind all that wait.

    Args:
        command: program and arguments that follow the end of each.

    Raises:
        StoreError: one of them is running, finished, or unreadable, and so none is queued; or the queue cannot be written.
    """
    from mopo_tui.manager import on_finish
    from mopo_tui.manager.settings import read_settings

    for run in runs:
        now = read_run(run.folder)
        if not can_start(now):
            why = f": {now.problem}" if now.problem else ""
            raise StoreError(f"{run.id} is {now.state.value} and cannot be started{why}")
    for run in runs:
        settings = read_settings(run.folder)
        threads, device = settings.get("compute.threads"), str(settings.get("compute.device", "cpu"))
        # What the last attempt's supervisor still writes belongs to that attempt.
        before, end = record.read_json(run.folder / record.PROCESS), time.monotonic() + LAUNCH_SECONDS
        while before is not None and not _ended(run.folder, before) and time.monotonic() < end:
            time.sleep(0.05)
        try:
            for name in (STOP_REQUEST, PAUSE_REQUEST, NOW_REQUEST, *([STOP_AFTER_REQUEST] if before else [])):
                (run.folder / name).unlink(missing_ok=True)
            try:
                on_finish.keep(run.folder, command)
            except OSError:
                if command:  # what only makes a start from elsewhere the same as one from here can be done without
                    raise
            slots = threads if isinstance(threads, int) and threads > 0 else 1
            queue.put(run.id, slots, device, _gpu_bytes(run) if device.startswith("cuda") else 0)
        except QueueError as error:
            raise StoreError(str(error)) from None
        except OSError as error:
            raise StoreError(f"{run.id}: cannot be queued: {error.strerror}: {error.filename}") from None


def can_start(run: Run) -> bool:
    """Whether there is something left to do: a finished run has more to do once it was extended beyond its result."""
    if run.state is RunState.FINISHED and run.result is not None:
        extended = record.read_json(run.folder / record.EXTENSION)
        return extended is not None and extended.get("after") == run.result.get("t")
    return run.state in (RunState.QUEUED, RunState.STOPPED, RunState.FAILED, RunState.LOST)


def request(run: Run, name: str) -> None:
    """Leave a request in the run's folder, for its engine or its supervisor.

    Raises:
        StoreError: its folder cannot be written.
    """
    path = run.folder / name
    try:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None


def extend(run: Run, epochs: int) -> None:
    """Let a finished training run go on to `epochs` policy epochs at its next launch.

    Its result so far is kept beside the new one, as result-1.json, result-2.json, …

    Raises:
        StoreError: it is not finished, was trained for as long already, or its schedule knows its whole length.
    """
    from engine.config import ConfigError, TrainConfig, from_toml

    run = read_run(run.folder)
    extended = record.read_json(run.folder / record.EXTENSION)
    if run.job != "train" or not (run.state is RunState.FINISHED or (extended is not None and run.state.over)):
        raise StoreError(f"{run.id} is {run.state.value}: --epochs continues finished training runs")
    path = run.folder / record.CONFIG
    try:
        config = from_toml(TrainConfig, path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise StoreError(str(error)) from None
    trained = int(number_of(run.summary, "update") or 0) // config.policy.updates_per_epoch
    if config.algorithm == "mb2po":  # --epochs means policy.epochs: the iterations of its second stage
        trained -= config.mb2po.stage1_epochs
        if "stage2" not in ((record.read_json(run.folder / record.RESULT) or {}).get("policies") or {}):
            raise StoreError(
                f"{run.id} ended with stage 1, as its gate decided, so there is nothing to go on with; "
                "start a run with --set mb2po.enter=always, or a longer one with --algorithm awac"
            )
    if epochs <= trained:
        raise StoreError(f"{run.id} was trained for {trained} epochs already: --epochs must be more")
    if config.sac.actor_schedule != "constant" and config.algorithm in ("mopo", "mbpo", "sac"):
        raise StoreError(
            f"{run.id}: sac.actor_schedule = {config.sac.actor_schedule} brought the actor's step size to 0 over "
            f"{trained} epochs, so going on would learn nothing; start a run with --set policy.epochs={epochs}"
        )
    if not (run.folder / record.CHECKPOINTS / "state.safetensors").exists():
        raise StoreError(f"{run.id} has no checkpoint to go on from")
    result = record.read_json(run.folder / record.RESULT) or {}
    if extended is None or extended.get("after") != result.get("t"):
        number = 1 + sum(1 for _ in run.folder.glob("result-*.json"))
        record.write_json(run.folder / f"result-{number}.json", result)
    record.write_json(run.folder / record.EXTENSION, {"epochs": epochs, "after": result.get("t")})


def _coming(queue: Queue, run: Run) -> bool:
    """Whether a supervisor is about to start a run that waits; one that waits for a GPU is not."""
    device = next((job.device for job in queue.waiting() if job.run_id == run.id), "cpu")
    return device == "cpu" and locks.held(run.folder / SUPERVISOR_LOCK)


def _place(queue: Queue, run: Run, before: int) -> int:
    """The run's place in the queue; 0 once it has left it for a supervisor."""
    end = time.monotonic() + LAUNCH_SECONDS
    while left_by(run.folder) == before and time.monotonic() < end:
        if place := queue.position(run.id):
            return place
        time.sleep(0.01)
    return 0


def _ended(folder: Path, process: dict[str, Any]) -> bool:
    """Whether nothing more will be written of an attempt."""
    ended = record.read_json(folder / record.EXIT)
    return (ended is not None and ended.get("attempt") == process.get("attempt")) or not alive(folder, process)


def _device(run: Run) -> str:
    from mopo_tui.manager.settings import read_settings

    return str(read_settings(run.folder).get("compute.device", "cpu"))


def _gpu_bytes(run: Run) -> int:
    """What the run may need on a GPU."""
    from engine.config import ConfigError, TrainConfig, from_toml
    from engine.plan import expected_bytes

    try:
        return int(expected_bytes(from_toml(TrainConfig, (run.folder / record.CONFIG).read_text(encoding="utf-8"), "")))
    except (OSError, UnicodeDecodeError, ConfigError):
        return 0
