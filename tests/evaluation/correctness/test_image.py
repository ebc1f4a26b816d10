"""The image of a chunk: it calls right only what a comparison of the single tensors calls right, and what is right."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.correctness import case_plan, outputs
from BackendBench.vllm_backend.evaluation.correctness.case_plan import CasePlan, Chunk
from BackendBench.vllm_backend.evaluation.correctness.image import Image
from BackendBench.vllm_backend.evaluation.memory import calls
from BackendBench.vllm_backend.evaluation.memory.shared_calls import Buffers
from BackendBench.vllm_backend.operations import catalog

CPU = torch.device("cpu")
OPERATIONS = ["softmax", "exp", "add", "sum", "relu", "native_layer_norm", "argmax", "eq"]
"""Together: rounding, complex numbers, integers, bools, several outputs, empty and 0-d tensors, NaN and infinity."""


@functools.cache
def plan(name: str) -> CasePlan:
    """All cases, made once."""
    return case_plan.prepare(catalog.resolve(name), CPU, 3)


def described(tensor: torch.Tensor) -> dict[str, Any]:
    """As a candidate's process tells of an output that is as it should be."""
    return {
        "shape": list(tensor.shape), "dtype": calls.dtype_name(tensor.dtype), "device": "cpu", "plain": True,
        "stride": list(torch.empty(tensor.shape, device="meta").stride()), "aliases_input": False,
        "aliases_output": False,
    }  # fmt: skip


def answered(chunk: Chunk) -> tuple[Buffers, dict[str, Any]]:
    """Memory in which a candidate has left eager's own answers, and its reply."""
    image = chunk.image
    assert image is not None
    buffers = Buffers(chunk.layout.input_bytes, chunk.layout.output_bytes, CPU)
    buffers.write_all(image.inputs)
    buffers.poison(chunk.layout)
    for item, case in zip(chunk.layout.items, chunk.cases, strict=True):
        for place, tensor in zip(buffers.read(item), case.expected, strict=True):
            place.copy_(tensor)
    results = [{"structure": "tensors", "outputs": [described(t) for t in c.expected]} for c in chunk.cases]
    return buffers, {"results": results}


def every_case_right(name: str, chunk: Chunk, buffers: Buffers, reply: dict[str, Any]) -> bool:
    """By the comparison of the single tensors."""
    operation = catalog.resolve(name)
    return all(
        outputs.check_case(operation, reply, index, item, case, buffers) is None
        for index, (item, case) in enumerate(zip(chunk.layout.items, chunk.cases, strict=True))
    )


def chunks(name: str) -> list[Chunk]:
    """Those that have an image."""
    made = plan(name)
    assert made.endurance is not None
    return [c for c in [*made.chunks, made.endurance] if c.image is not None]


def short(name: str) -> list[Chunk]:
    """Those of a few calls."""
    return [chunk for chunk in chunks(name) if len(chunk.cases) < 100]


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_inputs_of_an_image_are_those_of_the_single_tensors(name: str):
    for chunk in chunks(name):
        buffers, _ = answered(chunk)
        for item, case in zip(chunk.layout.items, chunk.cases, strict=True):
            assert buffers.untouched(item, case.inputs)


@pytest.mark.parametrize("name", OPERATIONS)
def test_eagers_own_answers_are_the_same_and_right(name: str):
    for chunk in chunks(name):
        buffers, reply = answered(chunk)
        image, memory = chunk.image, buffers.outputs.tensor
        assert isinstance(image, Image)
        assert image.same(memory)
        assert image.right(memory)
        assert outputs.all_right(reply, chunk, buffers)


def test_rounding_is_right_though_not_the_same():
    for chunk in chunks("softmax"):
        buffers, reply = answered(chunk)
        changed = False
        for item in chunk.layout.items:
            for tensor in buffers.read(item):
                nearby = tensor.nextafter(torch.full_like(tensor, 1.0)) if tensor.numel() else tensor
                changed |= not torch.equal(nearby, tensor)
                tensor.copy_(nearby)
        assert isinstance(chunk.image, Image)
        assert bool(chunk.image.same(buffers.outputs.tensor)) is not changed
        assert chunk.image.right(buffers.outputs.tensor)
        assert outputs.all_right(reply, chunk, buffers)


