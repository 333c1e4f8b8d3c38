"""`mopo export`: files that other programs read back."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished_runs import environment, write
from pyarrow import parquet
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c, masked_crc32c

from engine import record
from engine.record import Recorder
from mopo_tui.manager import Run, RunReader, Store, export

Command = Callable[..., "subprocess.CompletedProcess[str]"]
EVIL = '</title><script>alert("1")</script><img src=x onerror=alert(2)> & --> $x$'


@pytest.fixture
def two(store: Store) -> list[Run]:
    runs = [write(store, 3000.0), write(store, 3600.0, seed=1)]
    recorder = Recorder(runs[0].folder, echo=lambda _: None)  # what is no finite number, and a step without an update
    recorder.stage, recorder.step = "policy", 220
    recorder.metrics({"policy/q": float("nan"), "rollout/reward": float("inf")}, 5)
    return runs


def values(run: Run) -> dict[str, list[tuple[float, float]]]:
    """metric → (step, value), as the columns have them."""
    reader = RunReader(run.folder)
    reader.refresh()
    series = {name: reader.series(name) for name in reader.names()}
    return {name: list(zip(s.step.tolist(), s.value.tolist(), strict=True)) for name, s in series.items()}


def same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(np.asarray(a, float), np.asarray(b, float), equal_nan=True))


def test_csv_has_a_row_per_value(mopo: Command, two: list[Run], tmp_path: Path) -> None:
    done = mopo("export", two[0].id, two[1].id, "--format", "csv", "--out", "x.csv")
    assert (done.returncode, done.stdout) == (0, "x.csv\n")
    text = (tmp_path / "x.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    for run in two:
        for name, expected in values(run).items():
            found = [r for r in rows if r["run"] == run.id and r["metric"] == name]
            assert same([(r["step"], r["value"]) for r in found], expected)
    assert len(rows) == sum(len(each) for run in two for each in values(run).values())
    loss = next(row for row in rows if row["metric"] == "dynamics/val_loss/0")
    assert (loss["step"], loss["update"], loss["epoch"], loss["algorithm"], loss["seed"]) == (
        "10",
        "",
        "1",
        "mopo",
        "0",
    )
    assert mopo("export", two[0].id, two[1].id, "-f", "csv", "-o", "-").stdout == text


def test_json_has_everything_a_folder_says(mopo: Command, two: list[Run], tmp_path: Path) -> None:
    assert mopo("export", two[0].id, "-f", "json", "-o", "x.json").returncode == 0
    (found,) = json.loads((tmp_path / "x.json").read_text())["runs"]
    for name, expected in values(two[0]).items():
        metric = found["metrics"][name]
        assert same(list(zip(metric["step"], map(float, metric["value"]), strict=True)), expected)
    assert found["metrics"]["dynamics/val_loss/0"]["update"] == [None, None]
    assert found["metrics"]["rollout/reward"]["value"] == ["Infinity"]
    assert found["configuration"]["preset"] == "smoke"
    assert found["environment"]["versions"]["torch"] == "2.13.0"
    assert found["result"]["final"]["return"] == 3000.0
    assert [event["kind"] for event in found["events"]] == ["alert"]
    assert len(found["histograms"]["rows"]) == 5
    assert found["run"]["id"] == two[0].id


def test_parquet_is_read_by_pyarrow(mopo: Command, two: list[Run], tmp_path: Path) -> None:
    assert mopo("export", two[0].id, two[1].id, "-f", "parquet", "-o", "x.parquet").returncode == 0
    table = parquet.read_table(tmp_path / "x.parquet")
    assert tuple(table.column_names) == export.COLUMNS
    rows = table.to_pylist()
    for run in two:
        for name, expected in values(run).items():
            assert same([(r["step"], r["value"]) for r in rows if (r["run"], r["metric"]) == (run.id, name)], expected)


def test_without_pyarrow_one_line_says_what_to_install(mopo: Command, two: list[Run], tmp_path: Path) -> None:
    (tmp_path / "hides").mkdir()
    (tmp_path / "hides" / "pyarrow.py").write_text("raise ImportError")
    done = mopo("export", two[0].id, "-f", "parquet", "-o", "x.parquet", PYTHONPATH=str(tmp_path / "hides"))
    assert done.returncode == 2
    assert done.stderr == "mopo: Parquet files need pyarrow, which is not installed: pip install pyarrow\n"
    assert not (tmp_path / "x.parquet").exists()


def test_tensorboard_reads_scalars_histograms_and_configuration(mopo: Command, two: list[Run], tmp_path: Path) -> None:
    done = mopo("export", two[0].id, two[1].id, "-f", "tensorboard", "-o", "tb")
    assert (done.returncode, done.stdout) == (0, "tb\n")
    assert {folder.name for folder in (tmp_path / "tb").iterdir()} == {run.id for run in two}
    for run in two:
        read = EventAccumulator(str(tmp_path / "tb" / run.id), size_guidance={"scalars": 0, "histograms": 0})
        read.Reload()
        expected = values(run)
        assert set(read.Tags()["scalars"]) == set(expected)
        reader = RunReader(run.folder)
        reader.refresh()
        for name, points in expected.items():
            events = read.Scalars(name)
            assert [event.step for event in events] == [step for step, _ in points]
            assert same([event.value for event in events], np.float32([value for _, value in points]))
            assert same([event.wall_time for event in events], reader.series(name).t)
        histograms = read.Histograms("uncertainty/histogram/rollout")
        assert len(histograms) == 4
        newest = histograms[-1].histogram_value
        edges = record.histogram_edges()
        assert (newest.num, newest.bucket) == (140.0, [7.0] * 20)
        assert newest.bucket_limit == pytest.approx(edges[70:90])
        assert (newest.min, newest.max) == pytest.approx((edges[69], edges[89]))
        text = read.Tensors("configuration")[0].tensor_proto.string_val[0].decode()
        assert f"seed = {run.seed}" in text


@pytest.mark.parametrize("count", [1, 7, 300])
def test_checksums_are_those_of_tensorboards_reader(count: int) -> None:
    rng = np.random.default_rng(count)
    texts = [rng.bytes(int(n)) for n in rng.integers(0, 200, count)]
    assert export.masked_crc32c(texts) == [masked_crc32c(text) for text in texts]
    assert crc32c(b"123456789") == 0xE3069283  # the polynomial's known value


class Page(HTMLParser):
    """Elements, their attributes, and text outside <style>."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_stands_alone_and_shows_a_run(mopo: Command, two: list[Run], tmp_path: Path) -> None:
    assert mopo("export", two[0].id, two[1].id, "-f", "html", "-o", "x.html").returncode == 0
    page = Page((tmp_path / "x.html").read_text())
    names = [tag for tag, _ in page.tags]
    assert names.count("svg") > 8
    assert not {"script", "link", "iframe", "object", "img"} & set(names)
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "xlink:href", "src"):
                assert value is not None
                assert value.startswith("#"), value  # nothing from elsewhere
    labels = {attributes.get("aria-label") for tag, attributes in page.tags if tag == "figure"}
    assert {"eval/return", "dynamics/val_loss/*", "histogram of u", "scores over training"} <= labels
    for words in ("rollout.coefficient", "torch=2.13.0", "0123456789ab", "IQM", two[1].id, "<script>alert(1)</script>"):
        assert words in page.text, words


