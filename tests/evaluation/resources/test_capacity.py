"""How many candidates a judge has in hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.resources.capacity import (
    CONTEXT_BYTES,
    CONTEXT_SHARE,
    REFERENCE_BYTES,
    SHARED_CONTEXT_SHARE,
    WAITING,
    compilers,
    in_flight,
    reference_bytes,
    timing_places,
)


def test_an_h100_with_sixteen_cores():
    assert compilers("cuda", 16) == 13
    assert in_flight("cuda", 13, 80 << 30, shared=False) == 13 + WAITING


@pytest.mark.parametrize("cores", [1, 2, 4, 64])
def test_a_processor_has_one_more_in_hand_than_it_has_cores_and_at_most_five(cores: int):
    at = compilers("cpu", cores)
    assert at == min(cores, 4)
    assert in_flight("cpu", at, 0, shared=False) == at + 1


@given(st.integers(1, 256), st.integers(6 << 30, 200 << 30), st.booleans())
def test_contexts_leave_most_of_the_gpu_to_kernels(cores: int, memory: int, shared: bool):
    flying = in_flight("cuda", compilers("cuda", cores), memory, shared)
    share = SHARED_CONTEXT_SHARE if shared else CONTEXT_SHARE
    assert flying == 2 or 2 < flying <= share * memory / CONTEXT_BYTES


@pytest.mark.parametrize(("gigabytes", "places"), [(8, 3), (24, 4), (80, 12), (1000, 12)])
def test_candidates_that_are_about_to_be_timed_leave_room_for_the_others(gigabytes: int, places: int):
    assert timing_places(gigabytes << 30, shared=False) == places
    assert timing_places(gigabytes << 30, shared=True) <= max(3, places)


def test_references_have_a_share_of_a_gpu_and_less_beside_an_engine():
    assert reference_bytes("cuda", 80 << 30, shared=False) == 24 << 30
    assert 10 << 30 < reference_bytes("cuda", 80 << 30, shared=True) < 11 << 30
    assert reference_bytes("cpu", 0, shared=False) == REFERENCE_BYTES


def test_beside_an_engine_fewer_are_about_to_be_timed():
    assert timing_places(80 << 30, shared=True) == 6
