"""Exported kernels load and run the way in which upstream BackendBench's directory backend loads and calls them."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import torch

from BackendBench.vllm_backend import export as exporting
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.operations.wellknown import TABLE
from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.commit import commit_verdict
from BackendBench.vllm_backend.state.intake import submit_candidate
from BackendBench.vllm_backend.state.store import KernelStore
from tests.commands import farm
from tests.state.samples import accepted, candidate

NUMBA = """
import torch
from numba import njit

@njit
def body(x, y, alpha, out):
    for i in range(x.size):
        out[i] = x[i] + alpha * y[i]

def add_kernel_impl(input, other, *, alpha=1):
    other = torch.as_tensor(other, dtype=input.dtype).expand_as(input).contiguous()
    out = torch.empty_like(input)
    body(input.contiguous().view(-1).numpy(), other.view(-1).numpy(), alpha, out.view(-1).numpy())
    return out
"""
SOFTMAX = """
def softmax_kernel_impl(input, dim, dtype=None):
    x = input if dtype is None else input.to(dtype)
    e = (x - x.amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)
"""
RELU = "def relu_kernel_impl(input):\n    return input.clamp(min={least})\n"


def keep(client: redis.Redis, operation: str, code: str, speedup: float) -> str:
    """A kernel in the store, correct and ``speedup`` times as fast as eager."""
    task = candidate(f"g{speedup}:0", code=code, operation=operation)
    scripts.run(client, submit_candidate(task))
    scripts.run(client, commit_verdict(task, accepted(task, speedup, device="a test")))
    return task.hash


def as_upstream(folder: Path) -> dict[Any, Callable[..., Any]]:
    """Overload to function: the first file by name, loaded by path, the function named after the folder."""
    found = {}
    for directory in sorted(path for path in folder.iterdir() if path.is_dir()):
        name = directory.name
        files = sorted(f.name for f in directory.iterdir() if f.name.startswith(f"{name}_implementation"))
        spec = importlib.util.spec_from_file_location(f"op_{name}", directory / files[0])
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        base, _, overload = name.partition("__")
        found[getattr(getattr(torch.ops.aten, base), overload or "default")] = getattr(
            module, f"{name}_kernel_impl"
        )
    return found


def test_the_best_kernels_load_and_compute(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> None:
    keep(redis_client, "add", NUMBA, 2.0)
    keep(redis_client, "softmax", SOFTMAX, 1.5)
    keep(redis_client, "relu", RELU.format(least=0), 3.0)
    keep(redis_client, "relu", RELU.format(least=-1), 1.0)  # would be wrong: the best one must be loaded
    done = farm("export", "out", "-n", "2", "--redis-url", redis_url, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert sorted(done.out.split()) == [
        "out/add__Tensor/add__Tensor_implementation_v1.py",
        "out/relu__default/relu__default_implementation_v1.py",
        "out/relu__default/relu__default_implementation_v2.py",
        "out/softmax__int/softmax__int_implementation_v1.py",
    ]
    loaded = as_upstream(tmp_path / "out")
    x, y = torch.randn(3, 5), torch.randn(3, 5)
    # As the dispatcher calls an overload: positional arguments, keyword-only ones by name.
    assert torch.allclose(loaded[torch.ops.aten.add.Tensor](x, y), x + y)
    assert torch.allclose(loaded[torch.ops.aten.add.Tensor](x, y, alpha=0.5), x + 0.5 * y)
    assert torch.equal(loaded[torch.ops.aten.relu.default](x), x.relu())
    softmax = loaded[torch.ops.aten.softmax.int]
    assert torch.allclose(softmax(x, -1), x.softmax(-1))
    assert torch.allclose(softmax(x, 0, torch.float64), x.double().softmax(0))


def test_the_files_say_where_they_come_from(
    redis_client: redis.Redis, state: KernelStore, tmp_path: Path
) -> None:
    digest = keep(redis_client, "add", NUMBA, 2.0)
    (file,) = exporting.export(catalog.resolve("add"), state.get_best_kernels("add"), tmp_path)
    first = file.read_text().splitlines()[0]
    assert first.startswith(f"# add.Tensor: kernel {digest[:16]}, 2.000 times eager") and "a test" in first
    assert NUMBA.strip() in file.read_text()
    (note,) = json.loads((file.parent / "kernels.json").read_text())
    assert (note["hash"], note["speedup"]) == (digest, 2.0)


def test_another_export_leaves_nothing_of_the_first(
    redis_client: redis.Redis, state: KernelStore, tmp_path: Path
) -> None:
    for least, speedup in ((0, 3.0), (0.0, 2.0), (-1, 1.0)):
        keep(redis_client, "relu", RELU.format(least=least), speedup)
    relu = catalog.resolve("relu")
    assert len(exporting.export(relu, state.get_best_kernels("relu", 3), tmp_path)) == 3
    (tmp_path / "relu__default" / "notes.txt").write_text("mine")
    exporting.export(relu, state.get_best_kernels("relu", 1), tmp_path)
    assert sorted(path.name for path in (tmp_path / "relu__default").iterdir()) == [
        "kernels.json", "notes.txt", "relu__default_implementation_v1.py",
    ]  # fmt: skip


def test_what_cannot_be_exported_is_said_and_the_rest_is_written(
    redis_client: redis.Redis, redis_url: str, state: KernelStore, tmp_path: Path
) -> None:
    keep(redis_client, "relu", RELU.format(least=0), 0.5)
    keep(redis_client, "mine", "def mine_kernel_impl(x): return x", 2.0)
    state.set_operation_source("mine", "def mine(x): return x")
    done = farm("export", "out", "--redis-url", redis_url, cwd=tmp_path)
    assert done.code == 0 and "left out mine: not an operation of PyTorch" in done.err
    done = farm("export", "out", "--redis-url", redis_url, "--min-speedup", "1", cwd=tmp_path)
    assert done.code == 1 and "left out relu: no kernel that is good enough" in done.err


@pytest.mark.parametrize("name", [row.name for row in TABLE])
def test_every_argument_of_an_overload_reaches_the_kernel(name: str) -> None:
    """Called as the dispatcher calls it; what only chooses an implementation may be dropped."""
    operation = catalog.resolve(name)
    scope: dict[str, Any] = {}
    exec(f"def {name}_kernel_impl{operation.signature}: return locals()", scope)
    exec(exporting.adapter_source(operation), scope)
    arguments = torch._C.parse_schema(operation.overload_signature).arguments
    sent = {a.name: object() for a in arguments}
    positional = [sent[a.name] for a in arguments if not a.kwarg_only]
    by_name = {a.name: sent[a.name] for a in arguments if a.kwarg_only}
    arrived = scope[f"{exporting.folder_name(operation.overload)}_kernel_impl"](*positional, **by_name)
    expected = {id(value) for key, value in sent.items() if key not in exporting.WITHOUT_EFFECT}
    assert {id(value) for value in arrived.values()} >= expected
    same = set(arrived) & set(sent)
    assert all(arrived[key] is sent[key] for key in same)


def test_an_overload_that_takes_more_than_the_kernel_is_refused() -> None:
    add = catalog.resolve("add")
    without_alpha = dataclasses.replace(add, signature="(input, other)")
    with pytest.raises(exporting.ExportError, match=r"add has no parameter for alpha of add\.Tensor"):
        exporting.adapter_source(without_alpha)
    with_more = dataclasses.replace(add, signature="(input, other, third, *, alpha=1)")
    with pytest.raises(exporting.ExportError, match=r"add\.Tensor has no argument for 'third' of add"):
        exporting.adapter_source(with_more)
