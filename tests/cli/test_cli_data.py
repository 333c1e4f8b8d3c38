"""`mopo data` as a person meets it: on a real dataset, exit codes, what is on stdout and what on stderr.

What starts or asks the engine runs in processes of its own; what only reads, or refuses, runs in this one, which is faster.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import record
from engine.config import BehaviourConfig, DatasetConfig, from_toml, make, resolve
from mopo_tui.cli import main, pictures
from mopo_tui.cli.dataset_page import histogram
from mopo_tui.manager import Store, identity
from mopo_tui.manager.dataset_report import bars
from mopo_tui.manager.new_run import cores

Command = Callable[..., "subprocess.CompletedProcess[str]"]
OURS = "mopo/halfcheetah-random/2k-v0"
PLACES = {
    "HOME": "home",
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "share",
    "MOPO_RUNS": "runs",
    "MOPO_DATA": "data",
    "MINARI_DATASETS_PATH": "minari",
}


def environment(place: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MOPO_")}
    return {**clean, "OMP_NUM_THREADS": "1", **{name: str(place / where) for name, where in PLACES.items()}}


def call(place: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`mopo` with its home, store, data and Minari below `place`."""
    command = [sys.executable, "-m", "mopo_tui.cli", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=place, env=environment(place) | more, timeout=120
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with one small dataset of ours, collected by `mopo data build`."""
    place = tmp_path_factory.mktemp("built")
    (place / "home").mkdir()
    done = call(place, "data", "build", "halfcheetah-random", "--size", "2000", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert f"dataset {OURS}, fingerprint" in done.stdout
    return place


@pytest.fixture
def place(built: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    return Path(shutil.copytree(built, tmp_path / "place"))


@pytest.fixture
def process(place: Path) -> Command:
    """`mopo` in a process of its own."""
    return lambda *arguments, **more: call(place, *arguments, **more)


@pytest.fixture
def mopo(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`mopo` in this process."""
    for name in [name for name in os.environ if name.startswith("MOPO_")]:
        monkeypatch.delenv(name)
    for name, value in environment(place).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(place)
    capsys.readouterr()

    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in more.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                main(list(arguments))
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, end.value.code, out, err)  # type: ignore[arg-type]

    return call


