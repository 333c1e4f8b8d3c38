"""Which runs count as seeds of one setting."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from engine import record
from mopo_tui.manager import Run
from mopo_tui.manager.groups import group_key, setting_key

RECORDED: dict[str, Any] = {
    "versions": {"torch": "2.13", "gymnasium": "1.4.0"},
    "dataset": {"id": "mopo/x", "fingerprint": "f" * 64},
    "environment": {"id": "HalfCheetah-v5", "options": {}},
    "references": {"random": {"return": -280.0, "stderr": 3.0}, "scale": {"min": -280.0, "max": 12135.0}},
}


def test_seed_name_and_compute_do_not_make_another_setting(make_run: Callable[..., Run]) -> None:
    a = make_run("first")
    b = make_run("second", seed=7, **{"compute.threads": 2, "compute.compile": True, "compute.device": "cuda"})
    c = make_run(**{"dataset.seed": 1})
    d = make_run(**{"rollout.coefficient": 2.0})
    keys = [setting_key(run.folder) for run in (a, b, c, d)]
    assert keys[0] == keys[1]
    assert len({*keys}) == 3
    assert all(len(key) == 12 and set(key) <= set("0123456789abcdef") for key in keys)


def test_a_folder_that_cannot_be_read_has_no_setting(make_run: Callable[..., Run]) -> None:
    run = make_run()
    (run.folder / record.CONFIG).write_text("seed = [")
    assert setting_key(run.folder) == group_key(run.folder) == ""
    assert setting_key(run.folder / "nowhere") == ""


def test_a_text_that_is_no_unicode_still_has_a_group(make_run: Callable[..., Run]) -> None:
    run = make_run()
    (run.folder / record.ENVIRONMENT).write_text('{"versions": {"torch": "\\ud800"}}')
    assert len(group_key(run.folder)) == 12


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("versions", {"torch": "2.12", "gymnasium": "1.4.0"}),
        ("dataset", {"id": "mopo/x", "fingerprint": "e" * 64}),
        ("environment", {"id": "HalfCheetah-v4", "options": {}}),
        ("environment", {"id": "HalfCheetah-v5", "options": {"angle": 20.0}}),
        ("references", {"random": {"return": -280.0}, "scale": {"min": -281.0, "max": 12135.0}}),
        ("references", {"random": {"return": -270.0}, "scale": {"min": -280.0, "max": 12135.0}}),
    ],
)
def test_data_world_versions_and_constants_part_groups(
    make_run: Callable[..., Run], part: str, value: dict[str, Any]
) -> None:
    a, b, c = make_run(), make_run(seed=1), make_run(seed=2)
    record.write_json(a.folder / record.ENVIRONMENT, RECORDED | {"host": "one", "git_commit": "aaa"})
    record.write_json(b.folder / record.ENVIRONMENT, RECORDED | {"host": "two", "git_commit": "bbb"})
    record.write_json(c.folder / record.ENVIRONMENT, RECORDED | {part: value})
    assert group_key(a.folder) == group_key(b.folder) != ""
    assert group_key(c.folder) != group_key(a.folder)
    assert setting_key(c.folder) == setting_key(a.folder)


def test_groups_need_no_numpy() -> None:
    code = "import sys, mopo_tui.manager.groups; print([n for n in ('numpy', 'torch', 'textual') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
