"""`mopo config show`, `path`, `init` and `validate`."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli

from engine.config import TrainConfig, fields_of, flatten, make

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_show_tells_each_value_with_its_origin(mopo: Command, tmp_path: Path) -> None:
    (tmp_path / "mopo.toml").write_text("seed = 5\n[rollout]\ncoefficient = 2.5\n")
    arguments = ("config", "show", "--task", "hopper-medium", "--preset", "smoke")
    found = json.loads(mopo(*arguments, "--json", MOPO_DEVICE="cpu").stdout)
    assert set(found) == set(fields_of(TrainConfig))
    here = str(tmp_path / "mopo.toml")
    for key, value, origin in (
        ("task", "hopper-medium", "--task"),
        ("seed", 5, here),
        ("rollout.coefficient", 2.5, here),
        ("rollout.length", 5, "task hopper-medium"),
        ("policy.epochs", found["policy.epochs"]["value"], "preset smoke"),
        ("compute.device", "cpu", "MOPO_DEVICE"),
        ("sac.discount", 0.99, "default"),
    ):
        assert found[key] == {"value": value, "from": origin}
    rows = [line.split(None, 2) for line in mopo(*arguments, "rollout").stdout.splitlines()]
    assert rows[0] == ["key", "value", "from"]
    assert ["rollout.coefficient", "2.5", here] in rows
    assert all(row[0].startswith("rollout.") for row in rows[1:])
    changed = [line.split()[0] for line in mopo("config", "show", "--changed").stdout.splitlines()[1:]]
    assert changed == ["seed", "rollout.coefficient"]
    wrong = mopo("config", "show", "rolout")
    assert (wrong.returncode, "did you mean 'rollout'" in wrong.stderr) == (2, True)


def test_path_names_the_files_and_places(mopo: Command, tmp_path: Path) -> None:
    assert "(not there yet)" in mopo("config", "path").stdout
    (tmp_path / "mopo.toml").write_text("seed = 5\n")
    found = json.loads(mopo("config", "path", "--json").stdout)
    assert found["files"] == [str(tmp_path / "mopo.toml")]
    assert (found["runs"], found["data"]) == (str(tmp_path / "runs"), str(tmp_path / "data"))
    assert Path(found["user_file"]).is_relative_to(tmp_path)


def test_init_makes_a_file_that_changes_nothing_and_explains_everything(mopo: Command, tmp_path: Path) -> None:
    before = mopo("config", "show").stdout
    assert mopo("config", "init").returncode == 0
    text = (tmp_path / "mopo.toml").read_text()
    assert flatten(tomli.loads(text)) == {}
    assert mopo("config", "show").stdout == before
    assert mopo("config", "validate", "mopo.toml").stdout == "mopo.toml: valid\n"
    # With its # gone, every line is a key at its default.
    keys = "\n".join(re.sub(r"^# (?=\w+ = )", "", line) for line in text.splitlines())
    values = {
        key: value for key, value in flatten(tomli.loads(keys)).items() if not key.startswith(("paths.", "keys."))
    }
    assert set(values) == set(fields_of(TrainConfig))
    assert make(TrainConfig, values) == TrainConfig()
    for field in fields_of(TrainConfig).values():
        assert field.metadata["about"] in text
    refused = mopo("config", "init")
    assert (refused.returncode, "exists already" in refused.stderr) == (2, True)
    assert (tmp_path / "mopo.toml").read_text() == text
    assert mopo("config", "init", "--file", "deep/er/x.toml").returncode == 0


def test_init_follows_no_link_into_somebody_elses_file(mopo: Command, tmp_path: Path) -> None:
    (tmp_path / "mopo.toml").symlink_to(tmp_path / "elsewhere")
    assert mopo("config", "init").returncode == 2
    assert not (tmp_path / "elsewhere").exists()


def test_validate_says_everything_that_is_wrong(mopo: Command, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        'seed = -1\nfoo = 3\n[rollout]\nlenth = 2\nlength = "x"\n[dynamics]\nelites = 9\n[paths]\nruns = 3\n'
    )
    done = mopo("config", "validate", "wrong.toml")
    assert (done.returncode, done.stderr) == (2, "")
    problems = done.stdout.splitlines()
    for words in (
        "wrong.toml:9: paths.runs is not a path",
        "wrong.toml:1: seed = -1 is not at least 0",
        "wrong.toml:2: unknown key 'foo'",
        "wrong.toml:4: unknown key 'rollout.lenth'; did you mean 'rollout.length'",
        "wrong.toml:5: rollout.length = 'x' is not a whole number",
        "wrong.toml:7: dynamics.elites = 9 is more than",
    ):
        assert sum(words in problem for problem in problems) == 1, words
    assert len(problems) == 6
    found = json.loads(mopo("config", "validate", "wrong.toml", "--json").stdout)
    assert (found["valid"], found["problems"]) == (False, problems)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[[", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b'[experiment]\nseeds = "4-0"', "0-4, 0,2,5 or 0-2,7"),
        (
            b"[experiment.sweep]\nrollout.lenth = [1]",
            "x.toml:2: experiment.sweep: unknown key 'rollout.lenth'; did you mean",
        ),
        (b'seed = 1\ntask = "hoper-medium"', "x.toml:2: unknown task 'hoper-medium'; did you mean 'hopper-medium'"),
        (b'\npreset = "quik"', "x.toml:2: preset = 'quik' is not one of"),
        (b"[dataset]\nsize = 100", "x.toml:2: dataset.size = 100 is too few"),
        (b"keys.x = 1", "x.toml:1: keys.x"),
        # A line is that of the key at fault, not of another one whose name is among the message's words.
        (b'seed = 1\n"seed of it" = 2', "x.toml:2: unknown key 'seed of it'"),
        (
            b'task = "halfcheetah-jump"\n[environment]\nid = ""\nlegacy_contacts = "on"',
            "x.toml:4: halfcheetah-jump: data that are collected here",
        ),
        (b"experiment = 3", "is a table"),
    ],
)
def test_files_that_cannot_be_used_are_one_line(mopo: Command, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    done = mopo("config", "validate", "x.toml")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (2, "", 1)
    assert words in done.stdout
    assert mopo("config", "validate", "nowhere.toml").returncode == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = 1\n[rollout]\ncoeficient = 2", "exp.toml:3: unknown key 'rollout.coeficient'; did you mean"),
        ('[experiment.sweep]\ntask = ["hoper-medium"]', "exp.toml:2: experiment.sweep: unknown task 'hoper-medium'"),
        ("[dynamics]\nholdout_fraction = 0", "exp.toml:2: dynamics.holdout_fraction = 0 is not more than 0"),
        (
            "[experiment.sweep]\nrollout.real_fraction = [1e-3]",
            "exp.toml:2: experiment.sweep: rollout.real_fraction = 0.001",
        ),
    ],
)
def test_a_run_is_not_begun_from_a_file_with_a_mistake(mopo: Command, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "exp.toml").write_text(text)
    for more in (("--dry-run",), ()):
        done = mopo("run", "--config", "exp.toml", *more)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith(f"mopo: {message}")
    assert not (tmp_path / "runs").exists()


def test_an_experiment_is_valid_and_other_tables_survive_an_edit(mopo: Command, tmp_path: Path) -> None:
    file = tmp_path / "exp.toml"
    text = 'on_finish = "true"\n[experiment]\nseeds = "0-2"\n[experiment.sweep]\nrollout.length = [1, 5]\n'
    file.write_text(text)
    assert mopo("config", "validate", "exp.toml").returncode == 2  # on_finish stands in one's own file only
    assert mopo("config", "set", "seed", "3", "--file", "exp.toml").returncode == 0
    assert 'on_finish = "true"' in file.read_text()
    assert "[experiment.sweep]" in file.read_text()
    file.write_text(text.split("\n", 1)[1])
    assert mopo("config", "validate", "exp.toml").stdout == "exp.toml: valid\n"


def test_keys_of_the_app_are_set_checked_and_no_run_minds_them(mopo: Command, tmp_path: Path) -> None:
    file = tmp_path / "mopo.toml"
    file.touch()
    assert mopo("config", "set", "keys.dashboard.stop", "X").returncode == 0
    assert file.read_text() == '[keys.dashboard]\nstop = "X"\n'
    assert mopo("config", "validate", "mopo.toml").stdout == "mopo.toml: valid\n"
    assert mopo("config", "show", "seed").returncode == 0
    refused = mopo("config", "set", "keys.dashboard.stop", "p")
    assert refused.returncode == 2
    assert refused.stderr == f"mopo: {file}: keys.dashboard.stop: p is dashboard.pause's, too; Stop stays on s\n"
    assert file.read_text() == '[keys.dashboard]\nstop = "X"\n'
    file.write_text('[keys.dashboard]\nstpo = "x"\nstop = "p"\n')
    done = mopo("config", "validate", "mopo.toml")
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.splitlines() == [
        "mopo.toml:2: keys.dashboard.stpo: there is no such action; did you mean keys.dashboard.stop?",
        "mopo.toml:3: keys.dashboard.stop: p is dashboard.pause's, too; Stop stays on s",
    ]
    assert mopo("config", "unset", "keys.dashboard.stop").returncode == 0
    assert mopo("ls").returncode == 0
