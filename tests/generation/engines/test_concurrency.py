"""How many requests an endpoint gets at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.generation.engines.concurrency import AdaptiveConcurrency


def full(law: AdaptiveConcurrency, successes: int) -> None:
    """That many successes, with the endpoint kept full."""
    tickets = [law.start() for _ in range(law.room)]
    for _ in range(successes):
        law.succeeded(tickets.pop())
        tickets += [law.start() for _ in range(law.room)]
    for ticket in tickets:
        law.dropped(ticket)


def test_a_full_endpoint_that_answers_gets_more() -> None:
    law = AdaptiveConcurrency(first=4)
    full(law, 10)
    assert law.limit > 8


def test_after_an_overload_it_grows_by_one_a_round() -> None:
    law = AdaptiveConcurrency(first=64)
    law.overloaded(law.start())
    assert law.limit == 32
    full(law, 32)
    assert law.limit in (32, 33)
    full(law, 40)
    assert law.limit in (33, 34)


def test_a_burst_of_overloads_is_one() -> None:
    law = AdaptiveConcurrency(first=32)
    tickets = [law.start() for _ in range(32)]
    for ticket in tickets:
        law.overloaded(ticket)
    assert law.limit == 16
    law.overloaded(law.start())
    assert law.limit == 8, "one that began after the cut counts again"


def test_a_limit_that_is_not_used_does_not_rise() -> None:
    law = AdaptiveConcurrency(first=8)
    for _ in range(100):
        law.succeeded(law.start())
    assert law.limit == 8


def test_what_says_nothing_of_the_load_changes_nothing() -> None:
    law = AdaptiveConcurrency(first=8)
    for _ in range(20):
        law.dropped(law.start())
    assert law.limit == 8 and law.in_flight == 0


@given(st.lists(st.sampled_from(["start", "succeeded", "overloaded", "dropped"]), max_size=300))
def test_it_stays_in_bounds_and_counts_right(moves: list[str]) -> None:
    law, tickets = AdaptiveConcurrency(first=4, highest=16), []
    for move in moves:
        if move == "start":
            tickets.append(law.start())
        elif tickets:
            getattr(law, move)(tickets.pop(0))
        assert 1 <= law.limit <= 16
        assert law.in_flight == len(tickets)
        assert law.room == max(0, law.limit - law.in_flight)
