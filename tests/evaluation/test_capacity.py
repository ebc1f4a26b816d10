"""How many candidates a judge has in hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.capacity import (
    CONTEXT_BYTES,
    CONTEXT_SHARE,
    SHARED_CONTEXT_SHARE,
    WAITING,
    compilers,
    in_flight,
)


def test_an_h200_and_an_h100_with_sixteen_cores():
    assert compilers("cuda", 16) == 13
    assert in_flight("cuda", 13, 140 << 30, shared=False) == (13 + WAITING, (13 + WAITING) // 3)
    flying, spares = in_flight("cuda", 13, 80 << 30, shared=False)
    assert 13 < flying < 13 + WAITING
    assert (flying + spares + 1) * CONTEXT_BYTES >= CONTEXT_SHARE * (80 << 30) - CONTEXT_BYTES


@pytest.mark.parametrize("cores", [1, 2, 4, 64])
def test_a_processor_has_at_most_four_in_hand(cores: int):
    at = compilers("cpu", cores)
    assert at == min(cores, 4)
    assert in_flight("cpu", at, 0, shared=False) == (at, 2)


@given(st.integers(1, 256), st.integers(6 << 30, 200 << 30), st.booleans())
def test_contexts_leave_most_of_the_gpu_to_kernels(cores: int, memory: int, shared: bool):
    flying, spares = in_flight("cuda", compilers("cuda", cores), memory, shared)
    assert flying >= 2
    assert spares >= 2
    contexts = flying + spares
    share = SHARED_CONTEXT_SHARE if shared else CONTEXT_SHARE
    assert contexts * CONTEXT_BYTES <= share * memory or contexts <= 5
