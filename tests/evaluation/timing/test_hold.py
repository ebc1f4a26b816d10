"""How long a GPU is held up while the calls of a block are queued."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.timing.lane import (
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


class Answering:
    """A process that claims a microsecond for every call and is in no hurry to queue them."""

    pid = 1 << 22  # nobody has it: Linux gives smaller ones
    stage = ""
    case_names = ()

    def __init__(self) -> None:
        self.asked: list[float] = []

    def signal(self, number: int) -> None:
        """Nobody gets it."""

    async def request(self, do: str, limit: float, **payload: Any) -> dict[str, Any]:
        self.asked.append(payload["hold_us"])
        return {"times_us": [1.0] * len(payload["calls"]), "threads": 0, "queued_us": 400.0}

    def blamed(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@pytest.mark.parametrize(
    ("watch", "hold_us", "held"), [(False, 321.0, 321.0), (False, None, 2 * 420.0), (True, 321.0, 0.0)]
)
def test_a_block_knows_for_how_long_it_was_held_up(
    watch: bool, hold_us: float | None, held: float, monkeypatch: pytest.MonkeyPatch
):
    """As on a GPU, but for the GPU."""
    monkeypatch.setattr(Lane, "on_gpu", True)
    session, nothing_done = Answering(), lambda *_: None
    memory = SimpleNamespace(tensor=torch.zeros(8, dtype=torch.uint8))
    buffers = SimpleNamespace(outputs=memory, poison=nothing_done, settle=nothing_done)
    bench = SimpleNamespace(
        workload=SimpleNamespace(name="w"), layout=SimpleNamespace(request=lambda calls: [{} for _ in calls])
    )
    side = Lane(session, buffers, 1.0)  # type: ignore[arg-type]
    side.queued.append(300.0)
    inputs = SimpleNamespace(write=nothing_done)
    run = asyncio.run(side.run(bench, inputs, 2, watch=watch, hold_us=hold_us))  # type: ignore[arg-type]
    assert session.asked == [held]
    assert run.block.held == held
    assert run.block.overhead == pytest.approx(run.block.wall - 2.0 - held)
    assert list(side.queued) == ([300.0] if watch else [300.0, 200.0])
