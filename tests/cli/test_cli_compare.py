"""`mopo compare` and `mopo diff` as a person reads them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from finished_runs import CHEETAH, environment, write
from PIL import Image

from engine import record
from mopo_tui.manager import Run, Store, setting_key

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def six(store: Store) -> list[Run]:
    """Three seeds of each of two settings."""
    weak = [write(store, value, seed=seed) for seed, value in enumerate((3000.0, 3300.0, 3600.0))]
    strong = [
        write(store, value, seed=seed, **{"rollout.coefficient": 5.0})
        for seed, value in enumerate((4000.0, 4100.0, 4500.0))
    ]
    return [*weak, *strong]


def test_what_differs_comes_before_the_scores(mopo: Command, six: list[Run]) -> None:
    done = mopo("compare", six[0].id, six[3].id, "--all-seeds")
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    order = [
        "what differs",
        "rollout.coefficient  0.5  5",
        "groups of seeds",
        "normalized score in %",
        "IQM",
        "P(A > B)",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    percent = [100 * (value + 280.178953) / 12415.178953 for value in (4000.0, 4100.0, 4500.0)]
    rows = [line.split() for line in text[text.index("IQM") :].splitlines()]
    best = next(row for row in rows if row and row[0] == "B")
    assert ["3", "of", "3", f"{sum(percent) / 3:.1f}", f"[{percent[0]:.1f},", f"{percent[2]:.1f}]"] == best[-11:-5]
    assert rows.index(best) < next(
        i for i, row in enumerate(rows) if row and row[0] == "A"
    )  # ranked by the final score
    assert "nominal 95 %, covers about 75–85 %" in text
    assert "published mopo: 72.1 ± 3.8 % normalized, on D4RL v2" in text
    assert "evaluated in HalfCheetah-v5, gymnasium 1.4.0, mujoco 4.0.0" in text
    assert "1m30s" in text


def test_unfair_comparisons_say_so_first(mopo: Command, store: Store) -> None:
    a = write(store, 3000.0)
    b = write(store, 3100.0, seed=1, origin=environment(versions={"torch": "2.12.0"}))
    c = write(store, None, seed=2)
    done = mopo("compare", a.id, b.id, c.id)
    lines = done.stdout.splitlines()
    assert lines[0] == "Beware"
    assert lines[1].startswith("! different versions of torch: 2.13.0 | 2.12.0")
    assert f"left out of A: seed 2, {c.id}: stopped" in done.stdout
    assert "1 of 2" in done.stdout
    assert "an interval would mean nothing below 3 seeds" in done.stdout
    assert "! different versions" in mopo("compare", a.id, b.id, "--md").stdout
    assert "different versions" in mopo("compare", a.id, b.id, "--csv").stderr


@pytest.mark.parametrize("width", ["80", "120", "200"])
def test_nothing_is_cut_at_any_width(mopo: Command, six: list[Run], width: str) -> None:
    text = mopo("compare", *(run.id for run in six), COLUMNS=width).stdout
    assert "…" not in text
    table = text[text.index("normalized score") : text.index("last 10: mean")]
    assert max(map(len, table.splitlines()[1:3])) <= int(width)
    assert (six[0].id in text) == (width != "80")
    assert six[0].id[-4:] in text


def test_a_table_too_wide_for_the_terminal_becomes_lines(mopo: Command, store: Store) -> None:
    runs = [write(store, 1000.0 + i, **{"rollout.coefficient": 10.125 + i}) for i in range(14)]
    text = mopo("compare", *(run.id for run in runs), COLUMNS="80").stdout
    assert "…" not in text
    part = text[: text.index("groups of seeds")]
    assert "rollout.coefficient" in part
    assert "  N: 23.125" in part  # the value of the last group
    assert "\nrollout.coefficient  10.125" in mopo("compare", *(run.id for run in runs), COLUMNS="200").stdout


def test_by_a_key_there_is_a_row_per_value(mopo: Command, six: list[Run]) -> None:
    text = mopo("compare", *(run.id for run in six), "--by", "rollout.coefficient").stdout
    part = text[text.index("by rollout.coefficient, mean of the last 10") :].splitlines()
    assert [row.split()[0] for row in part[2:4]] == ["0.5", "5"]
    assert "3.000 ± 0.000" in part[2]  # mean u over epochs 1 to 4 is 0.5 + 2.5
    assert "4.5 ± 0.0" in part[2]  # 12 + 2.5 − 10
    assert "-1.0 ± 0.0" in part[2]
    last = text[text.index("at the last evaluation") :].splitlines()
    assert "4.500 ± 0.000" in last[2]
    narrow = mopo("compare", *(run.id for run in six), "--by", "rollout.coefficient", COLUMNS="80").stdout
    part = narrow[narrow.index("by rollout.coefficient, mean of the last 10") :].splitlines()
    assert part[1].split() == ["coefficient", "n", "IQM", "mean", "u", "gap", "penalised", "gap", "bound", "ρ"]
    assert part[2].split()[-5:] == ["3.000", "4.5", "-1.0", "1.00", "–"]
    wrong = mopo("compare", six[0].id, "--by", "rollout.coeficient")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean 'rollout.coefficient'" in wrong.stderr


def test_other_forms(mopo: Command, six: list[Run]) -> None:
    ids = [run.id for run in six]
    found = json.loads(mopo("compare", *ids, "--json").stdout)
    (task,) = found["tasks"]
    assert [group["letter"] for group in task["groups"]] == ["B", "A"]
    assert task["groups"][0]["final"]["n"] == 3
    assert task["beats"][0]["improvement"]["probability"] == 0.0
    rows = list(csv.DictReader(io.StringIO(mopo("compare", *ids, "--csv").stdout)))
    assert [row["group"] for row in rows] == ["B", "A"]
    assert float(rows[0]["final_iqm"]) == task["groups"][0]["final"]["iqm"]
    assert rows[0]["rollout.coefficient"] == "5.0"
    markdown = mopo("compare", *ids, "--md").stdout
    assert "| B | mopo coefficient=5 | 3 of 3 |" in markdown
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table[:3]} == {4}
    latex = mopo("compare", *ids, "--latex").stdout
    assert r"\begin{tabular}{llrrrrrr}" in latex
    assert r"95 \%" in latex
    assert r"$\pm$" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") > 3
    assert mopo("compare", *ids, "--md", "--csv").returncode == 2


def test_runs_are_named_by_group_setting_and_path(mopo: Command, six: list[Run], tmp_path: Path) -> None:
    about = record.read_json(six[1].folder / record.RUN) or {}
    record.write_json(six[1].folder / record.RUN, {**about, "group": "alone"})

    def runs(*arguments: str) -> list[str]:
        done = mopo("compare", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [run["id"] for run in json.loads(done.stdout)["runs"]]

    assert runs("alone") == [six[1].id]
    assert runs(setting_key(six[4].folder)) == [run.id for run in six[3:]]
    shutil.copytree(six[0].folder, tmp_path / "other" / "copy")
    assert runs("other/copy", six[1].id) == ["copy", six[1].id]
    for reference in ("nope", "../x"):
        done = mopo("compare", reference)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)


def test_curves_are_pictures(mopo: Command, six: list[Run], tmp_path: Path) -> None:
    ids = [run.id for run in six]
    for name in ("a.png", "a.svg"):
        done = mopo("compare", *ids, "--plot", name)
        assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 600
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
    drawn = (tmp_path / "a.svg").read_text()
    ElementTree.fromstring(drawn)
    assert "mopo coefficient=5 (n = 3)" in drawn  # text as a comment beside its outlines
    kept = (tmp_path / "a.png").read_bytes()
    again = mopo("compare", *ids, "--plot", "a.png")
    assert (again.returncode, again.stdout) == (2, "")
    assert "--force" in again.stderr
    assert mopo("compare", *ids, "--plot", "a.png", "--force").returncode == 0
    assert (tmp_path / "a.png").read_bytes() == kept  # the same picture has the same bytes
    assert mopo("compare", *ids, "--plot", "a.pdf").returncode == 2
    assert mopo("compare", *ids, "--plot", "nowhere/a.png").returncode == 2


def test_text_from_a_folder_steers_nothing(mopo: Command, store: Store) -> None:
    odd = environment(
        git_commit="\x1b[31mc", versions={"torch": "\x1b]0;t\x07"}, environment={"id": "A\x1b[2J", "options": {"\x1b": "\x1b"}},
        dataset={"id": "d\x1b[1m", "fingerprint": "\x1b" * 20}, references={"\x1b[5m": {"return": 1.0}, "scale": None},
    )  # fmt: skip
    a, b = write(store, 1.0, origin=odd), write(store, 2.0, seed=1, name="b $x_1$ | &%")
    for more in ((), ("--md",), ("--latex",), ("--csv",)):
        done = mopo("compare", a.id, b.id, *more)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert "\x07" not in done.stdout + done.stderr
    assert "\x1b" not in mopo("diff", a.id, b.id).stdout
    assert mopo("compare", a.id, b.id, "--plot", "x.svg").returncode == 0


def test_diff_names_what_differs(mopo: Command, store: Store) -> None:
    a = write(store, 1.0)
    b = write(
        store, 1.0, seed=3, origin=environment(dataset={"id": "mopo/y", "fingerprint": "e" * 64}, git_commit="abc"),
        **{"rollout.length": 1},
    )  # fmt: skip
    done = mopo("diff", a.id, b.id)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(all(word in line for word in ("rollout.length", "5", "1")) for line in lines)
    assert any(all(word in line for word in ("fingerprint", "f" * 12, "e" * 12)) for line in lines)
    assert any(all(word in line for word in ("commit", "0123456789ab", "abc")) for line in lines)
    assert "the same: environment, constants, versions, compute, machine" in done.stdout
    found = json.loads(mopo("diff", a.id, b.id, "--json").stdout)
    assert found["configuration"] == {"seed": [0, 3], "rollout.length": [5, 1]}
    assert found["runs"] == [a.id, b.id]
    assert CHEETAH in a.id
