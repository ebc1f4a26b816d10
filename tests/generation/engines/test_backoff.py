"""Pauses between attempts."""

from __future__ import annotations

import email.utils
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.generation.engines.backoff import (
    FIRST_SECONDS,
    LONGEST_RETRY_AFTER,
    LONGEST_SECONDS,
    parse_retry_after,
    pause,
)


@given(st.integers(1, 2000), st.integers())
def test_a_pause_lies_in_the_upper_half_of_what_doubling_allows(attempt: int, seed: int) -> None:
    top = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt - 1, 30))
    assert top / 2 <= pause(attempt, Random(seed)) <= top


@given(st.integers(1, 50), st.floats(0, 1e9))
def test_what_the_server_says_is_obeyed_within_reason(attempt: int, after: float) -> None:
    found = pause(attempt, Random(0), after)
    assert min(after, LONGEST_RETRY_AFTER) <= found <= LONGEST_RETRY_AFTER + LONGEST_SECONDS


def test_clients_do_not_come_back_together() -> None:
    assert len({pause(3, Random(seed), 5.0) for seed in range(20)}) == 20


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-2", 0.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
    ],
)
def test_a_number_of_seconds(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, now=0.0) == seconds


def test_a_date() -> None:
    now = 1_700_000_000.0
    assert parse_retry_after(email.utils.formatdate(now + 30, usegmt=True), now) == 30.0
    assert parse_retry_after(email.utils.formatdate(now - 30, usegmt=True), now) == 0.0


@given(st.text())
def test_no_header_breaks_it(header: str) -> None:
    found = parse_retry_after(header, now=0.0)
    assert found is None or found >= 0
