"""Anybody's Minari datasets: what is on this machine, reading it without running any of its code, and fetching more.

A dataset names its environment by a Gymnasium spec that can name code to import. Of it, the id and the plain keywords are taken.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import math
import os
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from packaging.requirements import InvalidRequirement, Requirement

from engine.data.contacts import WITH_MARGINS, contacts_of
from engine.data.dataset import DatasetError, TransitionDataset, in_memory
from engine.data.minari_io import ID, OUR_KEY, location, main_file, move_in, read_metadata, read_rows, temporary_root
from engine.record import bytes_of, read_json

Poll = Callable[[], object]
Progress = Callable[[int, int], object]

# --- what is on this machine ------------------------------------------------------------------------------------------------------

DEEPEST = 8  # folders between minari's root and a dataset; a link that leads in a circle ends there


@dataclass(frozen=True)
class LocalDataset:
    """A dataset in minari's folder.

    Attributes:
        bytes: what its files take on the disk.
        episodes, steps: as its metadata say; None where they cannot be read.
        ours: this program wrote it.
    """

    id: str
    bytes: int
    episodes: int | None
    steps: int | None
    ours: bool


def available() -> list[LocalDataset]:
    """Every dataset in minari's folder, by id; of the files' content, only the metadata are read."""
    found = []
    for dataset_id in sorted(_local_ids()):
        metadata = read_metadata(dataset_id) or {}
        counts = (_count(metadata, "total_episodes"), _count(metadata, "total_steps"))
        found.append(LocalDataset(dataset_id, bytes_of(location(dataset_id)), *counts, OUR_KEY in metadata))
    return found


def is_local(dataset_id: str) -> bool:
    """Whether minari's folder has a dataset of that id."""
    return bool(ID.fullmatch(dataset_id)) and main_file(dataset_id).parent.is_dir()


def _local_ids(namespace: str = "", depth: int = 0) -> Iterator[str]:
    try:
        names = [entry.name for entry in os.scandir(location(namespace)) if entry.is_dir()]
    except OSError:
        return
    if "data" in names and namespace:
        if ID.fullmatch(namespace):
            yield namespace
    elif depth < DEEPEST:
        for name in names:
            if not name.startswith("."):
                yield from _local_ids(f"{namespace}/{name}" if namespace else name, depth + 1)


def _count(metadata: Mapping[str, Any], key: str) -> int | None:
    value = metadata.get(key)
    return value if type(value) is int and value >= 0 else None


