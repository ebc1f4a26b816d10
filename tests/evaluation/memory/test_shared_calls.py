"""Calls side by side in shared memory: fresh values, untouched inputs, poisoned outputs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.memory import arena, calls, shared_calls
from BackendBench.vllm_backend.evaluation.memory.shared_calls import bits, blank_inputs, write_rolled
from BackendBench.vllm_backend.operations.operation import Call

CPU = torch.device("cpu")


def rolled(tensors: list[torch.Tensor], shifts: list[int]) -> list[torch.Tensor]:
    """As the tensors arrive in an arena."""
    layout = shared_calls.lay_out([(Call(tuple(tensors)), [])])
    (item,), memory = layout.items, blank_inputs(layout, 1, CPU)
    write_rolled(memory, item, tensors, shifts)
    return [calls.view(memory, place) for place in item.inputs]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 200))
def test_rolling_moves_every_value_and_loses_none(size, shift):
    base = torch.arange(size)
    (fresh,) = rolled([base], [shift])
    assert fresh.tolist() == [(i - shift) % size for i in range(size)]
    assert base.tolist() == list(range(size))


def test_rolling_keeps_shape_and_strides_and_takes_no_memory_of_the_original():
    base = torch.arange(12.0).view(3, 4).t()
    (fresh,) = rolled([base], [5])
    assert (fresh.shape, fresh.stride()) == (base.shape, base.stride())
    assert sorted(fresh.flatten().tolist()) == list(range(12))
    assert not torch.equal(fresh, base)
    fresh.zero_()
    assert base.sum() == 66


def test_rolling_rolls_only_what_the_tensor_touches():
    storage = torch.arange(100.0)
    (fresh,) = rolled([storage[10:20]], [1])
    assert fresh.tolist() == [19.0, *map(float, range(10, 19))]


def test_between_inputs_lies_nothing_that_the_judge_ever_knew():
    tensors = [torch.arange(3, dtype=torch.int8), torch.arange(20.0)[5:9], torch.empty(0), torch.ones(7)]
    layout = shared_calls.lay_out([(Call(tuple(tensors)), []), (Call(tuple(tensors)), [])])
    for count in (1, 2):
        for _ in range(8):
            torch.full((4096,), 7, dtype=torch.uint8)  # what the allocator hands out next
        memory = blank_inputs(layout, count, CPU)
        for item in layout.items[:count]:
            shared_calls.write(memory, item, tensors)
        for item in layout.items[:count]:
            for place, tensor in zip(item.inputs, tensors, strict=True):
                memory[place.start : place.start + tensor.numel() * tensor.element_size()] = 0
        assert not memory.any()


def test_every_tensor_has_its_own_shift_and_nothing_can_be_rolled():
    first, second, scalar, empty = torch.arange(3), torch.arange(3), torch.tensor(7), torch.empty(0, 4)
    fresh = rolled([first, second, scalar, empty], [1, 2, 9, 3])
    assert fresh[0].tolist() == [2, 0, 1]
    assert fresh[1].tolist() == [1, 2, 0]
    assert fresh[2].item() == 7
    assert fresh[3].shape == (0, 4)


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.int8, torch.complex64, torch.float64],
)
@settings(deadline=None)
@given(size=st.integers(0, 33), offset=st.integers(0, 7))
def test_bits_tell_values_that_compare_equal_apart_and_hold_every_byte(dtype, size, offset):
    tensor = torch.arange(size + offset).remainder(2).to(dtype)[offset:]
    found = bits(tensor)
    assert found.numel() * found.element_size() == size * dtype.itemsize
    assert torch.equal(found, bits(tensor.clone())) or found.dtype != bits(tensor.clone()).dtype
    if size:
        other = tensor.clone()
        other.view(torch.uint8)[-1] ^= 1
        mine = tensor.clone()
        assert not torch.equal(bits(mine), bits(other))


def test_negative_zero_and_the_payload_of_a_nan_are_changes():
    assert not torch.equal(bits(torch.tensor([0.0])), bits(torch.tensor([-0.0])))
    nan = torch.tensor([float("nan")])
    other = nan.clone()
    other.view(torch.int32)[0] ^= 1
    assert torch.equal(bits(nan), bits(nan.clone()))
    assert not torch.equal(bits(nan), bits(other))


@pytest.fixture
def laid_out():
    x, y = torch.arange(12.0).view(3, 4).t(), torch.tensor([1, 2, 3], dtype=torch.int8)
    layout = shared_calls.lay_out(
        [(Call((x, 2), {"y": y}), [torch.empty(4, 3)]), (Call((x,)), [torch.empty(3)])]
    )
    buffers = shared_calls.Buffers(layout.input_bytes, layout.output_bytes, CPU)
    yield layout, buffers, [x, y]
    buffers.close()


def test_written_inputs_are_untouched_until_one_byte_changes_even_between_strides(laid_out):
    layout, buffers, tensors = laid_out
    item = layout.items[0]
    buffers.write(item, tensors)
    assert buffers.untouched(item, tensors)
    for place in item.inputs:
        buffers.inputs.tensor[place.start] ^= 1
        assert not buffers.untouched(item, tensors)
        buffers.inputs.tensor[place.start] ^= 1
    assert buffers.untouched(item, tensors)

    step = torch.arange(6.0)[::2]
    other = shared_calls.lay_out([(Call((step,)), [])])
    buffers.write(other.items[0], [step])
    buffers.inputs.tensor[other.items[0].inputs[0].start + 4] ^= 1  # of the element that the view leaves out
    assert not buffers.untouched(other.items[0], [step])


def test_a_poisoned_output_holds_nothing_of_an_earlier_answer(laid_out):
    layout, buffers, _ = laid_out
    for item in layout.items:
        for output in buffers.read(item):
            output.fill_(1.0)
    buffers.poison(layout)
    for item in layout.items:
        for output in buffers.read(item):
            assert set(output.contiguous().view(torch.uint8).flatten().tolist()) == {arena.POISON}
            assert float(output.max()) < -1e6


def test_calls_of_a_layout_share_no_byte(laid_out):
    layout, buffers, _ = laid_out
    assert buffers.hold((layout.input_bytes, layout.output_bytes))
    for side in ("inputs", "outputs"):
        places = sorted((p for item in layout.items for p in getattr(item, side)), key=lambda p: p.start)
        ends = [
            p.start + shared_calls.calls.span(p.shape, p.stride) * getattr(torch, p.dtype).itemsize
            for p in places
        ]
        assert all(end <= after.start for end, after in zip(ends, places[1:], strict=False))
    assert [r["in"] for r in layout.request([1])] == [layout.items[1].request["in"]]
