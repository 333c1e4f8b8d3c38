"""D4RL's locomotion data (Fu et al. 2020, arXiv 2004.07219): fetching its files, and reading any HDF5 file in their form.

There are two generations. v2 has observations, actions, next_observations, rewards, terminals and timeouts. v0 has no
next_observations, may lack timeouts, and may leave an end of an episode unmarked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.d4rl_files import D4rlFile, files
from engine.data.contacts import contacts_of
from engine.data.dataset import DatasetError, TransitionDataset, in_memory, row_width
from engine.data.fetching import TIMEOUT_SECONDS, Published, fetch
from engine.data.hdf5 import Arrays, Poll, blocks

URL = "http://rail.eecs.berkeley.edu/datasets/offline_rl"
URL_VARIABLE = "MOPO_D4RL_URL"
MAX_EPISODE_STEPS = 1000

# --- fetching ---------------------------------------------------------------------------------------------------------------------


def download(
    file: D4rlFile,
    folder: Path,
    progress: Callable[[int, int], object],
    poll: Poll,
    base_url: str | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Path:
    """The path of `file` in `folder`, fetched if it is not there: `engine.data.fetching.fetch`.

    Args:
        base_url: what stands before the file's path; otherwise $MOPO_D4RL_URL, otherwise D4RL's own server.

    Raises:
        DatasetError: the host does not answer or has another file, or the folder is full or not writable.
    """
    base = base_url or os.environ.get(URL_VARIABLE) or URL
    advice = f"name a mirror in {URL_VARIABLE}, or import a copy of {file.file}: mopo data import PATH"
    wanted = Published(f"{base.rstrip('/')}/{file.path}", file.bytes, file.sha256, advice)
    path = folder / file.file
    fetch(wanted, path, progress, poll, timeout)
    return path


# --- reading ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Family:
    """A robot's dimensions, and the states in which its episodes start: Gymnasium's reset_model.

    Attributes:
        pose: the positions around which it starts, as observed; velocities start around 0.
        spread: how far from these positions and from velocity 0 at most; normally distributed velocities (σ 0.1) are within 6 σ.
    """

    observation_dims: tuple[int, ...]
    action_dim: int
    pose: tuple[float, ...]
    spread: tuple[float, float]

    def starts(self, observations: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which (rows, obs) are states as a reset gives them, (rows,). No state met within an episode was, in 30 000 steps."""
        still = len(self.pose) + 1  # the place along the track is not observed, its velocity is
        centre = np.array([*self.pose, *(0,) * still], dtype=np.float32)
        reach = np.repeat(np.array(self.spread, dtype=np.float32), (len(self.pose), still))
        away = np.abs(observations[:, : len(centre)] - centre) > reach
        return np.asarray(~away.any(axis=1))


_FAMILIES = {
    "Hopper": _Family((11,), 3, (1.25, *(0,) * 4), (0.00501, 0.00501)),
    "HalfCheetah": _Family((17,), 6, (0,) * 8, (0.1001, 0.6)),
    "Walker2d": _Family((17,), 6, (1.25, *(0,) * 7), (0.00501, 0.00501)),
    "Ant": _Family((27, 111), 8, (0.75, 1, *(0,) * 11), (0.1001, 0.6)),
}
_ANT, _ANT_WITH_CONTACT_FORCES = _FAMILIES["Ant"].observation_dims


def read(path: Path, poll: Poll, family: str | None = None, *, environment: str | None = None) -> TransitionDataset:
    """The transitions of an HDF5 file in D4RL's form, v0 or v2, in memory.

    An episode ends at a terminal, at a timeout, after 1000 steps in a file without timeouts, and where the rows show an end that
    the file does not mark: a next observation that is not the following row's or, in a file without them, a state as a reset gives
    it. The last episode may be cut. A row that ends an episode and whose s' the file does not tell is dropped; a terminal one is
    kept with s' = s, and the manifest's terminal_next_observations is then False. The manifest's notes say what was done.

    D4RL's data were made with MuJoCo 2: policies are evaluated in the v4 environment with the contacts of that time, unless it is
    no published file and its steps were simulated with newer ones. The manifest's
    max_episode_steps is how long an episode is here that ran to the time limit: 1000, or less where its last row had no s'.

    Args:
        poll: called at every block of rows; may raise to stop.
        family: Hopper, HalfCheetah, Walker2d or Ant; told from the data where it is None.
        environment: the Gymnasium id of data of any other environment.

    Raises:
        DatasetError: no such file, damaged, not of this form, values that are not finite, or of an unknown environment.
    """
    import h5py

    if not path.is_file():
        raise DatasetError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        path.open("rb").close()  # of a file that may not be read h5py says that it is no HDF5 file
        if not h5py.is_hdf5(path):
            raise DatasetError(f"{path}: not an HDF5 file, which D4RL's form is")
        with h5py.File(path, "r") as file:
            return _read(Arrays(file, path, poll), family, environment)
    except DatasetError:
        raise
    except PermissionError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except MemoryError:
        raise DatasetError(f"{path}: larger than this machine's memory") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read: damaged or cut short? ({' '.join(str(error).split())})") from None


