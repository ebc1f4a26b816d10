"""When a dead worker is started again, and when not."""

from __future__ import annotations

import pytest

from BackendBench.vllm_backend.fleet import restart
from BackendBench.vllm_backend.fleet.restart import RestartLaw, describe

KILLED = 137
SEGFAULT = 139


def test_a_worker_that_was_asked_to_leave_stays_away() -> None:
    assert RestartLaw().ended(0, 1000).action == "left"


def test_a_worker_that_cannot_work_as_configured_is_given_up_at_once() -> None:
    assert RestartLaw().ended(2, 1).action == "give_up"


def test_pauses_grow_and_stay_below_the_limit() -> None:
    law = RestartLaw()
    pauses = [law.ended(KILLED, 0).pause for _ in range(restart.GIVE_UP_AFTER_KILLS - 1)]
    assert pauses == sorted(pauses) and pauses[0] < pauses[3]
    assert pauses[-1] == restart.LAST_PAUSE_SECONDS


def test_repeated_soon_deaths_end_in_giving_up_with_the_reason() -> None:
    law = RestartLaw()
    actions = [law.ended(SEGFAULT, 1) for _ in range(restart.GIVE_UP_AFTER)]
    assert [a.action for a in actions[:-1]] == ["again"] * (restart.GIVE_UP_AFTER - 1)
    assert actions[-1].action == "give_up"
    assert "SIGSEGV" in actions[-1].reason
    assert law.restarts == restart.GIVE_UP_AFTER - 1


def test_a_long_life_forgives_what_was_before() -> None:
    law = RestartLaw()
    for _ in range(10 * restart.GIVE_UP_AFTER):
        assert law.ended(1, 1).action == "again"
        assert law.ended(1, restart.SOON_SECONDS).action == "again"


def test_ten_kills_from_outside_in_a_row_are_survived() -> None:
    law = RestartLaw()
    assert {law.ended(KILLED, 0).action for _ in range(10)} == {"again"}


@pytest.mark.parametrize(("code", "words"), [(1, "exit code 1"), (137, "SIGKILL"), (254, "exit code 254")])
def test_ends_in_words(code: int, words: str) -> None:
    assert describe(code) == words
