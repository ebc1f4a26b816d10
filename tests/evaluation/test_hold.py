"""How long a GPU is held up while the calls of a block are queued."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.lane import (
    FIRST_QUEUED_US,
    HOLD_MARGIN,
    LEAST_HOLD_US,
    MOST_A_CALL_US,
    MOST_HOLD_US,
    REMEMBERED,
    Lane,
    queued,
)


def lane(*took: float) -> Lane:
    made = Lane(SimpleNamespace(), SimpleNamespace(), 1.0)  # type: ignore[arg-type]
    made.queued.extend(took)
    return made


@given(st.lists(st.floats(0, 1e9), min_size=1), st.integers(1, 16))
def test_a_block_is_held_up_for_longer_than_queueing_took_lately_and_not_for_ever(
    took: list[float], count: int
):
    hold, most = lane(*took).hold_us(count), min(MOST_HOLD_US, MOST_A_CALL_US * count)
    assert LEAST_HOLD_US <= hold <= most
    assert hold >= min(most, HOLD_MARGIN * count * max(took[-REMEMBERED:]))


def test_a_process_that_has_queued_nothing_is_given_time():
    assert lane().hold_us(4) == HOLD_MARGIN * 4 * FIRST_QUEUED_US


@pytest.mark.parametrize("said", [None, "long", float("nan"), float("inf"), -1.0, 1e12, [1.0]])
def test_what_is_no_time_counts_as_none(said: Any):
    assert queued({"queued_us": said}) == 0.0
    assert queued({}) == 0.0
    assert queued({"queued_us": 12}) == 12.0