def test_text_from_a_folder_is_only_text_in_the_page(mopo: Command, store: Store, tmp_path: Path) -> None:
    odd = environment(
        cpu=EVIL, git_commit=EVIL, versions={EVIL: EVIL}, environment={"id": EVIL, "options": {EVIL: EVIL}},
        dataset={"id": EVIL, "fingerprint": EVIL}, references={EVIL: {"return": 1.0}, "scale": None},
    )  # fmt: skip
    run = write(store, 3000.0, origin=odd)
    about = record.read_json(run.folder / record.RUN) or {}
    told = {**about, "name": EVIL, "command": [EVIL], "task": EVIL, "algorithm": EVIL, "preset": EVIL}
    record.write_json(run.folder / record.RUN, told)
    with open(run.folder / record.CONFIG, "a") as f:
        f.write(f"[{json.dumps(EVIL)}]\n{json.dumps(EVIL)} = {json.dumps(EVIL)}\n")
    with open(run.folder / record.METRICS, "a") as f:
        f.write(json.dumps({"step": 1, "m": {EVIL: 1.0}}) + "\n")
    record.append_row(run.folder / record.EVENTS, {"kind": EVIL, "message": EVIL, "step": 1})
    plain = write(store, 3000.0)
    for name, chosen in (("evil.html", run), ("plain.html", plain)):
        done = mopo("export", chosen.id, "-f", "html", "-o", name)
        assert done.returncode == 0, done.stderr
    written = (tmp_path / "evil.html").read_text()
    page, usual = Page(written), Page((tmp_path / "plain.html").read_text())
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in usual.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(EVIL) > 8
    assert "<script" not in written
    assert "<img" not in written
    for form in ("csv", "json", "md", "tensorboard"):
        assert mopo("export", run.id, "-f", form, "-o", f"evil.{form}").returncode == 0


