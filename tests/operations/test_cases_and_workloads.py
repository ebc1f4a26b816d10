"""The inputs that well-known operations are tested and timed with."""

from __future__ import annotations

import pytest
import torch

from BackendBench.vllm_backend.operations import catalog, trees
from BackendBench.vllm_backend.operations.wellknown import TABLE

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NAMES = [row.name for row in TABLE]
MOST_CASES = 60


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_of_cases_do_not_depend_on_the_seed_and_values_do(name):
    operation = catalog.resolve(name)
    one, same, other = (operation.make_cases(CPU, seed) for seed in (5, 5, 6))
    assert 5 <= len(one) <= MOST_CASES
    assert len({c.name for c in one}) == len(one)
    assert [c.name for c in one] == [c.name for c in other]
    assert [trees.structure(c.call) for c in one] == [trees.structure(c.call) for c in other]
    for first, second in zip(one, same, strict=True):
        for a, b in zip(trees.tensors(first.call), trees.tensors(second.call), strict=True):
            assert torch.equal(a.nan_to_num(), b.nan_to_num()) if a.is_floating_point() else torch.equal(a, b)
    changed = [
        not torch.equal(a, b)
        for first, second in zip(one, other, strict=True)
        for a, b in zip(trees.tensors(first.call)[:1], trees.tensors(second.call)[:1], strict=True)
        if a.numel() > 3 and "special" not in first.name
    ]
    assert sum(changed) > len(changed) / 2


@pytest.mark.parametrize("name", NAMES)
def test_cases_leave_the_generators_of_others_alone(name):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    catalog.resolve(name).make_cases(CPU, 5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_workloads_have_an_origin_costs_and_fresh_values(name):
    operation = catalog.resolve(name)
    workloads = operation.make_workloads(CPU)
    assert 2 <= len(workloads) <= 4
    assert len({w.name for w in workloads}) == len(workloads)
    for workload in workloads:
        generator = torch.Generator().manual_seed(1)
        call, other = workload.make(CPU, generator), workload.make(CPU, generator)
        assert trees.structure(call) == trees.structure(other)
        assert not torch.equal(trees.tensors(call)[0], trees.tensors(other)[0])
        output = operation.reference(*call.args, **call.kwargs)
        assert output.isfinite().all()
        assert workload.bytes_moved >= output.numel() * output.element_size()
        assert ": " in workload.origin and "(" in workload.origin


@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_has_more_and_larger_workloads(name):
    operation = catalog.resolve(name)
    workloads = operation.make_workloads(CUDA)
    assert 3 <= len(workloads) <= 6
    assert len({w.name for w in workloads}) == len(workloads)
    smallest = min(w.bytes_moved for w in operation.make_workloads(CPU))
    for workload in workloads:
        assert workload.bytes_moved > smallest
        assert workload.bytes_moved < 1 << 30


def test_costs_are_those_of_the_shapes():
    matmul = catalog.resolve("matmul").make_workloads(CPU)[0]
    assert "32x2048 2048x512" in matmul.name
    assert matmul.flops == 2 * 32 * 2048 * 512
    assert matmul.bytes_moved == 4 * (32 * 2048 + 2048 * 512 + 32 * 512)
    add = catalog.resolve("add").make_workloads(CPU)[0]
    assert add.bytes_moved == 3 * 4 * 1024 * 2048
