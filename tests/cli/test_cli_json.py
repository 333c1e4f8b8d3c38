"""What programs read: `--json` of every command that reads is one document on stdout, with the keys that stand here."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from many_runs import write_run

from mopo_tui.manager import Store

Command = Callable[..., "subprocess.CompletedProcess[str]"]

RUN = (
    "algorithm attempt created eta_s folder group id job kind name note owner preset problem progress reason result return_best "
    "return_last returncode score_best score_last seed stage state summary tags task"
)
# Keys are added, never taken away or renamed: each of these is somebody's script.
DOCUMENTS: dict[tuple[str, ...], str] = {
    ("ls",): f"[{RUN} setting",
    ("show", "ID"): f"{RUN} alerts attempts command config ended environment files folder setting stages wall_s",
    ("logs", "ID"): "id lines state",
    ("queue",): "jobs slots used",
    ("queue", "slots"): "gpus host slots used",
    ("watch", "ID"): f"[{RUN}",
    ("wait", "ID"): f"[{RUN}",
    ("tag", "ID"): "[id tags",
    ("note", "ID"): "id note",
    ("restore",): "[",
    ("compare", "ID"): "by differing runs tasks unfinished warnings",
    ("diff", "ID", "OTHER"): "code compute configuration constants data environment machine runs versions",
    ("reproduce", "ID", "--against", "OTHER"): (
        "a b deviations identical last_step metrics missing reasons rows spread"
    ),
    ("models", "ls"): "[",
    ("config", "path"): "data files runs user_file",
    ("doctor",): "[advice found level name",
    ("run", "--task", "hopper-random", "--dry-run"): "config dataset expected origins",
    ("run", "--task", "hopper-random", "--seeds", "0-1", "--dry-run"): "group note runs tags",
}


def keys(document: Any) -> str:
    if isinstance(document, list):
        return "[" + (keys(document[0]) if document else "")
    return " ".join(document)


@pytest.mark.parametrize("arguments", DOCUMENTS, ids=" ".join)
def test_json_is_one_document_with_these_keys(mopo: Command, store: Store, arguments: tuple[str, ...]) -> None:
    first, second = (write_run(store.root, number, "finished", 3).name for number in (0, 1))
    done = mopo(*(word.replace("ID", first).replace("OTHER", second) for word in arguments), "--json")
    assert done.returncode == 0, done.stderr
    wanted, found = DOCUMENTS[arguments], keys(json.loads(done.stdout))
    assert wanted.startswith("[") == found.startswith("[")
    assert set(wanted.strip("[").split()) <= set(found.strip("[").split())
