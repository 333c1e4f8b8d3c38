"""A store with seeds of two settings and a run of MB2PO, and what panels take of it."""

from __future__ import annotations

import pytest
from realistic import make_run

from mopo_tui.manager import Run, Store
from mopo_tui.manager.series import RunReader
from mopo_tui.run_view import RunView, read_view
from mopo_tui.widgets.palette import Stroke
from mopo_tui.widgets.seeds import Group, alone


def read(store: Store, tail: str) -> tuple[Run, RunView]:
    """A run and its columns."""
    run = store.find(tail)
    reader = RunReader(run.folder)
    reader.refresh()
    return run, read_view(run.id, reader)


@pytest.fixture(scope="session")
def seeds_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three seeds of MOPO (the last one under way) and two of MBPO on a task with a scale, and one run of MB2PO."""
    root = tmp_path_factory.mktemp("seeds") / "runs"
    root.mkdir()
    for seed in range(3):
        ending, until = ("running", 0.6) if seed == 2 else ("finished", 1.0)
        make_run(
            root, f"20260921-12000{seed}-hopper-medium-replay-mopo-s{seed}-aaa{seed}", task_name="hopper-medium-replay",
            seed=seed, until=until, ending=ending,
        )  # fmt: skip
    for seed in range(2):
        make_run(
            root, f"20260921-13000{seed}-hopper-medium-replay-mbpo-s{seed}-bbb{seed}", task_name="hopper-medium-replay",
            algorithm="mbpo", seed=seed,
        )  # fmt: skip
    make_run(
        root, "20260921-140000-halfcheetah-medium-replay-mb2po-s0-ccc0", task_name="halfcheetah-medium-replay", algorithm="mb2po"
    )  # fmt: skip
    return Store.open(root)


@pytest.fixture(scope="session")
def mopo(seeds_store: Store) -> Group:
    return Group([read(seeds_store, f"aaa{seed}") for seed in range(3)], "mopo")


@pytest.fixture(scope="session")
def mbpo(seeds_store: Store) -> Group:
    return Group([read(seeds_store, f"bbb{seed}") for seed in range(2)], "mbpo", Stroke("orange", "dashed"))


@pytest.fixture(scope="session")
def mb2po(seeds_store: Store) -> Group:
    return alone(*read(seeds_store, "ccc0"))
