"""What the app's tests share: a store with realistic runs, and screens as text."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from for_all import _draws, no_width  # noqa: F401  fixtures of several folders
from realistic import make_store
from screen_text import fixed
from seeds_store import mb2po, mbpo, mopo, seeds_store  # noqa: F401  fixtures of several tests

from mopo_tui.app import MopoApp
from mopo_tui.manager import Store


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable or file of the person who runs the tests counts, and nothing of theirs is touched."""
    for name in [n for n in os.environ if n.startswith("MOPO_") or n in ("LC_ALL", "LC_CTYPE", "NO_COLOR")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("MOPO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MOPO_THREADS", "1")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    for kind in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def finished_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six runs; tests read it only."""
    return Store.open(make_store(tmp_path_factory.mktemp("store") / "runs"))


@pytest.fixture
def app(finished_store: Store) -> MopoApp:
    """The app on that store, with a fixed host and place."""
    return fixed(MopoApp(finished_store))
