"""The README's result tables are those of the runs that ship."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from mopo_tui.manager import Store, compare

ROOT = Path(__file__).parents[2]


@pytest.fixture
def results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results", ROOT / "runs" / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_says_what_the_runs_say(results: ModuleType) -> None:
    assert results.main(["--check"]) == 0


def test_a_table_that_says_something_else_is_found_and_written_anew(
    results: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    score = next(word for word in page.partition(results.BEGIN)[2].split() if word.startswith("**4"))
    readme = tmp_path / "README.md"
    readme.write_text(page.replace(score, "**99.9**"), encoding="utf-8")
    monkeypatch.setattr(results, "README", readme)
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "PICTURES", tmp_path / "docs")
    (tmp_path / "docs").mkdir()
    assert results.main(["--check"]) == 1
    assert "make results" in capsys.readouterr().err
    assert results.main([]) == 0
    assert readme.read_text(encoding="utf-8") == page
    pictures = {path.name for path in (tmp_path / "docs").iterdir()}
    assert pictures == {path.name for path in (ROOT / "docs").glob("results-*.svg")}


def test_a_readme_without_its_marks_is_left_alone(
    results: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# nothing\n", encoding="utf-8")
    monkeypatch.setattr(results, "README", readme)
    assert results.main([]) == 1
    assert readme.read_text(encoding="utf-8") == "# nothing\n"


def test_every_run_that_ships_stands_in_a_table(results: ModuleType) -> None:
    runs = Store.open(ROOT / "runs" / "reference", read_only=True).runs()
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition(results.BEGIN)[2].partition(results.END)[0]
    assert runs
    assert all(f"`{run.id[-4:]}`" in table for run in runs)
    assert sum(len(task.groups) for task in compare(runs).tasks) == table.count(" | **")
