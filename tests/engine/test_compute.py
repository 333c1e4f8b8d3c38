"""How a run chooses what it computes with: the private product only where it is exact and faster; compiling where it works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import compute
from engine.compute import Compute


@pytest.fixture(autouse=True)
def stock_afterwards() -> Iterator[None]:
    yield
    Compute.choose(threads=1, gemm="stock", compiled=False)


def absent(_a: Tensor, _b: Tensor) -> Tensor:
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")


def inexact(a: Tensor, b: Tensor) -> Tensor:
    return (a.bfloat16() @ b.bfloat16()).float()


def slower(a: Tensor, b: Tensor) -> Tensor:
    time.sleep(0.002)
    return a @ b


def faster(a: Tensor, _b: Tensor) -> Tensor:
    return EXACT if a.is_contiguous() else BACK


GENERATOR = torch.Generator().manual_seed(0)
A, B = (torch.randn(256, 256, generator=GENERATOR) for _ in range(2))
EXACT, BACK = A @ B, A.mT @ B


@pytest.mark.parametrize(
    ("product", "route"), [(absent, "stock"), (inexact, "stock"), (slower, "stock"), (faster, "onednn")]
)
def test_the_private_product_is_taken_where_it_is_there_and_exact_and_faster(
    product: object, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "_onednn_2d", product)
    chosen = Compute.choose("cpu", threads=1, compiled=False)
    assert (chosen.gemm, chosen.record()["gemm"]) == (route, route)


def test_without_a_compiler_updates_run_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    chosen = Compute.choose("cpu", threads=1, gemm="stock")
    assert not chosen.compiled
    assert chosen.compile(absent) is absent


def test_an_unknown_route_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown GEMM route 'mkl'; routes: stock, onednn"):
        Compute.choose("cpu", gemm="mkl")