@pytest.fixture(scope="module")
def hopper_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in D4RL's v2 form, of random actions in Hopper-v4 with the contacts of D4RL's time."""
    import h5py
    import numpy as np

    from engine import envs

    env = envs.make("Hopper-v4", legacy_contacts=True)
    env.action_space.seed(0)
    rows: dict[str, list[Any]] = {name: [] for name in ("observations", "actions", "rewards", "next_observations")}
    terminals, observation = [], env.reset(seed=0)[0]
    for _ in range(600):
        action = env.action_space.sample()
        following, reward, terminated, _, _ = env.step(action)
        for name, value in zip(rows, (observation, action, reward, following), strict=True):
            rows[name].append(value)
        terminals.append(terminated)
        observation = env.reset()[0] if terminated else following
    path = tmp_path_factory.mktemp("d4rl") / "mine.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in rows.items():
            file[name] = np.array(values, dtype=np.float32)
        file["terminals"] = np.array(terminals)
        file["timeouts"] = np.zeros(600, dtype=bool)
    env.close()
    return path


# --- looking ----------------------------------------------------------------------------------------------------------------------


def test_ls_says_what_is_there_and_fits_the_terminal(mopo: Command, place: Path) -> None:
    [entry] = json.loads(mopo("data", "ls", "--json").stdout)
    assert (entry["id"], entry["task"], entry["environment"]) == (OURS, "halfcheetah-random", "HalfCheetah-v5")
    assert (entry["size"], entry["episodes"], entry["present"]) == (2000, 2, True)
    copy = place / "minari" / OURS / "data"
    assert entry["minari_bytes"] == sum(file.stat().st_size for file in copy.iterdir())
    wide = mopo("data", "ls", COLUMNS="120").stdout
    for words in (OURS, "HalfCheetah-v5", "2,000", f"{entry['mean_return']:.1f}", f"{entry['bytes'] / 1e6:.1f}"):
        assert words in wide
    downloads = place / "data" / "downloads" / "d4rl"
    downloads.mkdir(parents=True)
    (downloads / "hopper_medium-v2.hdf5").write_bytes(bytes(2_000_000))
    torn = place / "data" / "datasets" / "file" / "torn"
    torn.mkdir(parents=True)
    (torn / "dataset.json").write_text("{")
    narrow = mopo("data", "ls", COLUMNS="80").stdout.splitlines()
    assert len(max(narrow[:2], key=len)) <= 80
    assert "d4rl/hopper-medium-v2: downloaded, not imported (2.0 MB); mopo data fetch d4rl:hopper-medium-v2" in narrow
    assert "file/torn: dataset.json cannot be read; mopo data rm file/torn" in narrow


def test_show_tells_origin_environment_references_and_report(mopo: Command) -> None:
    document = json.loads(mopo("data", "show", OURS, "--json").stdout)
    manifest = document["manifest"]
    assert document["fingerprint"] == manifest["fingerprint"]
    shown = mopo("data", "show", "halfcheetah-random", COLUMNS="80")
    assert (shown.returncode, shown.stderr) == (0, "")
    random, report = manifest["references"]["random"], manifest["report"]
    for words in (
        manifest["fingerprint"],
        "HalfCheetah-v5, at most 1000 steps",
        "2,000 transitions in 2 episodes, 2 of them complete",
        f"{random['return']:.1f}",
        f"{random['stderr']:.1f}",
        "score: 0 is a return of -280.179",
        f"mean {report['mean_return']:.1f}",
        f"{report['reward_quantiles']['values'][0]:.2f}",
        f"effective dimension {report['coverage']['effective_dimension']:.1f} of 17",
        "█",
    ):
        assert words in shown.stdout, words
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "\x1b" not in shown.stdout


def test_an_earlier_versions_manifest_is_shown_as_far_as_it_goes(mopo: Command, place: Path) -> None:
    path = place / "data" / "datasets" / OURS / "dataset.json"
    manifest = record.read_json(path) or {}
    for key in ("return_histogram", "length_histogram", "reward_quantiles", "coverage", "actions_at_limit"):
        del manifest["report"][key]
    for key in ("source", "notes", "environment_options", "written"):
        manifest.pop(key, None)
    manifest["description"] = "made\x1b[2J by hand"
    record.write_json(path, manifest)
    shown = mopo("data", "show", OURS)
    assert shown.returncode == 0, shown.stderr
    assert "made [2J by hand" in shown.stdout
    assert "lengths of all episodes: mean 1,000 steps" in shown.stdout
    assert "quantiles" not in shown.stdout
    drawn = mopo("data", "show", OURS, "--plot", "old.png")
    assert (drawn.returncode, drawn.stdout) == (3, "")
    assert "earlier version" in drawn.stderr
    assert mopo("data", "ls").returncode == 0


@pytest.mark.parametrize(("name", "magic"), [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")])
def test_show_draws_a_picture(mopo: Command, place: Path, name: str, magic: bytes) -> None:
    done = mopo("data", "show", OURS, "--plot", name)
    assert done.returncode == 0, done.stderr
    assert "█" in done.stdout
    assert (place / name).read_bytes().startswith(magic)
    assert [p.name for p in place.glob(".*")] == []


def test_pictures_that_cannot_be_written_are_one_line(mopo: Command, place: Path) -> None:
    (place / "sealed.png").mkdir()
    for file, code, words in (
        ("a.jpg", 2, "a .png, .svg or .pdf file"),
        ("nowhere/a.png", 3, "its folder does not exist"),
        ("sealed.png", 3, "a folder"),
        ("/proc/a.png", 3, "cannot be written"),
    ):
        done = mopo("data", "show", OURS, "--plot", file)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), (file, done)
        assert words in done.stderr


def test_histogram_bars_have_the_counts_heights() -> None:
    edges, counts = bars({"h": {"edges": [0, 10.0, 20.0, 30.0, 40.0], "counts": [16, 8, 0, 1]}}, "h")
    lines = histogram(edges, counts, {"m mean": 15.0, "r random": 15.5, "x beyond": 99.0}, columns=8)
    assert lines == [
        "16 │██",
        "   │██",
        "   │████",
        "   │████  ▂▂",
        " 0 └───mr───",
        "    0     40",
        "    m mean   r random",
    ]
    assert bars({"h": {"edges": [0.5, 1.0, 1.5], "counts": [0, 7]}}, "h") == ([], [])
    assert bars({}, "h") == ([], [])
    assert histogram([], []) == []


def test_ladders_are_drawn(tmp_path: Path) -> None:
    pictures.ladders(tmp_path / "ladders.svg")
    picture = (tmp_path / "ladders.svg").read_text()
    assert picture.startswith("<?xml")
    again = tmp_path / "again.svg"
    assert pictures.main(["ladders", str(again)]) == 0
    assert again.read_text() == picture
    assert pictures.main(["ladders", str(tmp_path / "ladders.gif")]) == 2
    assert pictures.main(["ladders", str(tmp_path / "no" / "ladders.png")]) == 3


# --- checking ---------------------------------------------------------------------------------------------------------------------


def test_check_passes_on_what_the_engine_says(process: Command, place: Path) -> None:
    done = process("data", "check", "halfcheetah-random", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["id"], found["looks_like"]["environment"]) == (0, OURS, "HalfCheetah-v5")
    rows = place / "data" / "datasets" / OURS / "rows.f32"
    damaged = bytearray(rows.read_bytes())
    damaged[0] ^= 1
    rows.write_bytes(damaged)
    done = process("data", "check", OURS, "--task", "halfcheetah-random")
    assert (done.returncode, done.stdout) == (3, "")
    assert "are not those its manifest names" in done.stderr


def test_check_says_how_to_import_first(mopo: Command, hopper_file: Path) -> None:
    for arguments, code, words in (
        (("d4rl:hopper-medium-v2",), 2, "mopo data fetch d4rl:hopper-medium-v2"),
        ((str(hopper_file), "--task", "hopper-random"), 2, f"mopo data import {hopper_file} --task hopper-random"),
        ((OURS, "--task", "hopper-random"), 3, "no dataset"),
        (("nothing",), 3, "no dataset 'nothing'"),
    ):
        done = mopo("data", "check", *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), (arguments, done)
        assert words in done.stderr


# --- making -----------------------------------------------------------------------------------------------------------------------


def test_a_minari_set_is_fetched_for_the_task_of_its_name(process: Command) -> None:
    done = process("data", "fetch", f"minari:{OURS}", "--name", "back again", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"]["dataset"] == f"minari/{OURS}"
    here = {entry["id"]: entry for entry in json.loads(process("data", "ls", "--json").stdout)}
    assert here[f"minari/{OURS}"]["fingerprint"] == here[OURS]["fingerprint"]
    assert here[f"minari/{OURS}"]["task"] == "halfcheetah-random"
    both = process("data", "show", "halfcheetah-random")
    assert (both.returncode, both.stdout) == (3, "")
    assert f"2 datasets go by 'halfcheetah-random': minari/{OURS}, {OURS}" in both.stderr


def test_a_file_is_imported(process: Command, place: Path, hopper_file: Path) -> None:
    arguments = ("--task", "hopper-random", "--env", "Hopper-v5", "--legacy-contacts", "--size", "300", "--json")
    done = process("data", "import", os.path.relpath(hopper_file, place), *arguments)
    assert done.returncode == 0, done.stderr
    identifier = json.loads(done.stdout)["result"]["dataset"]
    shown = json.loads(process("data", "show", str(hopper_file), "--json").stdout)
    assert (shown["id"], shown["size"], shown["task"]) == (identifier, 300, "hopper-random")
    assert shown["manifest"]["environment"] == "Hopper-v5"
    assert shown["manifest"]["environment_options"] == {"legacy_contacts": True}
    assert "Hopper-v5, legacy_contacts = True" in process("data", "show", "hopper-random").stdout


def test_what_is_asked_for_stands_in_the_run(process: Command, mopo: Command, place: Path) -> None:
    del mopo  # whose places are those of the run
    store = Store.open(place / "runs")
    behaviour = store.create(make(BehaviourConfig, {"behaviour": "ant"}), name="not begun")
    arguments = ("--from-training", "not begun", "--seed", "4", "--angle", "45", "--name", "x", "--json")
    done = process("data", "build", "ant-angle", *arguments)
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    assert behaviour.id in document["reason"]
    assert store.find("x").id == document["id"]
    config = from_toml(DatasetConfig, (Path(document["folder"]) / record.CONFIG).read_text(), "test")
    assert (config.task, config.environment.angle, config.compute.threads) == ("ant-angle", 45.0, min(cores(), 2))
    assert (config.dataset.source, config.dataset.size, config.dataset.seed) == (f"training:{behaviour.folder}", 0, 4)


def test_what_cannot_be_made_is_one_line_and_no_run(mopo: Command, place: Path) -> None:
    (place / "folder").mkdir()
    before = sorted((place / "runs").iterdir())
    for arguments, code, words in (
        (("fetch", "hopper-medium-v2"), 2, "neither d4rl:NAME nor minari:ID"),
        (("fetch", "d4rl:"), 2, "neither d4rl:NAME nor minari:ID"),
        (("fetch", "d4rl:pen-human-v1"), 2, "say which with --task"),
        (("fetch", "d4rl:hopper-medium-v2", "--task", "hoper-medium"), 2, "did you mean 'hopper-medium'"),
        (("import", "d4rl:hopper-medium-v2", "--task", "hopper-medium"), 2, "mopo data fetch d4rl:hopper-medium-v2"),
        (("import", "missing.hdf5", "--task", "hopper-medium"), 3, "missing.hdf5: no such file"),
        (("import", "folder", "--task", "hopper-medium"), 3, "is a folder"),
        (("import", "missing.hdf5", "--task", "hopper"), 2, "unknown task 'hopper'"),
        (("build", "hopper-medium", "--angle", "3"), 2, "hopper-medium has no angle"),
        (("build", "hopper-random", "--plot", "a.jpg"), 2, "a .png, .svg or .pdf file"),
        (("build", "hopper-random", "--plot", "nowhere/a.png"), 3, "its folder does not exist"),
        (("build", "hopper-random", "--plot", "a.png", "-b"), 2, "leave out -b"),
        (("build", "hopper-medium", "--from-training", "nobody"), 4, "no run 'nobody'"),
        (("build", "hopper-medium", "--from-training", "latest"), 2, "only behaviour runs leave a replay"),
        (("show", "nothing"), 3, "no dataset 'nothing'; `mopo data ls` lists them"),
    ):
        done = mopo("data", *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), (arguments, done)
        assert words in done.stderr, (arguments, done.stderr)
    assert sorted((place / "runs").iterdir()) == before


def test_a_host_that_does_not_answer_is_told_by_the_run(process: Command) -> None:
    done = process("data", "fetch", "d4rl:hopper-medium-replay-v2", "--json", MOPO_D4RL_URL="http://127.0.0.1:9")
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    assert document["state"] == "failed"
    assert "127.0.0.1:9" in document["reason"]


# --- removing ---------------------------------------------------------------------------------------------------------------------


def test_rm_removes_the_cache_and_our_minari_copy(mopo: Command, place: Path) -> None:
    done = mopo("data", "rm", "halfcheetah-random", OURS, "-y")  # twice the same
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert f"{OURS}: flat cache 0." in done.stderr
    assert "Minari copy" in done.stderr
    assert json.loads(mopo("data", "ls", "--json").stdout) == []
    assert list((place / "minari" / "mopo" / "halfcheetah-random").glob("*2k-v0*")) == []
    assert [p for p in (place / "data").rglob("*") if p.is_file()] == []


def test_rm_keeps_the_minari_copy_when_told(mopo: Command, place: Path) -> None:
    copy = place / "minari" / OURS / "data" / "main_data.hdf5"
    before = copy.read_bytes()
    done = mopo("data", "rm", OURS, "--yes", "--keep-minari")
    assert (done.returncode, "Minari" in done.stderr) == (0, False)
    assert copy.read_bytes() == before
    assert not (place / "data" / "datasets" / OURS).exists()


def test_rm_asks_a_person_and_never_a_pipe(mopo: Command, place: Path) -> None:
    done = mopo("data", "rm", OURS)
    assert (done.returncode, "say --yes" in done.stderr) == (2, True)
    for answer, there in (("\n", True), ("n\n", True), ("y\n", False)):
        code, said = on_terminal(place, answer, "data", "rm", OURS)
        assert code == 0, said
        assert "Remove 0." in said
        assert ("nothing removed" in said) is there
        assert (place / "data" / "datasets" / OURS).exists() is there


def on_terminal(place: Path, answer: str, *arguments: str) -> tuple[int, str]:
    """`mopo` on a pseudo-terminal on which somebody types `answer`; its exit code and all it printed."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mopo_tui.cli", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=place,
        env=environment(place),
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    said = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    return process.wait(timeout=30), said.decode()