def _nearest(dataset_id: str, known: Sequence[str]) -> str:
    """The known ids like `dataset_id`, or some, as the end of a sentence."""
    near = difflib.get_close_matches(dataset_id, known, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are: {', '.join(sorted(known)[:5])}" if known else ""


# --- reading ----------------------------------------------------------------------------------------------------------------------

ENVIRONMENT_ID = re.compile(r"([-\w]+/)?[-.\w]+", re.ASCII)
LONGEST_LINE = 300
OBSERVING_WRAPPERS = ("RecordEpisodeStatistics", "RecordVideo", "Monitor", "OrderEnforcing", "PassiveEnvChecker")
_OLD_MUJOCO = [f"{major}.{minor}.{patch}" for major in (2, 3) for minor in range(5) for patch in range(10)]


def read(dataset_id: str, poll: Poll = lambda: None) -> TransitionDataset:
    """The transitions of the local dataset `dataset_id`, in memory.

    s' is the following observation, d the terminations; episodes that were cut are kept. An episode that goes on after a
    termination is divided there. The manifest's environment is empty where the dataset names none, or none that can be had
    without running its code.

    Args:
        poll: called often; may raise to stop.

    Raises:
        DatasetError: there is none of that id; it is damaged, not finite, not of flat Box observations and actions; or its
            environment has keywords that are not plain numbers.
    """
    folder = location(dataset_id)
    if not is_local(dataset_id):
        raise DatasetError(
            f"there is no Minari dataset {dataset_id!r} in {location('')}{_nearest(dataset_id, list(_local_ids()))}"
        )
    metadata = read_metadata(dataset_id)
    if metadata is None:
        raise DatasetError(f"the Minari dataset {folder} has no readable metadata.json; delete it and fetch it again")
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise DatasetError(
            f"the Minari dataset {dataset_id} is stored as {_line(repr(metadata['data_format']))}; only hdf5 is read here"
        )
    spaces = [_flat_box(dataset_id, metadata, name) for name in ("observation_space", "action_space")]
    episodes, steps = _count(metadata, "total_episodes"), _count(metadata, "total_steps")
    if not episodes or not steps:
        raise DatasetError(f"the Minari dataset {dataset_id} holds no steps")
    notes: list[str] = []
    environment = _environment(dataset_id, metadata, notes)
    rows, ends, observation_dim, action_dim = read_rows(dataset_id, episodes, steps, poll)
    if [observation_dim, action_dim] != spaces:
        raise DatasetError(
            f"the Minari dataset {dataset_id} has {observation_dim} observations and {action_dim} actions in its file, "
            f"{spaces[0]} and {spaces[1]} in its metadata"
        )
    reason = _made_with_old_contacts(environment, metadata, rows, observation_dim, action_dim)
    if reason:
        environment["environment_options"]["legacy_contacts"] = True
        notes.append(f"evaluated with the contacts of MuJoCo up to 3.4: {reason}")
    if len(ends) < episodes:
        notes.append(f"{episodes - len(ends):,} episodes without steps left out")
    ends, divided = _divided(rows, ends)
    if divided:
        notes.append(f"{divided:,} episodes go on after a termination; they are divided there")
    limit = np.abs(rows[:, observation_dim : observation_dim + action_dim]).max()
    if limit > 1.001:
        notes.append(f"actions reach {limit:.3g}; the policies learnt here act within 1")
    manifest = {
        **environment,
        "origin": "minari",
        "algorithm": _line(metadata.get("algorithm_name")),
        "description": _line(metadata.get("description")) or f"The Minari dataset {dataset_id}.",
        "versions": _versions(metadata),
        "terminal_next_observations": _of_ours(metadata).get("terminal_next_observations") is not False,
        "notes": notes,
    }
    return in_memory(rows, ends, observation_dim, action_dim, manifest)


def _flat_box(dataset_id: str, metadata: Mapping[str, Any], name: str) -> int:
    """The length of a one-dimensional Box."""
    try:
        space = json.loads(metadata[name])
        kind, shape = str(space["type"]), [int(n) for n in space.get("shape", ())]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        raise DatasetError(f"the Minari dataset {dataset_id} tells no {name} in its metadata") from None
    if kind != "Box" or len(shape) != 1:
        seen = f"a Box of shape {tuple(shape)}" if kind == "Box" else _line(repr(kind))
        raise DatasetError(
            f"the Minari dataset {dataset_id}: its {name} is {seen}; a flat Box is needed, that is, plain numbers"
        )
    return shape[0]


def _divided(rows: NDArray[np.float32], ends: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Episode ends with the terminations inside of episodes among them, and how many episodes have such."""
    terminal = np.flatnonzero(rows[:, -1]) + 1
    inside = np.setdiff1d(terminal, ends)
    return np.union1d(ends, inside), len(np.unique(np.searchsorted(ends, inside)))


def _environment(dataset_id: str, metadata: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """The manifest's environment, environment_options and max_episode_steps; what is not taken is told in `notes`.

    Raises:
        DatasetError: keywords other than plain numbers, without which the environment would be another.
    """
    collected = _spec(dataset_id, metadata, "env_spec")
    evaluated = _spec(dataset_id, metadata, "eval_env_spec") or collected
    limit = collected.get("max_episode_steps")
    about: dict[str, Any] = {
        "environment": "",
        "environment_options": {},
        "max_episode_steps": limit if type(limit) is int else None,
    }
    env_id, keywords = evaluated.get("id"), evaluated.get("kwargs") or {}
    stated = evaluated.get("additional_wrappers")
    names = [w.get("name") if isinstance(w, dict) else w for w in (stated if isinstance(stated, list) else [])]
    wrappers = [name for name in names if name not in OBSERVING_WRAPPERS]
    if not isinstance(env_id, str):
        notes.append("the dataset names no environment")
        return about
    if not ENVIRONMENT_ID.fullmatch(env_id):
        notes.append(f"its environment {_line(repr(env_id))} is no plain id; nothing is imported that a dataset names")
        return about
    if wrappers:
        notes.append(f"its environment is {env_id} within {_line(repr(wrappers))}, which a dataset cannot bring along")
        return about
    options = {name: value for name, value in keywords.items() if name != "render_mode"}  # of no effect on what happens
    odd = [name for name, value in options.items() if not _plain(value)]
    if odd:
        raise DatasetError(
            f"the Minari dataset {dataset_id}: its environment {env_id} has the keywords {_line(repr(odd))}, which are not plain "
            "numbers and are not taken from a dataset"
        )
    return about | {"environment": env_id, "environment_options": options}


def _spec(dataset_id: str, metadata: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A Gymnasium spec as JSON holds it; empty where there is none."""
    text = metadata.get(key)
    if text is None:
        return {}
    try:
        spec = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        spec = None
    if not isinstance(spec, dict) or not isinstance(spec.get("kwargs") or {}, dict):
        raise DatasetError(f"the Minari dataset {dataset_id}: its metadata's {key} cannot be read")
    return spec


def _plain(value: Any) -> bool:
    return type(value) in (bool, int) or (type(value) is float and math.isfinite(value))


def _made_with_old_contacts(
    environment: Mapping[str, Any],
    metadata: Mapping[str, Any],
    rows: NDArray[np.float32],
    observation_dim: int,
    action_dim: int,
) -> str:
    """What speaks for MuJoCo 3.4 or older: our own metadata, else the rows, else what the dataset requires; empty: nothing does."""
    env_id, options = environment["environment"], environment["environment_options"]
    if OUR_KEY in metadata:
        ours = _of_ours(metadata).get("environment_options")
        return "its manifest says so" if isinstance(ours, dict) and ours.get("legacy_contacts") is True else ""
    made_with = contacts_of(env_id, options, rows, observation_dim, action_dim)
    if made_with is not None:
        return "its steps are theirs" if made_with == "old" else ""
    for requirement in _requirements(metadata) if WITH_MARGINS.fullmatch(env_id) else ():
        if requirement.name == "mujoco" and requirement.specifier:
            old = any(version in requirement.specifier for version in _OLD_MUJOCO)
            return f"it requires {requirement}" if old else ""
    return ""


def _of_ours(metadata: Mapping[str, Any]) -> dict[str, Any]:
    manifest = metadata.get(OUR_KEY)
    return manifest if isinstance(manifest, dict) else {}


def _requirements(metadata: Mapping[str, Any]) -> list[Requirement]:
    stated = metadata.get("requirements")
    found = []
    for text in stated if isinstance(stated, list) else []:
        try:
            found.append(Requirement(text))
        except (InvalidRequirement, TypeError):
            continue
    return found


def _versions(metadata: Mapping[str, Any]) -> dict[str, str]:
    """What the dataset says it was made with: "3.2.3" where that is exact, else a range such as ">=1.0"."""
    versions = {r.name: str(r.specifier).removeprefix("==") for r in _requirements(metadata)}
    return versions | {"minari": _line(metadata.get("minari_version"))}


def _line(text: Any) -> str:
    """A stranger's text as one line that a terminal can show: its first paragraph, cut."""
    if not isinstance(text, str):
        return ""
    words = "".join(c if c.isprintable() else " " for c in text.strip().split("\n\n")[0]).split()
    line = " ".join(words)
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1].rstrip()}…"


