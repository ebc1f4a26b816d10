"""Calls as data: every tree of arguments and every layout arrives as it was sent."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.memory import calls
from BackendBench.vllm_backend.evaluation.memory.calls import ALIGNMENT, Packing, Place, UnshippableCall
from BackendBench.vllm_backend.operations.operation import Call

DTYPES = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.uint8, torch.bool,
    torch.complex64,
)  # fmt: skip


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Any dtype, shape, order of dimensions, step, expanded dimension and storage offset."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    steps = draw(st.lists(st.integers(1, 3), min_size=len(shape), max_size=len(shape)))
    offset = draw(st.integers(0, 5))
    roomy = [n * step for n, step in zip(shape, steps, strict=True)]
    size = math.prod(roomy)
    values = torch.arange(1, size + offset + 1).remainder(100)
    tensor = values.to(dtype)[offset:].view(roomy)[tuple(slice(None, None, step) for step in steps)]
    tensor = tensor.permute(draw(st.permutations(range(len(shape)))))
    if tensor.dim() and draw(st.booleans()):
        tensor = tensor[:1].expand(3, *tensor.shape[1:]) if tensor.shape[0] else tensor
    return tensor


plain = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.text(max_size=5)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.sampled_from(
        [torch.float32, torch.channels_last, torch.strided, torch.device("cpu"), torch.Size([2, 3])]
    )
)
values = st.recursive(
    plain | tensors(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(mine: Any, other: Any) -> bool:
    """Equal with types; tensors with strides."""
    if isinstance(mine, torch.Size):
        mine = tuple(mine)
    if type(mine) is not type(other):
        return False
    if isinstance(mine, torch.Tensor):
        return (mine.dtype, mine.stride()) == (other.dtype, other.stride()) and torch.equal(mine, other)
    if isinstance(mine, (list, tuple)):
        return len(mine) == len(other) and all(map(same, mine, other))
    if isinstance(mine, dict):
        return list(mine) == list(other) and all(same(v, other[k]) for k, v in mine.items())
    return bool(mine == other)


def sent(call: Call) -> tuple[Call, list[Place]]:
    """The call after its way through JSON and an arena."""
    packing = Packing()
    tree = json.loads(json.dumps(calls.pack(call, packing)))
    places = [Place.from_json(json.loads(json.dumps(p.to_json()))) for p in packing.places]
    memory = torch.full((max(1, packing.cursor),), 0xCB, dtype=torch.uint8)
    for place, tensor in zip(places, packing.tensors, strict=True):
        flat = tensor.as_strided((calls.span(tensor.shape, tensor.stride()),), (1,), tensor.storage_offset())
        calls.view(memory, Place(place.start, tuple(flat.shape), (1,), place.dtype)).copy_(flat)
    return calls.unpack(tree, [calls.view(memory, place) for place in places]), places


@settings(deadline=None)
@given(st.lists(values, max_size=4), st.dictionaries(st.text(max_size=3), values, max_size=3))
def test_a_call_arrives_as_it_was_sent(args, kwargs):
    call = Call(tuple(args), kwargs)
    arrived, _ = sent(call)
    assert same(call.args, arrived.args)
    assert same(dict(call.kwargs), dict(arrived.kwargs))


@settings(deadline=None)
@given(st.lists(tensors(), min_size=1, max_size=4))
def test_places_do_not_overlap_and_keep_the_alignment_of_the_original(given_tensors):
    _, places = sent(Call(tuple(given_tensors)))
    end = 0
    for place, tensor in zip(places, given_tensors, strict=True):
        assert place.start >= end
        assert place.start % ALIGNMENT == tensor.storage_offset() * tensor.element_size() % ALIGNMENT
        end = place.start + calls.span(place.shape, place.stride) * tensor.element_size()


@settings(deadline=None)
@given(tensors())
def test_a_blank_is_shaped_strided_and_aligned_like_the_original(tensor):
    packing = Packing()
    packing.add(tensor)
    blank = calls.blank(packing.places[0], torch.device("cpu"))
    assert (blank.shape, blank.stride(), blank.dtype) == (tensor.shape, tensor.stride(), tensor.dtype)
    if tensor.numel():
        shift = tensor.storage_offset() * tensor.element_size() % ALIGNMENT
        assert blank.storage_offset() * blank.element_size() == shift


def test_nan_and_signed_zero_arrive():
    arrived, _ = sent(Call((math.nan, -0.0, math.inf, complex(math.nan, -0.0))))
    nan, zero, infinity, number = arrived.args
    assert math.isnan(nan) and math.copysign(1, zero) == -1 and infinity == math.inf
    assert math.isnan(number.real) and math.copysign(1, number.imag) == -1


def test_a_conjugate_arrives_as_its_values():
    tensor = torch.tensor([1 + 2j, 3 - 4j]).conj()
    arrived, _ = sent(Call((tensor,)))
    assert arrived.args[0].tolist() == [1 - 2j, 3 + 4j]


@pytest.mark.parametrize("value", [object(), {1, 2}, lambda: None, torch.eye(2).to_sparse()])
def test_what_cannot_be_sent_is_said(value):
    with pytest.raises(UnshippableCall):
        calls.pack(Call((value,)), Packing())


@pytest.mark.parametrize("name", ["load", "float33", "__class__", ""])
def test_only_dtypes_are_taken_from_torch_by_name(name):
    with pytest.raises(ValueError, match="no dtype"):
        calls.dtype_of(name)