@pytest.fixture
def running(mopo: Command, place: Path) -> Iterator[str]:
    """A run that learns from the dataset: its engine's place is taken by a process that sleeps."""
    del mopo  # whose places are those of the run
    values = {"task": "halfcheetah-random", "preset": "smoke", "dataset.size": 2000, "compute.threads": 1}
    run = Store.open(place / "runs").create(resolve([("test", values)]).config)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    record.write_json(
        run.folder / record.PROCESS,
        {
            "attempt": 1,
            "pid": sleeper.pid,
            "pgid": sleeper.pid,
            "start_time": identity.start_time(sleeper.pid),
            "boot_id": identity.boot_id(),
            "host": identity.host(),
            "started": time.time(),
        },
    )
    yield run.id
    sleeper.kill()
    sleeper.wait()


def test_rm_refuses_what_a_running_run_uses(mopo: Command, place: Path, running: str) -> None:
    done = mopo("data", "rm", OURS, "--yes")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{OURS} is in use by {running}, which is running: stop it first" in done.stderr
    assert (place / "data" / "datasets" / OURS / "dataset.json").exists()


def test_rm_takes_a_download_only_when_told(mopo: Command, place: Path) -> None:
    file = place / "data" / "downloads" / "d4rl" / "hopper_medium-v2.hdf5"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(1_000_000))
    done = mopo("data", "rm", "d4rl:hopper-medium-v2", "--yes")
    assert (done.returncode, "--downloads removes that file" in done.stderr) == (2, True)
    assert file.exists()
    done = mopo("data", "rm", "d4rl:hopper-medium-v2", "--yes", "--downloads")
    assert (done.returncode, "d4rl/hopper-medium-v2: download 1.0 MB" in done.stderr) == (0, True)
    assert list(file.parent.iterdir()) == []
    done = mopo("data", "rm", OURS, "nothing", "--yes")
    assert (done.returncode, (place / "data" / "datasets" / OURS).exists()) == (3, True)


