"""What a shell is offered for a half-typed word."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from many_runs import write_run, write_store

from engine import record
from mopo_tui.manager import Run, Store

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(mopo: Command) -> Complete:
    def call(line: str) -> list[str]:
        """The words offered for the last word of `line`."""
        words = line.split(" ")
        done = mopo(_MOPO_COMPLETE="complete_bash", COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1))
        assert done.stderr == ""
        return done.stdout.split()

    return call


def test_runs_by_name_id_and_tail(complete: Complete, make_run: Callable[..., Run], store: Store) -> None:
    run = make_run("mine")
    assert complete("mopo show ") == ["latest", "mine"]
    assert complete("mopo show late") == ["latest"]
    assert complete("mopo logs min") == ["mine"]
    assert complete(f"mopo show {run.id[:10]}") == [run.id]
    assert run.id[-4:] in complete(f"mopo show {run.id[-4:-1]}")
    elsewhere = Store.open(store.root.parent / "elsewhere")
    shutil.move(run.folder, elsewhere.root)
    assert complete("mopo show min") == []
    assert complete(f"mopo show --runs {elsewhere.root} min") == ["mine"]
    assert complete(f"mopo --runs {elsewhere.root} show min") == ["mine"]


def test_groups_tasks_states_and_fields(complete: Complete, store: Store) -> None:
    folder = write_run(store.root, 0, "finished", 1)
    about = record.read_json(folder / record.RUN) or {}
    record.write_json(folder / record.RUN, {**about, "group": "ant-sweep"})
    for command in ("tag", "watch", "rm", "ls --group", "compare", "stop"):
        assert "ant-sweep" in complete(f"mopo {command} ant-s")
    assert complete("mopo tasks halfcheetah-j") == ["halfcheetah-jump"]
    assert complete("mopo ls --state q") == ["queued"]
    assert complete("mopo ls --sort-by policy/te") == ["policy/temperature"]
    assert complete("mopo ls --sort-by rollout.coe") == ["rollout.coefficient"]
    assert complete("mopo config set keys.dashboard.sto") == ["keys.dashboard.stop"]
    assert complete("mopo config set pat") == ["paths.runs", "paths.data"]
    assert complete("mopo completion f") == ["fish"]


def test_a_renamed_run_goes_by_its_new_name_at_once(complete: Complete, mopo: Command, store: Store) -> None:
    folder = write_run(store.root, 0, "finished", 1)
    past = (folder / record.RUN).stat().st_mtime - 60
    for path in folder.iterdir():
        os.utime(path, (past, past))
    mopo("ls")  # makes the index
    assert complete("mopo show ant-an")[0] == "ant-angle-mopo-s0"
    mopo("rename", folder.name, "newer")
    assert complete("mopo show n") == ["newer"]


def test_nothing_that_a_shell_might_run_is_offered(complete: Complete, make_run: Callable[..., Run]) -> None:
    names = ("$(touch x)", "a;b", "`x`", "two words", "*", "-rf", 'a"b', "a'b", "näher", "=ls", "~root")
    runs = [make_run(name) for name in names]
    offered = complete("mopo show ")
    assert offered == ["latest", *(run.id for run in reversed(runs))]
    # Nothing but the ends of ids begins so.
    assert set(complete("mopo show a")) <= {run.id[-4:] for run in runs}


def test_without_a_store_nothing_is_offered_and_nothing_made(complete: Complete, tmp_path: Path) -> None:
    assert complete("mopo show ") == ["latest"]
    assert not (tmp_path / "runs").exists()
    (tmp_path / "mopo.toml").write_text("[[")
    assert complete("mopo show --runs nowhere x") == []


def test_torn_runs_keep_no_name_from_being_offered(complete: Complete, store: Store) -> None:
    folders = write_store(store.root, 6)
    (folders[0] / record.RUN).write_text("{")
    (folders[1] / record.META).write_text('{"name": 5}')
    (store.root / ".index.json").write_text('{"version": 1, "runs": {"x": []}}')
    assert len(complete("mopo show 2026")) == 5


def test_completing_loads_nothing_heavy(store: Store, environment: dict[str, str]) -> None:
    write_store(store.root, 6)
    code = """
import atexit, sys
heavy = ("torch", "numpy", "textual", "rich.console", "gymnasium", "pandas")
atexit.register(lambda: print("LOADED", *(name for name in heavy if name in sys.modules)))
from mopo_tui.cli import main
main([])
"""
    variables = {"_MOPO_COMPLETE": "complete_bash", "COMP_WORDS": "mopo show h", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment | variables)
    assert done.stdout.splitlines()[-1] == "LOADED"
    assert "hopper-medium-mopo-s0" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(mopo: Command, shell: str) -> None:
    done = mopo("completion", shell)
    assert done.returncode == 0
    assert f"_MOPO_COMPLETE=complete_{shell}" in done.stdout
    wrong = mopo("completion", "tcsh")
    assert (wrong.returncode, "bash, zsh, fish" in wrong.stderr) == (2, True)


@pytest.fixture
def shell_environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment in which a shell finds `mopo`."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "mopo"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mopo_tui.cli "$@"\n')
    program.chmod(0o755)
    return environment | {"PATH": f"{tmp_path / 'bin'}:{environment['PATH']}"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_a_run(make_run: Callable[..., Run], shell_environment: dict[str, str], tmp_path: Path) -> None:
    make_run("mine")
    script = """
source <(mopo completion bash)
COMP_WORDS=(mopo show mi) COMP_CWORD=2
_mopo_completion mopo
echo "${COMPREPLY[@]}"
complete -p mopo
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=shell_environment, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "mine"
    assert "_mopo_completion mopo" in done.stdout


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_completes_a_run(make_run: Callable[..., Run], shell_environment: dict[str, str], tmp_path: Path) -> None:
    make_run("swept-lr=0.001-s0")
    # A terminal of its own, in which a person types the beginning of a name and the tabulator.
    script = r"""
mopo completion zsh > bin/_mopo
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "fpath=($PWD/bin \$fpath); autoload -Uz compinit; compinit -u -D; print COMP''LETES"
zpty -r -m shell said '*COMPLETES*'
zpty -w -n shell $'mopo show swep\t'
zpty -r -m shell said '*t-lr=0.001-s0*'
zpty -d shell
print completed
"""
    done = subprocess.run(
        ["zsh", "-f", "-c", script], capture_output=True, text=True, env=shell_environment, cwd=tmp_path, timeout=60
    )
    assert (done.stdout, done.stderr) == ("completed\n", "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes_a_run(make_run: Callable[..., Run], shell_environment: dict[str, str], tmp_path: Path) -> None:
    make_run("mine")
    script = "mopo completion fish | source; complete -C 'mopo show mi'; complete -C 'mopo run --task ant-an'"
    done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, env=shell_environment, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.split() == ["mine", "ant-angle"]
