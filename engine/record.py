"""The run folder, format 1: writing it and reading it back (standard library only).

One writer per file; a reader may come at any time. Rows are appended with one write() of one whole line, small files are replaced
atomically, and nothing in a run folder can run code: it holds TOML, JSON and safetensors. A torn last line means "not yet".
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1

RUN, ENVIRONMENT, CONFIG, META = "run.json", "environment.json", "config.toml", "meta.json"
SUMMARY, RESULT, PROCESS, EXIT = "summary.json", "result.json", "process.json", "exit.json"
METRICS, HISTOGRAMS, EVENTS = "metrics.jsonl", "histograms.jsonl", "events.jsonl"
EXTENSION = "extension.json"  # how long a run goes on beyond its configuration
ATTEMPTS, CONSOLE, HEARTBEAT = "attempts.jsonl", "console.log", "heartbeat"
CONTROL, CHECKPOINTS = "control", "checkpoints"

HEARTBEAT_SECONDS = 5.0
SUMMARY_SECONDS = 2.0

# Edges of every uncertainty histogram: 20 bins a decade from 1e-4 to 1e4, the same in all runs, so that counts add.
HISTOGRAM_DECADES = (-4, 4)
BINS_PER_DECADE = 20
HISTOGRAM_BINS = (HISTOGRAM_DECADES[1] - HISTOGRAM_DECADES[0]) * BINS_PER_DECADE


def histogram_edges() -> list[float]:
    """The 161 edges; `counts` has 162 entries: underflow, the 160 bins, overflow."""
    low = HISTOGRAM_DECADES[0]
    return [10.0 ** (low + i / BINS_PER_DECADE) for i in range(HISTOGRAM_BINS + 1)]


@dataclass(frozen=True)
class Metric:
    """What a metric means. `name` may end in "/*" for one series per member; direction is +1 where higher is better, −1, or 0."""

    name: str
    unit: str
    direction: int
    panel: str
    about: str


METRIC_TABLE: tuple[Metric, ...] = (
    Metric("dynamics/val_loss/*", "MSE", -1, "dynamics", "holdout mean squared error of one member"),
    Metric("dynamics/train_loss", "", -1, "dynamics", "training loss with decays and bounds, per member"),
    Metric("uncertainty/mean", "", 0, "uncertainty", "mean u on model rollouts"),
    Metric("uncertainty/p50", "", 0, "uncertainty", "median u on model rollouts"),
    Metric("uncertainty/p95", "", 0, "uncertainty", "95th percentile of u on model rollouts"),
    Metric("uncertainty/data_p50", "", 0, "uncertainty", "median u on the dataset"),
    Metric("uncertainty/data_p95", "", 0, "uncertainty", "95th percentile of u on the dataset"),
    Metric("rollout/reward", "", 0, "optimisation", "mean model reward before the penalty"),
    Metric("rollout/penalty", "", 0, "optimisation", "mean penalty λu"),
    Metric("rollout/length", "steps", 0, "optimisation", "mean length of a model rollout"),
    Metric("rollout/terminal_fraction", "", 0, "optimisation", "share of terminal model steps"),
    Metric("rollout/dropped_fraction", "", -1, "optimisation", "share dropped by divergence guards"),
    Metric("rollout/cut_fraction", "", 0, "optimisation", "share of model steps cut where u exceeds its limit"),
    Metric("policy/q", "", 0, "optimisation", "mean Q of the batch"),
    Metric("policy/critic_loss", "", -1, "optimisation", "critics' loss"),
    Metric("policy/actor_loss", "", -1, "optimisation", "actor's loss"),
    Metric("policy/temperature", "", 0, "optimisation", "entropy temperature α"),
    Metric("policy/entropy", "nats", 0, "optimisation", "−log π of the policy's samples"),
    Metric("policy/advantage", "", 0, "optimisation", "mean advantage of the batch's actions"),
    Metric("policy/weight", "", 0, "optimisation", "mean weight exp(A/α) of the batch's actions"),
    Metric("policy/weight_clipped", "", 0, "optimisation", "share of weights at the clip"),
    Metric("policy/bellman_penalty", "", 0, "optimisation", "mean penalty off the targets, real rows counted as 0"),
    Metric("gate/enter", "", 0, "gate", "1 where stage 2 was entered"),
    Metric("gate/recommend", "", 0, "gate", "1 where stage 2's policy is recommended"),
    Metric("gate/action_spread", "", 0, "gate", "RMS of the batch's actions about stage 1's policy"),
    Metric("gate/policy_u", "", -1, "gate", "median u of stage 1's actions over the data's"),
    Metric("gate/random_u", "", -1, "gate", "median u of random actions over the data's"),
    Metric("gate/rollout_u", "", -1, "gate", "median u of stage 1's rollouts over the data's"),
    Metric("gate/u_2", "", -1, "gate", "median u of stage 2's rollouts over the data's 95th percentile"),
    Metric("gate/bound_stderr", "", 0, "gate", "standard error of the difference of the two returns"),
    Metric("gate/dropped_1", "", -1, "gate", "stage 1: share of the return's rollouts that guards dropped"),
    Metric("gate/dropped_2", "", -1, "gate", "stage 2: the same"),
    Metric("gate/bound_1", "", 1, "gate", "stage 1: discounted model return less the training's penalty"),
    Metric("gate/bound_2", "", 1, "gate", "stage 2: the same"),
    Metric("gate/fitted_q_1", "", 1, "gate", "stage 1: fitted Q evaluation on the batch"),
    Metric("gate/fitted_q_2", "", 1, "gate", "stage 2: fitted Q evaluation on the batch"),
    Metric("policy/bc_loss", "nats", -1, "optimisation", "−log π of the batch's actions"),
    Metric("eval/return", "", 1, "score", "mean undiscounted return in the real environment"),
    Metric("eval/return_std", "", 0, "score", "standard deviation of the return over episodes"),
    Metric("eval/length", "steps", 0, "score", "mean episode length"),
    Metric("eval/progress", "", 1, "score", "mean return less the survive reward"),
    Metric("eval/normalized_score", "%", 1, "score", "100·(R − min)/(max − min) on the task's scale"),
    Metric("eval/discounted_return", "", 1, "calibration", "mean discounted return in the real environment"),
    Metric("eval/model_return", "", 0, "calibration", "the model's estimate of it"),
    Metric(
        "eval/model_return_penalised",
        "",
        0,
        "calibration",
        "the same less the training's penalty: meant as a lower bound",
    ),
    Metric("calibration/lower_bound", "", 1, "calibration", "1 where the penalised estimate is below the real return"),
    Metric(
        "calibration/dropped_fraction", "", -1, "calibration", "share of the estimate's rollouts that guards dropped"
    ),
    Metric("calibration/rank_correlation", "", 1, "calibration", "Spearman's, u and the model's one-step error"),
    Metric("calibration/margin", "", 0, "calibration", "the real discounted return less the penalised estimate"),
    Metric("calibration/open_loop/*", "std", -1, "calibration", "state error after so many steps without feedback"),
    Metric("calibration/penalty_share", "", 0, "calibration", "mean penalty over mean |model reward|"),
    Metric("calibration/u_on_policy", "", 0, "calibration", "mean u on the policy's real states"),
    Metric("train/return", "", 1, "score", "mean return of online training episodes"),
    Metric("speed/updates_per_s", "1/s", 1, "speed", "policy updates per second"),
    Metric("speed/dynamics_steps_per_s", "1/s", 1, "speed", "ensemble steps per second"),
    Metric("speed/rollout_transitions_per_s", "1/s", 1, "speed", "model transitions per second"),
    Metric("speed/environment_steps_per_s", "1/s", 1, "speed", "real environment steps per second"),
)


def metric(name: str) -> Metric | None:
    """The table's entry for a metric's name, or None."""
    for entry in METRIC_TABLE:
        if entry.name == name or (entry.name.endswith("/*") and name.startswith(entry.name[:-1])):
            return entry
    return None


# --- encoding -----------------------------------------------------------------------------------------------------------------


def _encodable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {str(k): _encodable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(v) for v in value]
    return value


def number(value: Any) -> float:
    """A recorded number back as a float: NaN and ±Infinity are stored as strings, so that every JSON parser reads the file."""
    return float(value)


def dumps(value: Any, indent: int | None = None) -> str:
    """JSON with non-finite floats as strings."""
    return json.dumps(_encodable(value), allow_nan=False, ensure_ascii=False, indent=indent)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` whole: a reader sees the old file or the new one, and a full disk leaves the old one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as f:
            f.write(content.encode() if isinstance(content, str) else content)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, dumps(value, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`; None where it is missing, torn or no JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # brackets within brackets without end are no object either
        return None
    return value if isinstance(value, dict) else None


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append one line with one write(), ending a torn line left by a killed writer first."""
    data = (dumps(row) + "\n").encode()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            data = b"\n" + data
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def read_rows(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The whole rows of a .jsonl file from byte `offset` on, and the offset to read from next time.

    A torn last line is left for the next reading; a line that is no JSON object (torn by a kill, then continued) is skipped. A
    missing file has no rows.
    """
    try:
        with open(path, "rb") as f:
            f.seek(offset)
            data = f.read()
    except OSError:
        return [], offset
    end = data.rfind(b"\n") + 1
    rows = []
    for line in data[:end].splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows, offset + end


def bytes_of(path: Path) -> int:
    """What a file, or all files below a folder, hold; what vanishes meanwhile counts nothing, and links are not followed."""
    files = [path] if path.is_file() else [Path(parent, name) for parent, _, names in os.walk(path) for name in names]
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += file.lstat().st_size
    return total


# --- the engine's side ----------------------------------------------------------------------------------------------------------


class Recorder:
    """The one writer of what a run's engine process records.

    Use as a context manager: inside it a thread touches the heartbeat. `step` counts gradient steps of the whole run and only
    grows; `update` counts those of policy stages; `paused` the seconds that the run slept on request.

    Args:
        folder: the run folder, which exists.
        echo: gets each stage change and event as one line for console.log.
    """

    def __init__(self, folder: Path, echo: Callable[[str], None] = print) -> None:
        self.folder = folder
        self.step = 0
        self.update = 0
        self.stage = "start"
        self.paused = 0.0
        self._echo = echo
        self._summary: dict[str, Any] = {}
        self._summary_written = 0.0
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Recorder:
        self._touch()
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._heart.join()

    def _touch(self) -> None:
        (self.folder / HEARTBEAT).touch()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                self._touch()
            except OSError:
                continue  # a full disk passes; where the folder is gone, the next record says so loudly

    def environment(self, **values: Any) -> None:
        """Write environment.json."""
        write_json(self.folder / ENVIRONMENT, values)

    def metrics(self, values: Mapping[str, float], epoch: int = 0) -> None:
        """Append one row; policy and evaluation rows carry `update` too."""
        row = {"step": self.step, "epoch": epoch, "stage": self.stage, "t": time.time()}
        if any(name.startswith(("policy/", "eval/")) for name in values):
            row["update"] = self.update
        append_row(self.folder / METRICS, {**row, "m": dict(values)})

    def histograms(self, counts: Mapping[str, Sequence[int]], epoch: int = 0) -> None:
        """Append counts over the fixed edges, each of 162 entries, by name ("rollout", "data")."""
        row = {"step": self.step, "update": self.update, "epoch": epoch, "stage": self.stage}
        append_row(
            self.folder / HISTOGRAMS,
            {**row, "t": time.time(), "counts": {name: list(c) for name, c in counts.items()}},
        )

    def event(self, kind: str, message: str, **values: Any) -> None:
        """Append an event: a stage change, an alert with its reason, a checkpoint."""
        row = {"t": time.time(), "step": self.step, "stage": self.stage, "kind": kind, "message": message}
        append_row(self.folder / EVENTS, {**row, **values})
        self._echo(f"[{self.stage}] {message}")

    def alert(self, message: str, **values: Any) -> None:
        self.event("alert", message, **values)
        self.summary(force=True, alert=message)

    def enter(self, stage: str, message: str) -> None:
        """Begin a stage."""
        self.stage = stage
        self.event("stage", message)
        self.summary(force=True, stage=stage, stage_progress=0.0, detail="", speed=None, speed_unit="")

    def summary(self, *, force: bool = False, **values: Any) -> None:
        """Update summary.json's keys; written at most every 2 s unless forced."""
        self._summary.update(values)
        if force or self.summary_due():
            now = self._summary_written = time.time()
            row = {"format": FORMAT, "step": self.step, "update": self.update, "t": now}
            write_json(self.folder / SUMMARY, {**row, **self._summary})

    def summary_due(self) -> bool:
        """Whether `summary` would write now without being forced."""
        return time.time() - self._summary_written >= SUMMARY_SECONDS

    def stop_requested(self) -> bool:
        return (self.folder / CONTROL / "stop").exists()

    def result(self, **values: Any) -> None:
        """Write result.json, the engine's last act: it makes the run `finished`."""
        write_json(self.folder / RESULT, {"t": time.time(), "step": self.step, "update": self.update, **values})


# --- the manager's side ---------------------------------------------------------------------------------------------------------


def create_run(folder: Path, run: Mapping[str, Any], config_toml: str, meta: Mapping[str, Any] | None = None) -> None:
    """Make a run folder that is complete from the moment it is visible: run.json, config.toml, meta.json where there is something
    to say in it, then one rename.

    Raises:
        FileExistsError: the folder exists.
        OSError: it cannot be written; nothing is left of it.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists")
    temporary = folder.with_name(f".{folder.name}.new")
    try:
        (temporary / CONTROL).mkdir(parents=True)
        (temporary / CHECKPOINTS).mkdir()
        write_json(temporary / RUN, {"format": FORMAT, **run})
        write_atomically(temporary / CONFIG, config_toml)
        if meta:
            write_json(temporary / META, meta)
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
