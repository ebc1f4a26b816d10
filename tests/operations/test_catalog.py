"""Operations by name, found in the table or by tracing PyTorch's own database."""

from __future__ import annotations

import json

import pytest
import torch

from BackendBench.vllm_backend.operations import catalog, trace_cache
from BackendBench.vllm_backend.operations.families import FAMILIES
from BackendBench.vllm_backend.operations.wellknown import TABLE
from tests.commands import farm

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("layernorm", "layer_norm"), ("layer_norm", "layer_norm"), ("nn.functional.layer_norm", "layer_norm"),
        ("native_layer_norm", "layer_norm"), ("LayerNorm", "layer_norm"), ("aten::native_layer_norm", "layer_norm"),
        ("torch.ops.aten.add.Tensor", "add"), ("add__Tensor", "add"), ("add.Tensor", "add"), ("__radd__", "add"),
        ("Softmax", "softmax"), ("_softmax", "softmax"), ("F.silu", "silu"), ("swish", "silu"), ("fix", "trunc"),
        ("linalg.det", "linalg_det"), ("nn.functional.mse_loss", "mse_loss"),
    ],
)  # fmt: skip
def test_every_spelling_of_a_name_is_one_operation(spelling, name):
    assert catalog.resolve(spelling).name == name
    assert catalog.resolve(spelling) is catalog.resolve(name)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("sofmax", "did you mean softmax"), ("layrnorm", "layer_norm"), ("zzzz", "backendbench-vllm operations"),
        ("conv2d", "composite"), ("relu\nrelu", "relu"),
    ],
)  # fmt: skip
def test_an_unknown_name_gives_the_nearest_ones_in_one_line(wrong, hint):
    with pytest.raises(catalog.UnknownOperation) as caught:
        catalog.resolve(wrong)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_keeps_its_order_and_names_each_operation_once():
    assert [o.name for o in catalog.parse_list("softmax, relu,layernorm,,layer_norm")] == [
        "softmax", "relu", "layer_norm",
    ]  # fmt: skip
    with pytest.raises(catalog.UnknownOperation):
        catalog.parse_list(" , ")


def test_names_are_unique_identifiers_that_resolve_to_themselves():
    names = catalog.names()
    assert len(set(names)) == len(names)
    assert len(names) > len(TABLE) + 200
    overloads = set()
    for name in names:
        operation = catalog.resolve(name)
        assert operation.name == name
        assert name.isidentifier()
        assert operation.family in FAMILIES
        assert operation.overload not in overloads
        overloads.add(operation.overload)
        assert str(catalog.overload_of(operation.overload)) == f"aten.{operation.overload}"


@pytest.mark.parametrize(
    "name", ["acos", "fmod", "gather", "topk", "complex", "view_copy", "linalg_det", "isin"]
)
def test_a_traced_operation_has_cases_and_workloads(name):
    operation = catalog.resolve(name)
    cases = operation.make_cases(CPU, 1)
    assert cases
    again = operation.make_cases(CPU, 2)
    assert [c.name for c in again] == [c.name for c in cases]
    for case in cases:
        operation.reference(*case.call.args, **case.call.kwargs)
    workloads = operation.make_workloads(CPU)
    assert workloads
    for workload in workloads:
        call = workload.make(CPU, torch.Generator().manual_seed(3))
        operation.reference(*call.args, **call.kwargs)
        assert workload.bytes_moved > 0
        assert workload.origin in ("synthetic", "OpInfo")


@pytest.mark.parametrize("name", ["relu", "layer_norm", "acos", "topk"])
def test_the_reference_of_a_resolved_operation_needs_no_trace(name, monkeypatch):
    operation = catalog.resolve(name)
    monkeypatch.delattr(trace_cache, "traced")
    assert catalog.reference_of(name, operation.overload, "") is operation.reference
    with pytest.raises(catalog.UnknownOperation):
        catalog.reference_of("no_such_operation", "", "")


def test_a_broken_cache_is_traced_anew(tmp_path, monkeypatch):
    found = trace_cache.traced()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(trace_cache, "_trace_apart", lambda: found[:3])
    for text in ("", "{", '{"infos": [{"name": 1}]}', '{"infos": []}'):
        trace_cache.traced.cache_clear()
        trace_cache.path().parent.mkdir(exist_ok=True)
        trace_cache.path().write_text(text)
        assert trace_cache.traced() == found[:3]
        assert len(json.loads(trace_cache.path().read_text())["infos"]) == 3
    trace_cache.traced.cache_clear()


def test_the_command_lists_operations_by_family(tmp_path):
    done = farm("operations", "--json", cwd=tmp_path)
    assert done.code == 0
    listed = json.loads(done.out)
    names = [name for members in listed["families"].values() for name in members]
    assert sorted(names) == sorted(catalog.names())
    assert listed["count"] == len(names)
    assert (
        listed["opinfo"]["mapped"]
        + sum(number for reason, number in listed["opinfo"]["reasons"].items() if reason != "mapped")
        == listed["opinfo"]["total"]
    )
    only = farm("operations", "--family", "normalisation", cwd=tmp_path)
    assert only.out.startswith("normalisation (6)")
    assert "elementwise" not in only.out
    assert farm("operations", "--family", "none", cwd=tmp_path).refused("--family", "elementwise")
