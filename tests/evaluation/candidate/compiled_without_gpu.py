"""Compiles first cases of candidates as their process does before it has a context; prints what came of it as JSON.

    python -m tests.evaluation.candidate.compiled_without_gpu OPERATION ...

For every operation a kernel of the grammar, and some modules of its own. In a process of its own: nothing may ask for a
GPU's driver here, and launchers are left out.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

import torch
from triton.runtime.driver import driver

from BackendBench.vllm_backend.evaluation.candidate import triton_support
from BackendBench.vllm_backend.evaluation.candidate.harness import Harness
from BackendBench.vllm_backend.evaluation.candidate.loading import LoadFailure, describe
from BackendBench.vllm_backend.evaluation.correctness import case_plan
from BackendBench.vllm_backend.operations import catalog
from tests.generation.grammar.checking import write
from tests.pretended_driver import HOPPER, PretendedDriver

CPU = torch.device("cpu")
KERNEL = """
import torch
import triton
import triton.language as tl

@triton.jit
def _copy(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + offsets, tl.{load}(x_ptr + offsets, mask=offsets < n), mask=offsets < n)

_kept = {{}}

def relu_kernel_impl(x):
    y = torch.empty_like(x)
    {line}
    _copy[(1,)](x, y, x.numel(), BLOCK=128)
    return y
"""


def returning(what: str) -> str:
    """A module that compiles and returns this."""
    return KERNEL.format(load="load", line="pass").replace("return y", f"return {what}")


MODULES = {
    "plain": KERNEL.format(load="load", line="pass"),
    "keeps a figure": KERNEL.format(
        load="load", line="_kept[0] = triton.runtime.driver.active.utils.get_device_properties(0)"
    ),
    "keeps the driver": KERNEL.format(load="load", line="_kept[0] = triton.runtime.driver.active"),
    "keeps a storage": KERNEL.format(load="load", line="_kept[0] = x.untyped_storage()"),
    "tells tensors by their addresses": KERNEL.format(
        load="load", line="assert x.data_ptr() != y.data_ptr() == y.data_ptr()"
    ),
    "enters the only GPU": KERNEL.format(load="load", line="torch.cuda.device(x.device).__enter__()"),
    "makes a stream": KERNEL.format(load="load", line="torch.cuda.Stream()"),
    "is tuned and does not compile": KERNEL.format(load="lood", line="pass").replace(
        "@triton.jit", "@triton.autotune([triton.Config({}, num_warps=2)], key=['n'])\n@triton.jit"
    ),
    "asks for the GPU in a call": KERNEL.format(load="load", line="torch.cuda.get_device_capability()"),
    "asks for the GPU when loaded": KERNEL.format(load="load", line="pass")
    + "\ntry:\n    torch.cuda.current_device()\nexcept RuntimeError:\n    pass\n",
    "fails when loaded": KERNEL.format(load="load", line="pass") + "\nraise ValueError\n",
    "keeps a workspace": KERNEL.format(load="load", line="_kept.setdefault(x.shape, torch.empty_like(x))"),
    "asks for a value": KERNEL.format(load="load", line="y = y if x.sum() > 0 else y"),
    "fills the memory": KERNEL.format(load="load", line="y = [torch.empty(1 << 28) for _ in iter(int, 1)]"),
    "does not compile": KERNEL.format(load="lood", line="pass"),
    "returns another shape": returning("y.reshape(-1)"),
    "returns another dtype": returning("y.double()"),
    "returns its input": returning("x.view(x.shape)"),
    "returns nothing": returning("None"),
    "returns two": returning("y, y"),
    "returns an expanded tensor": returning("y.new_empty(()).expand(x.shape)"),
    "guesses where it gets no value": KERNEL.format(
        load="load",
        line="""try:
        float(x.reshape(-1)[0])
    except Exception:
        y = y.double()""",
    ),
    "returns a constant": returning("_zeros") + "\n_zeros = torch.zeros(3)\n",
    "asks the driver": KERNEL.format(load="load", line="triton.runtime.driver.active.no_such_question()"),
}


def first_cases(operation: str) -> list[dict[str, Any]]:
    """As the judge asks for them."""
    return case_plan.prepare(catalog.resolve(operation), CPU, 1).chunks[0].layout.request()


def compiled(
    operation: str, code: str, requests: list[dict[str, Any]], gpu: dict[str, int] | None
) -> dict[str, Any]:
    """The reply of a candidate's process, with the kernels that were compiled."""
    made: list[Any] = []
    triton_support._make_launcher = made.append
    harness = Harness(socket.socketpair()[0])
    asked = {"code": code, "function": f"{operation}_kernel_impl", "bare": gpu is not None}
    try:
        loaded = harness._load(asked, [])
    except LoadFailure as error:
        loaded = {"failure": describe(error)}
    if loaded:
        return {**loaded, "kernels": []}
    request = {"threads": 1, "calls": requests, "turns": list(range(len(requests)))}
    request |= {"gpu": gpu, "nice": 10, "needed": len(requests)}
    reply = harness._dry_run(request, [])
    return {**reply, "kernels": sorted(kernel.hash for kernel in made)}


def main() -> None:
    """See the module's docstring."""
    found: dict[str, Any] = {"before": driver._active is None}
    found["modules"] = {
        name: compiled("relu", code, first_cases("relu"), HOPPER) for name, code in MODULES.items()
    }
    found["after"] = driver._active is None
    codes = {operation: write(operation, "triton", 1)[0].code for operation in sys.argv[1:]}
    asked = {operation: first_cases(operation) for operation in codes}
    found["absent"] = {name: compiled(name, codes[name], asked[name], HOPPER) for name in codes}
    driver.set_active(PretendedDriver())
    found["present"] = {name: compiled(name, codes[name], asked[name], None) for name in codes}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
