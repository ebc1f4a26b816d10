"""Numbers as people read them."""

from __future__ import annotations

import pytest

from BackendBench.vllm_backend.monitor import words


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "–"), (0, "0"), (0.0001234, "0.000123"), (0.000012, "0.000012"), (1.2345, "1.23"), (99.96, "100"),
     (123.4, "123"), (12345.6, "12,346")],
)  # fmt: skip
def test_decimals(number: float | None, text: str) -> None:
    assert words.decimal(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "–"), (0.0214, "0.0214 s"), (12.34, "12.3 s"), (99.97, "100 s"), (250, "4 min 10 s"), (7500, "2 h 5 min"),
     (3599.7, "1 h 0 min")],
)  # fmt: skip
def test_seconds(number: float | None, text: str) -> None:
    assert words.seconds(number) == text


def test_an_interval_shows_on_which_side_of_one_it_ends() -> None:
    assert words.interval(1.0004, 1.1) == "[1.0004, 1.100]"
    assert words.interval(0.99999, 1.0) == "[0.99999, 1.000]"
    assert words.interval(0.0, 0.0) == "–"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(1.01, 1.2, "faster"), (0.9, 0.99, "slower"), (0.99, 1.2, "undecided"), (1.0, 1.2, "undecided"),
     (0.9, 1.0, "undecided"), (0, 0, "not timed")],
)  # fmt: skip
def test_faster_is_said_only_when_the_whole_interval_lies_above_one(
    low: float, high: float, text: str
) -> None:
    assert words.against_eager(low, high) == text


def test_shares_and_lists() -> None:
    assert words.share(1, 0) == "–"
    assert words.share(1, 400) == "0.2 %"
    assert words.share(1, 10**6) == "< 0.1 %"
    assert words.share(0, 10) == "0 %"
    assert words.share(1, 2) == "50 %"
    assert words.listed({}) == "–"
    assert words.listed({"wrong_values": 3, "timeout": 1}, limit=1) == "wrong values 3, 1 more"
