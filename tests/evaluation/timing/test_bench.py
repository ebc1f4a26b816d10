"""How many calls a timed block has, and how its inputs change."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.memory import calls
from BackendBench.vllm_backend.evaluation.memory.shared_calls import BlockInputs, Buffers
from BackendBench.vllm_backend.evaluation.timing import bench
from BackendBench.vllm_backend.evaluation.timing.bench import (
    BLOCK_BYTES,
    BLOCK_US,
    LEAST_CALLS,
    MOST_CALLS,
    block_size,
)
from BackendBench.vllm_backend.operations.operation import Call, Operation, Workload


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_block_is_long_enough_and_fits_into_memory(target):
    whole, room = BLOCK_US[target], BLOCK_BYTES[target]
    assert block_size(target, whole / 5, 1) == 5
    assert block_size(target, 0.0, 1) == MOST_CALLS[target]
    assert block_size(target, 0.0, 0) == MOST_CALLS[target]
    assert block_size(target, 10 * whole, 1) == LEAST_CALLS
    assert block_size(target, 0.0, room // 4) == 4
    assert block_size(target, whole / 3, room // 4) == 3
    assert block_size(target, whole / 5, 10 * room) == LEAST_CALLS


@settings(deadline=None)
@given(st.sampled_from(["cpu", "cuda"]), st.floats(0, 1e9), st.integers(0, 1 << 40))
def test_a_block_has_never_too_few_nor_too_many_calls(target, eager_us, call_bytes):
    count = block_size(target, eager_us, call_bytes)
    assert LEAST_CALLS <= count <= MOST_CALLS[target]
    assert count == LEAST_CALLS or count * call_bytes <= BLOCK_BYTES[target]


def test_every_block_has_new_inputs_for_every_call():
    def make(device: torch.device, generator: torch.Generator) -> Call:
        return Call((torch.randn(1000, device=device, generator=generator),))

    work = Workload("w", "nowhere", make, 8000)
    operation = Operation("relu", "", "(x)", torch.relu, lambda device, seed: [], lambda device: [work])
    ready = bench.prepare(operation, work, torch.device("cpu"), 1, BLOCK_US["cpu"] / 4)
    assert ready is not None and ready.calls == 4
    bases = [sorted(base.inputs[0].tolist()) for base in ready.bases]
    assert bases[0] != bases[1]
    rng = random.Random(1)
    blocks = [written(ready, ready.fresh(rng, 4)) for _ in range(3)]
    assert len({tuple(values) for block in blocks for values in block}) == 12
    for block in blocks:
        assert [sorted(values) for values in block] == [bases[call % 2] for call in range(4)]


def test_the_last_block_has_a_secret_call_that_was_never_sent_and_whose_answer_is_known():
    work = Workload(
        "w", "nowhere", lambda device, generator: Call((torch.randn(9, generator=generator),)), 72
    )
    operation = Operation("relu", "", "(x)", torch.relu, lambda device, seed: [], lambda device: [work])
    ready = bench.prepare(operation, work, torch.device("cpu"), 1, BLOCK_US["cpu"] / 8)
    assert ready is not None and ready.calls == 8
    rng, chosen = random.Random(1), set()
    first = ready.first()
    assert written(ready, first.inputs) == [ready.bases[0].inputs[0].tolist()]
    for _ in range(40):
        block = ready.last(rng, 8)
        chosen.add(block.call)
        values = written(ready, block.inputs)[block.call]
        assert values == ready.bases[1].inputs[0].tolist()
        assert ready.failure(operation, block, [torch.relu(torch.tensor(values))]) is None
        assert ready.failure(operation, first, [torch.relu(torch.tensor(values))]) is not None
    assert chosen == set(range(8))
    assert written(ready, ready.last(rng, 1).inputs) == [ready.bases[1].inputs[0].tolist()]


def test_inputs_that_begin_behind_their_places_boundary_are_checked_whole():
    def make(device: torch.device, generator: torch.Generator) -> Call:
        both = torch.randn(2, 301, device=device, generator=generator)
        return Call((both[0, 1:], both[1, 7:200]))

    work = Workload("w", "nowhere", make, 8000)
    operation = Operation(
        "mul", "", "(x, y)", lambda x, y: x[:50] * y[:50], lambda device, seed: [], lambda device: [work]
    )
    ready = bench.prepare(operation, work, torch.device("cpu"), 1, BLOCK_US["cpu"] / 4)
    assert ready is not None and ready.layout.items[0].inputs[0].start % calls.ALIGNMENT
    written(ready, ready.fresh(random.Random(1), 4))


def test_of_large_calls_on_a_processor_the_first_inputs_are_sent_again(monkeypatch):
    monkeypatch.setitem(bench.LAST_BYTES, "cpu", 71)
    work = Workload(
        "w", "nowhere", lambda device, generator: Call((torch.randn(9, generator=generator),)), 72
    )
    operation = Operation("relu", "", "(x)", torch.relu, lambda device, seed: [], lambda device: [work])
    ready = bench.prepare(operation, work, torch.device("cpu"), 1, BLOCK_US["cpu"] / 8)
    assert ready is not None
    block = ready.last(random.Random(1), 8)
    values = written(ready, block.inputs)[block.call]
    assert values == ready.bases[0].inputs[0].tolist()
    assert ready.failure(operation, block, [torch.relu(torch.tensor(values))]) is None
    assert ready.failure(operation, block, [torch.tensor(values)]) is not None


def test_outputs_as_long_as_their_values_say_are_timed_on_rotations_of_the_same_values():
    work = Workload(
        "w", "nowhere", lambda device, generator: Call((torch.randn(99, generator=generator),)), 800
    )
    operation = Operation(
        "positive", "", "(x)", lambda x: x[x > 0], lambda device, seed: [], lambda device: [work]
    )
    for seed in range(6):
        ready = bench.prepare(operation, work, torch.device("cpu"), seed, BLOCK_US["cpu"] / 8)
        assert ready is not None
        block = ready.last(random.Random(seed), 4)
        values = torch.tensor(written(ready, block.inputs)[block.call])
        assert ready.failure(operation, block, [values[values > 0]]) is None


def written(ready: bench.Bench, inputs: BlockInputs) -> list[list[float]]:
    """The first input of every call as it arrives in an arena."""
    buffers = Buffers(ready.layout.input_bytes, ready.layout.output_bytes, torch.device("cpu"))
    inputs.write(buffers, inputs.count)
    places = [item.inputs[0] for item in ready.layout.items[: inputs.count]]
    for call, item in enumerate(ready.layout.items[: inputs.count]):
        assert [bool(same) for same in inputs.unchanged(buffers, call)] == [True]
        for byte in [edge for place in item.inputs for edge in (place.start, place.start + place.size - 1)]:
            buffers.inputs.tensor[byte] ^= 1
            seen = [bool(same) for other in range(inputs.count) for same in inputs.unchanged(buffers, other)]
            assert seen == [other != call for other in range(inputs.count)]
            buffers.inputs.tensor[byte] ^= 1
    return [calls.view(buffers.inputs.tensor, place).tolist() for place in places]


def test_a_workload_whose_outputs_are_no_tensors_is_not_timed():
    work = Workload("w", "nowhere", lambda device, generator: Call((torch.ones(2),)), 8)
    operation = Operation("item", "", "(x)", lambda x: 1.0, lambda device, seed: [], lambda device: [work])
    assert bench.prepare(operation, work, torch.device("cpu"), 1, 1.0) is None
