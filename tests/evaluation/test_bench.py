"""How many calls a timed block has, and how its inputs change."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation import bench, shared_calls
from BackendBench.vllm_backend.evaluation.bench import BLOCK_BYTES, LEAST_CALLS, MOST_CALLS, block_size
from BackendBench.vllm_backend.operations.operation import Call, Workload


@pytest.mark.parametrize(
    ("target", "eager_us", "call_bytes", "calls"),
    [
        ("cpu", 1000.0, 1, 6),  # 6 ms
        ("cpu", 0.5, 1, 8),
        ("cpu", 1e6, 1, 2),
        ("cpu", 1000.0, 64 << 20, 4),  # 256 MB
        ("cpu", 1000.0, 1 << 40, 2),
        ("cuda", 200.0, 1, 10),  # 2 ms
        ("cuda", 5.0, 1, 16),
        ("cuda", 5.0, 128 << 20, 8),  # 1 GB
        ("cuda", 5.0, 0, 16),
    ],
)
def test_a_block_is_long_enough_and_fits_into_memory(target, eager_us, call_bytes, calls):
    assert block_size(target, eager_us, call_bytes) == calls


@settings(deadline=None)
@given(st.sampled_from(["cpu", "cuda"]), st.floats(0, 1e9), st.integers(0, 1 << 40))
def test_a_block_has_never_too_few_nor_too_many_calls(target, eager_us, call_bytes):
    count = block_size(target, eager_us, call_bytes)
    assert LEAST_CALLS <= count <= MOST_CALLS[target]
    assert count == LEAST_CALLS or count * call_bytes <= BLOCK_BYTES[target]


def test_every_block_has_new_inputs_for_every_call():
    bases = [[torch.arange(1000.0)], [torch.arange(1000.0, 2000.0)]]
    calls = [(Call((bases[slot % 2][0],)), [torch.empty(1000)]) for slot in range(4)]
    work = Workload("w", "nowhere", lambda device, generator: Call(()), 0)
    ready = bench.Bench(work, bases, [], None, shared_calls.lay_out(calls), 1.0)
    rng = random.Random(1)
    blocks = [ready.fresh(rng) for _ in range(3)]
    seen = {tuple(tensors[0].tolist()) for block in blocks for tensors in block}
    assert len(seen) == 12
    for block in blocks:
        for slot, tensors in enumerate(block):
            assert sorted(tensors[0].tolist()) == bases[slot % 2][0].tolist()