def _read(arrays: Arrays, family: str | None, environment: str | None) -> TransitionDataset:
    observations, actions = arrays.needed("observations"), arrays.needed("actions")
    rewards, terminals = arrays.needed("rewards"), arrays.needed("terminals")
    next_observations, timeouts = arrays.find("next_observations"), arrays.find("timeouts")
    size, obs = arrays.matrix("observations", observations)
    _, act = arrays.matrix("actions", actions, size)
    arrays.column("rewards", rewards, size)
    arrays.column("terminals", terminals, size)
    if next_observations is not None:
        arrays.matrix("next_observations", next_observations, size, obs)
    if timeouts is not None:
        arrays.column("timeouts", timeouts, size)
    if size == 0:
        raise arrays.error("no rows")
    fitting = [] if environment else _fitting_families(arrays, obs, act, family)
    if fitting == ["Ant"] and obs == _ANT_WITH_CONTACT_FORCES and _without_contact_forces(arrays, observations):
        obs = _ANT

    width = row_width(obs, act)
    if 4 * size * width > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise MemoryError
    rows = np.empty((size, width), dtype=np.float32)
    s, s_next = rows[:, :obs], rows[:, obs + act + 1 : -1]
    arrays.copy("observations", observations, s)
    arrays.copy("actions", actions, rows[:, obs : obs + act])
    arrays.copy("rewards", rewards, rows[:, obs + act : obs + act + 1])
    terminal = arrays.flags("terminals", terminals, rows[:, -1:])
    timeout = None
    if timeouts is not None:
        timeout = arrays.flags("timeouts", timeouts, np.empty((size, 1), dtype=np.float32))
    if next_observations is not None:
        arrays.copy("next_observations", next_observations, s_next)
    told_family = None if environment else _told_family(arrays, fitting, family, s, terminal)
    start = _FAMILIES[told_family].starts if told_family else None
    told = s_next if next_observations is not None else None
    ends, untold = _episodes(arrays, s, told, terminal, timeout, start)
    if told is None:
        for block in blocks(size - 1, arrays.poll):
            s_next[block] = s[block.start + 1 : block.stop + 1]
    held = untold & terminal
    if held.any():
        s_next[held] = s[held]
        arrays.notes.append(f"{_count(held)} terminal rows whose s' is not told: s' = s, for a critic only")
    rows, episode_ends = _kept(arrays, rows, ends, untold & ~terminal)

    name, fault = _known(arrays.path)
    notes = [*arrays.notes, f"{name}: {fault}"] if fault else arrays.notes
    env_id = environment or f"{told_family}-v4"
    options = {} if environment else _environment_options(obs)
    if name is None and contacts_of(env_id, options, rows, obs, act) == "new":
        options["legacy_contacts"] = False
        notes.append("evaluated with the contacts of MuJoCo 3.5 and newer: its steps are theirs")
    manifest = {
        "environment": env_id,
        "environment_options": options,
        "max_episode_steps": None if environment else _time_limit(rows, episode_ends),
        "origin": "d4rl",
        "description": (
            f"D4RL's {name} (Fu et al. 2020, CC BY 4.0)." if name else f"The file {arrays.path.name}, in D4RL's form."
        ),
        "versions": {},
        "terminal_next_observations": not held.any(),
        "notes": notes,
    }
    return in_memory(rows, episode_ends, obs, act, manifest)


def _count(which: NDArray[np.bool_]) -> str:
    return f"{np.count_nonzero(which):,}"


def _known(path: Path) -> tuple[str | None, str | None]:
    """Name and fault of the published file that this is, by file name and length."""
    file = next((f for f in files().values() if f.file == path.name and f.bytes == path.stat().st_size), None)
    return (None, None) if file is None else (file.name, file.fault)


def _fitting_families(arrays: Arrays, obs: int, act: int, given: str | None) -> list[str]:
    """The families of these dimensions, among which the given one."""
    if given is not None and given not in _FAMILIES:
        raise arrays.error(f"unknown family {given!r}; there are {', '.join(_FAMILIES)}")
    fitting = [name for name, f in _FAMILIES.items() if obs in f.observation_dims and act == f.action_dim]
    if not fitting:
        raise arrays.error(f"{obs} observations and {act} actions are those of none of {', '.join(_FAMILIES)}")
    if given is not None and given not in fitting:
        raise arrays.error(f"{obs} observations and {act} actions are those of {' or '.join(fitting)}, not of {given}")
    return fitting