def test_a_changed_input_is_seen_wherever_it_lies():
    for chunk in short("add"):
        buffers, reply = answered(chunk)
        for item in chunk.layout.items:
            for place in item.inputs:
                size = calls.span(place.shape, place.stride) * calls.dtype_of(place.dtype).itemsize
                for position in {place.start, place.start + size - 1} if size else ():
                    buffers.inputs.tensor[position] ^= 1
                    assert not outputs.all_right(reply, chunk, buffers)
                    buffers.inputs.tensor[position] ^= 1
        assert outputs.all_right(reply, chunk, buffers)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(OPERATIONS), which=st.integers(0, 99), where=st.floats(0, 1, exclude_max=True),
    value=st.sampled_from([0x00, 0x01, 0x3F, 0x7F, 0x80, 0xC0, 0xFF]) | st.integers(0, 255), count=st.integers(1, 16),
)  # fmt: skip
def test_what_an_image_calls_right_is_right(name: str, which: int, where: float, value: int, count: int):
    found = chunks(name)
    chunk = found[which % len(found)]
    if not chunk.layout.output_bytes:
        return
    buffers, reply = answered(chunk)
    memory = buffers.outputs.tensor
    start = int(where * chunk.layout.output_bytes)
    memory[start : start + count] = value
    assert isinstance(chunk.image, Image)
    if chunk.image.right(memory):
        assert every_case_right(name, chunk, buffers, reply)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_answer_that_nobody_wrote_is_not_right(name: str):
    for chunk in short(name):
        buffers, reply = answered(chunk)
        for item in chunk.layout.items:
            written = [t for t in item.outputs if calls.span(t.shape, t.stride)]
            if not written:
                continue
            place = written[-1]
            end = place.start + calls.span(place.shape, place.stride) * calls.dtype_of(place.dtype).itemsize
            before = buffers.outputs.tensor[place.start : end].clone()
            buffers.outputs.tensor[place.start : end] = 0xCB
            assert not outputs.all_right(reply, chunk, buffers)
            buffers.outputs.tensor[place.start : end] = before


def test_a_number_is_no_infinity():
    seen = 0
    for chunk in chunks("exp"):
        buffers, reply = answered(chunk)
        for item, case in zip(chunk.layout.items, chunk.cases, strict=True):
            for tensor, eager in zip(buffers.read(item), case.expected, strict=True):
                if not (eager.is_floating_point() and eager.isinf().any()):
                    continue
                tensor[eager.isinf()] = 1.0
                assert isinstance(chunk.image, Image)
                assert not chunk.image.right(buffers.outputs.tensor)
                assert not outputs.all_right(reply, chunk, buffers)
                tensor.copy_(eager)
                seen += 1
    assert seen


def test_large_chunks_have_no_image_and_are_compared_all_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(case_plan, "IMAGE_BYTES", 1 << 12)
    made = case_plan.prepare(catalog.resolve("softmax"), CPU, 3)
    (large, *_) = [c for c in made.chunks if c.image is None]
    assert any(c.image is not None for c in made.chunks)
    assert made.endurance is not None and len(made.endurance.cases) >= 3
    buffers = Buffers(large.layout.input_bytes, large.layout.output_bytes, CPU)
    for item, case in zip(large.layout.items, large.cases, strict=True):
        buffers.write(item, case.inputs)
        for place, tensor in zip(buffers.read(item), case.expected, strict=True):
            place.copy_(tensor)
    reply = {
        "results": [
            {"structure": "tensors", "outputs": [described(t) for t in c.expected]} for c in large.cases
        ]
    }
    assert not outputs.all_right(reply, large, buffers)
    assert every_case_right("softmax", large, buffers, reply)


def test_what_lies_between_the_outputs_is_left_to_the_long_way():
    (chunk, *_) = [c for c in chunks("softmax") if len(c.layout.items) > 1]
    buffers, reply = answered(chunk)
    item = chunk.layout.items[0].outputs[0]
    end = item.start + calls.span(item.shape, item.stride) * calls.dtype_of(item.dtype).itemsize
    assert end < chunk.layout.items[1].outputs[0].start
    buffers.outputs.tensor[end] ^= 1
    assert not outputs.all_right(reply, chunk, buffers)
    assert every_case_right("softmax", chunk, buffers, reply)
