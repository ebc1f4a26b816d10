"""How many calls a candidate's block gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.timing.clock_check import TimedBlock
from BackendBench.vllm_backend.evaluation.timing.rehearsal import MUCH_SLOWER, needed_calls
from BackendBench.vllm_backend.evaluation.timing.stage import TOO_SHORT, long_enough


@given(st.integers(1, 16), st.floats(1e-3, 1e6))
def test_a_block_takes_about_as_long_as_three_of_eagers_at_most(calls, slower):
    needed = needed_calls(calls, slower)
    assert 1 <= needed <= calls
    if slower <= MUCH_SLOWER:
        assert needed == calls
    elif needed > 1:
        assert needed * slower <= calls * MUCH_SLOWER + slower / 2


def block(calls: int, each: float) -> TimedBlock:
    return TimedBlock([each] * calls, 2 * calls * each)


def test_who_claims_to_be_slow_first_and_fast_then_is_asked_again_with_more_calls():
    eager = block(16, 50.0)
    assert long_enough(block(16, 50.0), eager, 16)
    assert long_enough(block(1, 2400.0), eager, 16)  # as slow as the number of its calls says
    assert not long_enough(block(1, 40.0), eager, 16)
    assert not long_enough(block(16 // TOO_SHORT - 1, 40.0), eager, 16)
    assert long_enough(block(16 // TOO_SHORT, 40.0), eager, 16)