# --- fetching ---------------------------------------------------------------------------------------------------------------------

DEFAULT_ENDPOINT = "https://huggingface.co"
PROBE_SECONDS = 3.0
POLL_SECONDS = 0.1
_FOUND, _ERROR, _LOG, _CACHE = "found.json", "error", "log", ".cache"


def fetch(dataset_id: str, progress: Progress, poll: Poll, timeout: float = 60.0) -> Path:
    """Download the dataset `dataset_id` from Minari's server into minari's folder, unless it is there.

    minari does it in a process of its own, into a temporary folder; the dataset appears by one rename. Nothing stays behind of a
    download that fails or is stopped.

    Args:
        progress: gets (bytes so far, bytes in all as far as known), ten times a second at most.
        poll: called as often; may raise to stop.
        timeout: seconds without a new byte after which it is given up.

    Returns:
        The dataset's folder.

    Raises:
        DatasetError: no dataset of that id, the server cannot be reached or does not answer, or the disk is full.
    """
    folder = location(dataset_id)
    if not ID.fullmatch(dataset_id):
        raise DatasetError(
            f"{dataset_id!r} is no id of a Minari dataset, which is (namespace/)name-v0 with its version"
            f"{_nearest(dataset_id, list(_local_ids()))}"
        )
    if is_local(dataset_id):
        return folder
    if importlib.util.find_spec("huggingface_hub") is None:
        raise DatasetError("downloading from Minari's server needs huggingface_hub: pip install huggingface_hub")
    instead = f"copy the dataset's folder to {folder}, or take another source (ours, d4rl:NAME)"
    unreachable = _unreachable(poll)
    if unreachable:
        raise DatasetError(f"{dataset_id} is not on this machine and cannot be fetched: {unreachable}; {instead}")
    try:
        with temporary_root() as root:
            _run_download(dataset_id, root, progress, poll, timeout, instead)
            made = root / dataset_id
            shutil.rmtree(made / _CACHE, ignore_errors=True)
            if not (made / "data" / "main_data.hdf5").is_file() or read_json(made / "data" / "metadata.json") is None:
                raise DatasetError(f"what came of {dataset_id} is no whole Minari dataset in HDF5; {instead}")
            if not is_local(dataset_id):  # another process may have fetched it meanwhile
                move_in(root, dataset_id)
    except OSError as error:
        raise DatasetError(f"cannot fetch {dataset_id} into {folder}: {error.strerror or error}") from None
    return folder


