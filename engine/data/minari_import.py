"""Anybody's Minari datasets on this machine, read without running any of their code.

A dataset names its environment by a Gymnasium spec that can name code to import. Of it, the id and the plain keywords are taken.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from packaging.requirements import InvalidRequirement, Requirement

from engine.data.contacts import WITH_MARGINS, contacts_of
from engine.data.dataset import DatasetError, TransitionDataset, in_memory
from engine.data.minari_io import OUR_KEY, location, main_file, read_metadata, read_rows
from engine.data_source import MINARI_ID

Poll = Callable[[], object]
Progress = Callable[[int, int], object]

# --- what is on this machine ------------------------------------------------------------------------------------------------------

DEEPEST = 8  # folders between minari's root and a dataset; a link that leads in a circle ends there


def is_local(dataset_id: str) -> bool:
    """Whether minari's folder has a dataset of that id."""
    return bool(MINARI_ID.fullmatch(dataset_id)) and main_file(dataset_id).parent.is_dir()


def local_ids(namespace: str = "", depth: int = 0) -> Iterator[str]:
    """The ids of the datasets in minari's folder."""
    try:
        names = [entry.name for entry in os.scandir(location(namespace)) if entry.is_dir()]
    except OSError:
        return
    if "data" in names and namespace:
        if MINARI_ID.fullmatch(namespace):
            yield namespace
    elif depth < DEEPEST:
        for name in names:
            if not name.startswith("."):
                yield from local_ids(f"{namespace}/{name}" if namespace else name, depth + 1)


def _count(metadata: Mapping[str, Any], key: str) -> int | None:
    value = metadata.get(key)
    return value if type(value) is int and value >= 0 else None


def nearest_id(dataset_id: str, known: Sequence[str]) -> str:
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
            f"there is no Minari dataset {dataset_id!r} in {location('')}{nearest_id(dataset_id, list(local_ids()))}"
        )
    metadata = read_metadata(dataset_id)
    if metadata is None:
        raise DatasetError(f"the Minari dataset {folder} has no readable metadata.json; delete it and fetch it again")
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise DatasetError(
            f"the Minari dataset {dataset_id} is stored as {as_line(repr(metadata['data_format']))}; only hdf5 is read here"
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
        "algorithm": as_line(metadata.get("algorithm_name")),
        "description": as_line(metadata.get("description")) or f"The Minari dataset {dataset_id}.",
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
        seen = f"a Box of shape {tuple(shape)}" if kind == "Box" else as_line(repr(kind))
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
        notes.append(
            f"its environment {as_line(repr(env_id))} is no plain id; nothing is imported that a dataset names"
        )
        return about
    if wrappers:
        notes.append(
            f"its environment is {env_id} within {as_line(repr(wrappers))}, which a dataset cannot bring along"
        )
        return about
    options = {name: value for name, value in keywords.items() if name != "render_mode"}  # of no effect on what happens
    odd = [name for name, value in options.items() if not _plain(value)]
    if odd:
        raise DatasetError(
            f"the Minari dataset {dataset_id}: its environment {env_id} has the keywords {as_line(repr(odd))}, which are not plain "
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
    return versions | {"minari": as_line(metadata.get("minari_version"))}


def as_line(text: Any) -> str:
    """A stranger's text as one line that a terminal can show: its first paragraph, cut."""
    if not isinstance(text, str):
        return ""
    words = "".join(c if c.isprintable() else " " for c in text.strip().split("\n\n")[0]).split()
    line = " ".join(words)
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1].rstrip()}…"