def test_data_that_are_not_there_are_refused_before_a_run_is_made(mopo: Command, store: Store) -> None:
    for source in ("/nowhere/x.hdf5", "training:/nowhere/run"):
        done = mopo("run", "--task", "hopper-medium", "--preset", "smoke", "--dataset", source)
        assert done.returncode == 3
        assert done.stderr.strip().splitlines()[-1].startswith("mopo: /nowhere/")
        assert "no such file or folder" in done.stderr
    assert store.runs() == []
    done = mopo("data", "fetch", "d4rl:hoper-medium-v2")
    assert done.returncode == 2
    assert "did you mean hopper?" in done.stderr


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("task", "source", "code", "words"),
    [
        ("hopper-medium", "d4rl:hoper-medium-v2", 2, "unknown D4RL dataset 'hoper-medium-v2'; did you mean 'hopper-"),
        ("hopper-medium", "d4rl:hopper-medium-v1", 2, "v1 data are deprecated; use hopper-medium-v2"),
        ("walker2d-medium", "d4rl:hopper-medium-v2", 2, "is data of Hopper; walker2d-medium is a task of Walker2d"),
        ("walker2d-medium", "minari:mujoco/hopper/medium-v0", 2, "is data of Hopper; walker2d-medium is a task of"),
        ("ant-angle", "d4rl:ant-medium-v2", 2, "has Ant's own rewards, not those of ant-angle"),
        ("hopper-medium", "minari:mujoco/hopper/medium", 2, "an id of Minari is (namespace/)name-v0, with its version"),
        ("hopper-medium", "d5rl:hopper-medium-v2", 3, "did you mean d4rl:hopper-medium-v2?"),
        ("hopper-medium", "minary:mujoco/hopper/medium-v0", 3, "did you mean minari:mujoco/hopper/medium-v0?"),
    ],
)
def test_a_source_that_cannot_be_is_told_before_a_run_is_made(
    mopo: Command, store: Store, task: str, source: str, code: int, words: str, more: tuple[str, ...]
) -> None:
    done = mopo("run", "--task", task, "--preset", "smoke", "--dataset", source, *more)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done
    assert words in done.stderr
    assert store.runs() == []


def test_build_reports_and_draws_what_it_made(process: Command, place: Path) -> None:
    done = process("data", "build", "hopper-random", "--size", "1000", "--threads", "1", "--plot", "made.svg")
    assert done.returncode == 0, done.stderr
    for words in (
        "fingerprint",
        "score: 0 is a return of -20.2723, 100 one of 3234.3 (D4RL's constants (gym v2, MuJoCo 2.0))",
        "lengths of all episodes",
        "effective dimension",
        "█",
    ):
        assert words in done.stdout, words
    assert (place / "made.svg").read_bytes().startswith(b"<?xml")
    assert "drawn: made.svg" in done.stderr


def test_why_a_dataset_could_not_be_made_is_told_once(process: Command, place: Path) -> None:
    (place / "torn.hdf5").write_bytes(b"no HDF5")
    done = process("data", "import", "torn.hdf5", "--task", "hopper-medium")
    assert done.returncode == 3
    told = [line for line in done.stderr.splitlines() if "not an HDF5 file" in line]
    assert len(told) == 1, done.stderr
    assert "last lines" not in done.stderr