def _unreachable(poll: Poll) -> str | None:
    """Why the server cannot be reached, found out within seconds; None where it can, or where only trying can tell."""
    if not os.environ.get("MINARI_REMOTE", "hf://").startswith("hf://"):
        return None
    endpoint = os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    host, port = _address(endpoint)
    if not host:
        return f"HF_ENDPOINT is {endpoint!r}, no http or https address"
    who, proxies = host, urllib.request.getproxies()
    proxy = proxies.get(urlsplit(endpoint).scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(host):
        host, port = _address(proxy if "://" in proxy else f"http://{proxy}")
        who = f"the proxy {host}"
        if not host:
            return None
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def connect() -> None:
        try:
            socket.create_connection((host, port), PROBE_SECONDS).close()
            answers.put(None)
        except OSError as error:
            answers.put(f"{who} cannot be reached ({error.strerror or error})")

    # In a thread of its own, since resolving a name has no time-out.
    threading.Thread(target=connect, daemon=True).start()
    deadline = time.monotonic() + PROBE_SECONDS
    while time.monotonic() < deadline:
        poll()
        try:
            return answers.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
    return f"{who} does not answer within {PROBE_SECONDS:g} s"


def _address(url: str) -> tuple[str, int]:
    """Host and port of a URL; no host where it is none."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}[
            parts.scheme
        ]
    except (ValueError, KeyError):
        return "", 0


def _run_download(dataset_id: str, root: Path, progress: Progress, poll: Poll, timeout: float, instead: str) -> None:
    """Have a process download into `root`; it is gone at the end, however it comes.

    Raises:
        DatasetError: it did not succeed, or got no new byte for `timeout` seconds.
    """
    environment = os.environ | {
        "MINARI_DATASETS_PATH": str(root),
        "HF_HUB_CACHE": str(root / _CACHE),
        "HF_XET_CACHE": str(root / _CACHE / "xet"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-P", "-m", "engine.data.minari_import", dataset_id, str(root)]
    with open(root / _LOG, "w") as log:
        # The pipe tells it that this process has ended, even by SIGKILL.
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
    try:
        had, since = 0, time.monotonic()
        while child.poll() is None:
            poll()
            have = bytes_of(root)
            if have != had:
                had, since = have, time.monotonic()
                _tell(dataset_id, root, progress)
            elif time.monotonic() - since > timeout:
                raise DatasetError(f"{dataset_id}: the server sent nothing for {timeout:g} s; try again, or {instead}")
            time.sleep(POLL_SECONDS)
    finally:
        child.kill()
        child.wait()
        if child.stdin:
            child.stdin.close()
    poll()  # what ended it may have been a signal to the whole process group, and then this is a stop
    announced = _announced(root)
    if (root / _FOUND).exists() and dataset_id not in announced:
        near = _nearest(dataset_id, sorted({*announced, *_local_ids()}))
        raise DatasetError(f"Minari's server has no dataset {dataset_id}{near}")
    if child.returncode:
        said = _last_line(root / _ERROR) or _last_line(root / _LOG) or f"exit code {child.returncode}"
        raise DatasetError(f"{dataset_id} cannot be fetched ({said}); {instead}")
    _tell(dataset_id, root, progress)


def _tell(dataset_id: str, root: Path, progress: Progress) -> None:
    """Call `progress` once it is known how much there is, and raise DatasetError where that is more than the disk holds."""
    announced = _announced(root)
    if dataset_id not in announced:
        return
    have = bytes_of(root / dataset_id.partition("/")[0])  # where the parts of files lie, too
    total = max(have, announced[dataset_id], 1)
    free = shutil.disk_usage(root).free
    if total - have > free:
        raise DatasetError(
            f"{root.parent} has {free / 1e6:.0f} MB free; {dataset_id} needs {(total - have) / 1e6:.0f} MB"
        )
    progress(have, total)


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line for line in map(_line, reversed(lines)) if line), "")


def _announced(root: Path) -> dict[str, int]:
    """The datasets that the server lists under the wanted name, with their bytes."""
    return read_json(root / _FOUND) or {}


def _download(dataset_id: str, root: Path) -> None:
    import minari

    listed = minari.list_remote_datasets(prefix=dataset_id.rpartition("-v")[0])
    megabytes = {name: metadata.get("dataset_size") for name, metadata in listed.items()}
    sizes = {name: round(1e6 * size) if type(size) in (int, float) else 0 for name, size in megabytes.items()}
    (root / f"{_FOUND}.part").write_text(json.dumps(sizes), encoding="utf-8")
    os.replace(root / f"{_FOUND}.part", root / _FOUND)
    if dataset_id in listed:
        minari.download_dataset(dataset_id)


def _main(dataset_id: str, root: Path) -> int:
    """What the downloading process does: `python -m engine.data.minari_import ID ROOT`."""

    def follow() -> None:
        os.read(0, 1)  # until the process that started this one closes the pipe or ends
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    try:
        _download(dataset_id, root)
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        (root / _ERROR).write_text(f"{type(error).__name__}: {said}", encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], Path(sys.argv[2])))