def test_nothing_is_overwritten_and_nothing_half_written(mopo: Command, two: list[Run], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("mine")
    (tmp_path / "tb").mkdir()
    (tmp_path / "tb" / "mine").write_text("mine")
    for form, out in (
        ("csv", "x.csv"),
        ("tensorboard", "tb"),
        ("csv", "tb"),
        ("csv", "no/x.csv"),
        ("tensorboard", "x.csv"),
    ):
        done = mopo("export", two[0].id, "-f", form, "-o", out)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), (form, out, done.stderr)
    assert (tmp_path / "x.csv").read_text() == (tmp_path / "tb" / "mine").read_text() == "mine"
    assert mopo("export", two[0].id, "-f", "csv", "-o", "x.csv", "--force").returncode == 0
    assert (tmp_path / "x.csv").read_text().startswith("run,")
    for _ in range(2):
        assert mopo("export", two[0].id, "-f", "tensorboard", "-o", "tb", "--force").returncode == 0
    assert (tmp_path / "tb" / "mine").exists()
    assert len(list((tmp_path / "tb" / two[0].id).iterdir())) == 1  # written again, not beside
    assert mopo("export", two[0].id, "-f", "parquet", "-o", "-").returncode == 2
    assert mopo("export", "nope", "-f", "csv", "-o", "y.csv").returncode == 4
    assert not (tmp_path / "y.csv").exists()


def test_a_full_disk_leaves_what_was_there(two: list[Run], tmp_path: Path) -> None:
    """The file may grow to so many bytes only: the old one stays, and no part of the new one."""
    (tmp_path / "x.csv").write_text("mine")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); from mopo_tui.cli import main; main(sys.argv[1:])"
    )
    arguments = ["export", two[0].id, "-f", "csv", "-o", "x.csv", "--force", "--runs", str(two[0].folder.parent)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ)
    )
    assert done.returncode == 2
    assert "x.csv: cannot be written" in done.stderr
    assert (tmp_path / "x.csv").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if "csv" in path.name] == ["x.csv"]


def test_a_run_under_way_is_written_as_far_as_it_is(mopo: Command, store: Store, tmp_path: Path) -> None:
    run = write(store, None)
    for form in ("csv", "html", "md"):
        assert mopo("export", run.id, "-f", form, "-o", f"x.{form}").returncode == 0
    assert "stopped" in (tmp_path / "x.md").read_text()


def test_run_folders_are_small_stores_of_their_own(two: list[Run], mopo: Command, tmp_path: Path) -> None:
    done = mopo("export", two[0].id, two[1].id, "--format", "run", "--out", "small", "--kilobytes", "50")
    assert (done.returncode, done.stdout) == (0, "small\n")
    assert done.stderr.count("wrote small/") == 2
    listed = json.loads(mopo("ls", "--json", "--all", "--runs", "small").stdout)
    assert {run["id"] for run in listed} == {run.id for run in two}
    assert {run["state"] for run in listed} == {"finished"}
    both = [mopo("compare", two[0].id, two[1].id, "--json", "--runs", runs).stdout for runs in ("small", "runs")]
    assert both[0].replace(str(tmp_path / "small"), "") == both[1].replace(str(tmp_path / "runs"), "")
    refused = mopo("export", two[0].id, "--format", "run", "--out", "small")
    assert (refused.returncode, "--force replaces it" in refused.stderr) == (2, True)
    assert mopo("export", two[0].id, "--format", "run", "--out", "-").returncode == 2
    refused = mopo("export", two[0].id, "--format", "json", "--out", "-", "--policy")
    assert (refused.returncode, "--policy counts with --format run only" in refused.stderr) == (2, True)
