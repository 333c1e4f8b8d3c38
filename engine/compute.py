"""How this machine multiplies matrices: threads, device, the GEMM route and whether updates are compiled.

All of it is chosen once per run by `Compute.choose` and recorded in environment.json; a later attempt of the run is given what its
first one chose, so that it does the same arithmetic.

torch's bundled MKL takes its AVX2 kernels on AMD processors, at about half of what a core with AVX-512 can do, which oneDNN
takes. The operator that reaches oneDNN's fp32 product is private to torch, so it is used only where a short probe finds it
present, exact and faster; everywhere else `mm` is torch's own product.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from engine import compiling

ROUTES = ("stock", "onednn")
# Turns of the probe, and the share of the stock route's time that another one may take at most.
PROBES, MUCH_FASTER = 40, 0.9
_route = "stock"


def _onednn_2d(a: Tensor, b: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], "")
    return product


def _product(a: Tensor, b: Tensor) -> Tensor:
    # Narrow products (a critic's last layer) are faster in MKL: oneDNN spends more on preparing than on multiplying.
    if min(a.shape[-2], b.shape[-1], a.shape[-1]) < 8:
        return torch.matmul(a, b)
    if a.dim() == 2:
        return _onednn_2d(a, b)
    return torch.stack([_onednn_2d(x, y) for x, y in zip(a.unbind(0), b.unbind(0), strict=True)])


_library = torch.library.Library("mopo", "DEF")
_library.define("mm(Tensor a, Tensor b) -> Tensor")
_library.impl("mm", _product, "CPU")
torch.library.register_fake("mopo::mm", lambda a, b: a.new_empty((*a.shape[:-1], b.shape[-1])), lib=_library)


class _MatrixProduct(torch.autograd.Function):
    """`mm` with its gradients, written so that `torch.func.grad` and `torch.compile` both accept it.

    torch.library's own autograd registration is refused by `torch.func`; a gradient that nobody asks for is removed by the
    compiler.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        product: Tensor = torch.ops.mopo.mm(a, b)
        return product

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        del output
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        return torch.ops.mopo.mm(grad, b.mT), torch.ops.mopo.mm(a.mT, grad)


def mm(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product along the chosen route: (n, k) x (k, m) -> (n, m), or a stack of them (e, n, k) x (e, k, m) -> (e, n, m)."""
    if _route == "stock":
        return torch.matmul(a, b)
    # Without a view of b the compiler (torch 2.13) loses the gradient of b where a has none.
    product: Tensor = _MatrixProduct.apply(a, b.view(b.shape))
    return product


def probe_route() -> str:
    """The faster exact route on this machine at the current thread count, in about 50 ms.

    A product as on the way forward and one as on the way back to the weights; the routes take turns, and of each the least time
    counts, which another program on the same core lengthens last.
    """
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(256, 256, generator=generator)
    b = torch.randn(256, 256, generator=generator)
    products: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"stock": torch.matmul, "onednn": _onednn_2d}
    least = dict.fromkeys(products, float("inf"))
    try:
        exact = a.double() @ b.double()
        if not torch.allclose(_onednn_2d(a, b).double(), exact, rtol=1e-3, atol=1e-3):
            return "stock"
        for _ in range(PROBES):
            for route, product in products.items():
                start = time.perf_counter()
                product(a, b)
                product(a.mT, b)
                least[route] = min(least[route], time.perf_counter() - start)
    except (AttributeError, RuntimeError, TypeError):
        return "stock"
    return "onednn" if least["onednn"] < MUCH_FASTER * least["stock"] else "stock"


@dataclass(frozen=True)
class Compute:
    """What a run computes with; `asdict` of it stands in environment.json."""

    device: str
    threads: int
    gemm: str
    compiled: bool

    @staticmethod
    def choose(device: str = "cpu", threads: int = 1, gemm: str | None = None, compiled: bool | None = None) -> Compute:
        """Fix threads, route and compile mode for this process.

        Args:
            device: "cpu" or "cuda" (or "cuda:N"), already known to exist.
            threads: torch's intra-op threads.
            gemm: a route to force, or None to probe.
            compiled: a compile mode to force, or None for "compile where compiling works".

        Raises:
            ValueError: for an unknown route.
        """
        global _route
        torch.set_num_threads(threads)
        if gemm is not None and gemm not in ROUTES:
            raise ValueError(f"unknown GEMM route {gemm!r}; routes: {', '.join(ROUTES)}")
        if gemm is None:
            gemm = probe_route() if device == "cpu" else "stock"
        if compiled is None:
            compiled = can_compile()
        _route = gemm
        return Compute(device, threads, gemm, compiled)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` compiled whole, or as it is where this run does not compile."""
        return compiling.whole(function) if self.compiled else function

    def record(self) -> dict[str, object]:
        return asdict(self)


def can_compile() -> bool:
    """Whether torch.compile works here, tried on a small function: it needs a C++ compiler, and that compiler Python's headers."""
    if compiling.compiler() is None:
        return False
    x = torch.arange(64.0)
    try:
        doubled: Tensor = compiling.whole(lambda t: torch.relu(t) * 2)(x)
    except Exception as error:  # inductor raises many kinds; each means the same here
        print(f"torch.compile does not work here, so updates run uncompiled: {str(error).splitlines()[0]}", flush=True)
        return False
    return torch.equal(doubled, 2 * x)