def _told_family(
    arrays: Arrays, fitting: list[str], given: str | None, s: NDArray[np.float32], terminal: NDArray[np.bool_]
) -> str:
    """The one family that fits; HalfCheetah (height around 0, never terminal) and Walker2d (0.8 to 2) by what they do."""
    if len(fitting) == 1:
        return fitting[0]
    height = float(np.median(s[:, 0]))
    seen = "Walker2d" if 0.8 < height < 2 else "HalfCheetah" if abs(height) < 0.5 and not terminal.any() else None
    if seen is None and given is None:
        raise arrays.error(
            f"HalfCheetah or Walker2d? The median height is {height:.2f} and {_count(terminal)} rows are terminal: name the task"
        )
    if seen and given and seen != given:
        raise arrays.error(f"with a median height of {height:.2f} these are data of {seen}, not of {given}")
    return given or str(seen)


def _without_contact_forces(arrays: Arrays, observations: Any) -> bool:
    """Whether Ant's 84 contact forces are 0 throughout, as MuJoCo 2.0 left them; then the other 27 numbers say everything."""
    if any(observations[block, _ANT:].any() for block in arrays.blocks_of(observations)):
        return False
    arrays.notes.append("84 contact forces, 0 in every row, left out of the observations")
    return True


def _environment_options(obs: int) -> dict[str, Any]:
    return {"legacy_contacts": True} | ({"use_contact_forces": True} if obs == _ANT_WITH_CONTACT_FORCES else {})


def _episodes(
    arrays: Arrays,
    s: NDArray[np.float32],
    s_next: NDArray[np.float32] | None,
    terminal: NDArray[np.bool_],
    timeout: NDArray[np.bool_] | None,
    start: Callable[[NDArray[np.float32]], NDArray[np.bool_]] | None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows end an episode, and whose s' the file does not tell; both (rows,).

    Args:
        s_next: None where the file has none.
        start: tells the states in which an episode starts.
    """
    size = len(s)
    marked = terminal.copy() if timeout is None else terminal | timeout
    marked[-1] = True
    goes_on = np.zeros(size, dtype=bool)  # whether s' is the following row's s
    unmarked = np.zeros(size, dtype=bool)
    sign = "the following row's s is that of a reset" if s_next is None else "s' is not the following row's s"
    if s_next is not None:
        for block in blocks(size - 1, arrays.poll):
            goes_on[block] = (s_next[block] == s[block.start + 1 : block.stop + 1]).all(axis=1)
        unmarked = ~goes_on & ~marked
    elif start is not None:
        starts = np.empty(size, dtype=bool)
        for block in blocks(size, arrays.poll):
            starts[block] = start(s[block])
        unmarked[:-1] = ~marked[:-1] & starts[1:] & ~starts[:-1]
    ends = marked | unmarked
    if unmarked.any():
        arrays.notes.append(f"{_count(unmarked)} ends of episodes that the file does not mark: {sign}")
    if timeout is None:
        arrays.notes.append(f"no timeouts in the file: an episode ends after {MAX_EPISODE_STEPS} steps at the latest")
        rows = np.arange(size)
        first = np.maximum.accumulate(np.where(np.concatenate([[True], ends[:-1]]), rows, 0))
        ends |= (rows - first + 1) % MAX_EPISODE_STEPS == 0
    # In files made by shifting s by a row, s' at the end of an episode is the first state of the next one.
    return ends, ends if s_next is None else marked & goes_on


def _kept(
    arrays: Arrays, rows: NDArray[np.float32], ends: NDArray[np.bool_], dropped: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The rows that stay, in place, and their episode ends."""
    kept = ~dropped
    if dropped.any():
        arrays.notes.append(f"{_count(dropped)} rows at the end of an episode dropped: their s' is not told")
        at = 0
        for block in blocks(len(rows), arrays.poll):
            piece = rows[block][kept[block]]
            rows[at : at + len(piece)] = piece
            at += len(piece)
        rows = rows[:at]
    if not len(rows):
        raise arrays.error("no row is left whose s' is told")
    ends_at = np.unique(np.cumsum(kept, dtype=np.int64)[ends])
    return rows, ends_at[ends_at > 0]


def _time_limit(rows: NDArray[np.float32], episode_ends: NDArray[np.int64]) -> int:
    """Rows of an episode that ran to the time limit: 1000, less its last where that has no s'.

    D4RL's v0 files of HalfCheetah have 999 rows an episode (their million make 1002 episodes), of which 998 have s'.
    """
    lengths = np.diff(episode_ends, prepend=0)[rows[episode_ends - 1, -1] == 0]
    longest = int(lengths.max(initial=0))
    return longest if MAX_EPISODE_STEPS - 2 <= longest < MAX_EPISODE_STEPS else MAX_EPISODE_STEPS
