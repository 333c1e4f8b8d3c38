"""Where files lie: the store of runs, the data, a person's configuration. No other module knows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.tasks import OWN_TASKS_VARIABLE

APP = "mopo-tui"
RUNS_VARIABLE, DATA_VARIABLE = "MOPO_RUNS", "MOPO_DATA"
MIRROR_VARIABLE = "MOPO_D4RL_URL"  # read by the engine, which inherits it
PROJECT_FILE = "mopo.toml"
KEYS = "keys"  # the table of a configuration file that says which key asks for which action of the app
STORE_README = "README.md"
STORE_TITLE = "# mopo-tui run store"
REFERENCE, QUEUE = "reference", "queue"


class LocationError(ValueError):
    """A configured place that cannot be used; one clear line."""


def user_config() -> Path:
    """A person's own configuration file; it need not exist."""
    import platformdirs

    return Path(platformdirs.user_config_dir(APP)) / "config.toml"


def user_data() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir(APP))


def user_cache() -> Path:
    """What may be deleted at any time; it need not exist."""
    import platformdirs

    return Path(platformdirs.user_cache_dir(APP))


def reference_runs() -> Path:
    """The finished runs that ship with the project: runs/reference in a clone, where a link leads to it; it need not exist."""
    return (Path(__file__).parents[1] / "reference_runs").resolve()


def user_state() -> Path:
    """What the app remembers of its last use; it need not exist."""
    import platformdirs

    return Path(platformdirs.user_state_dir(APP))


def use_own_tasks() -> None:
    """Make the person's file of tasks count here and in the processes started from here: MOPO_TASKS, or tasks.toml beside their
    configuration. It need not exist."""
    if not os.environ.get(OWN_TASKS_VARIABLE):
        os.environ[OWN_TASKS_VARIABLE] = str(user_config().with_name("tasks.toml"))


def configuration_files() -> list[Path]:
    """The configuration files that exist and count without being named, the stronger one first."""
    return [path for path in (Path.cwd() / PROJECT_FILE, user_config()) if path.is_file()]


def read_toml(path: Path) -> dict[str, Any]:
    """A parsed TOML file.

    Raises:
        LocationError: unreadable, or no TOML.
    """
    import tomli

    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else f"not TOML: {error}"
        raise LocationError(f"{path}: {what}") from None


def data_root() -> Path:
    """The folder under which datasets/ lies: MOPO_DATA, then `paths.data` of the configuration, then the user's data folder."""
    root = _chosen(DATA_VARIABLE, "data") or user_data()
    if root.exists() and not root.is_dir():
        raise LocationError(f"{root}: the data root ({DATA_VARIABLE}, or paths.data of the configuration) is no folder")
    return root


def store_root(given: Path | None = None) -> Path:
    """The store of runs: `given`, then MOPO_RUNS, then `paths.runs` of the configuration, then ./runs if it is a store, then the
    user's data folder. Absolute; it need not exist."""
    if given is not None:
        return Path(os.path.abspath(given.expanduser()))
    if chosen := _chosen(RUNS_VARIABLE, "runs"):
        return chosen
    local = Path.cwd() / "runs"
    return local if is_store(local) else user_data() / "runs"


def is_store(folder: Path) -> bool:
    """True for a folder that says so in its README, or that holds a run: other programs call their folder "runs" too."""
    try:
        with open(folder / STORE_README, encoding="utf-8", errors="replace") as f:
            if f.readline().strip() == STORE_TITLE:
                return True
    except OSError:
        pass
    try:
        return any((child / "run.json").is_file() for child in folder.iterdir())
    except OSError:
        return False


def _chosen(variable: str, key: str) -> Path | None:
    """The path of an environment variable, or of `paths.<key>` in the first configuration file that has it."""
    if value := os.environ.get(variable):
        return Path(os.path.abspath(Path(value).expanduser()))
    for file in configuration_files():
        paths = read_toml(file).get("paths", {})
        value = paths.get(key) if isinstance(paths, Mapping) else None
        if isinstance(value, str) and value:
            return Path(os.path.abspath(file.parent / Path(value).expanduser()))
        if value is not None:
            raise LocationError(f"{file}: paths.{key} = {value!r} is not a path in quotes")
    return None


def dataset_folder(dataset_id: str, root: Path | None = None) -> Path:
    """Where the flat cache of a collected dataset lies; it need not exist."""
    return (root or data_root()) / "datasets" / dataset_id
