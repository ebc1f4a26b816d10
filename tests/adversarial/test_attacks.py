"""No attack is accepted, and each fails for the reason that its header gives: with the screen, and behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from BackendBench.vllm_backend.evaluation.doubt import DOUBTFUL
from BackendBench.vllm_backend.state.connection import connect
from BackendBench.vllm_backend.state.error_type import ErrorType

from .candidate_files import CandidateFile, complaints, judge_settings, load, outcome
from .judging import Bench, running, skip_without_needs

CPU, CUDA = load("attacks", "cpu"), load("attacks", "cuda")
LEAST_ATTACKS = 40
LONGEST_MESSAGE = 4000


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "a secret that no candidate may see")
        patch.setenv("MY_SECRET_TOKEN", "another one")
        with running(judge_settings("cpu", "attacks")) as found:
            yield found


@pytest.fixture(scope="module")
def gpu_bench() -> Iterator[Bench]:
    with running(judge_settings("cuda", "attacks")) as found:
        yield found


def named(file: CandidateFile) -> str:
    return file.name


@pytest.mark.parametrize("attack", CPU, ids=named)
def test_on_the_cpu(attack: CandidateFile, bench: Bench) -> None:
    skip_without_needs(attack)
    verdict = bench.judge(attack, "cpu")
    assert complaints(attack, verdict) == []
    assert len(verdict.error) < LONGEST_MESSAGE
    assert all(c.isprintable() or c in "\n\t" for c in verdict.error)


@pytest.mark.gpu
@pytest.mark.parametrize("attack", CUDA, ids=named)
def test_on_a_gpu(attack: CandidateFile, gpu_bench: Bench) -> None:
    skip_without_needs(attack)
    assert complaints(attack, gpu_bench.judge(attack, "cuda")) == []


def test_there_are_attacks_enough_and_each_says_what_it_is() -> None:
    assert len(CPU) >= LEAST_ATTACKS
    known = {e.value for e in ErrorType} | {"slower", "accepted"}
    for attack in {a.name: a for a in [*CPU, *CUDA]}.values():
        # What it leaves behind is timed with the call where all streams have one hardware queue.
        gains_nothing = {"slower"} if attack.name == "gpu_leaves_work_behind" else set()
        rejected = known - {"slower", "accepted"} | gains_nothing
        assert attack.named("expect") and attack.named("expect") <= rejected, attack.name
        assert attack.named("behind the screen") <= known, attack.name
        if "accepted" in attack.named("behind the screen"):
            assert attack.name.startswith("library_numpy"), attack.name  # right answers, honestly timed


def test_redis_sees_no_connection(bench: Bench, redis_url: str) -> None:
    with connect(redis_url) as client:
        before, kernels = client.info("stats")["total_connections_received"], client.keys("kernel:*")
        attack = next(a for a in CPU if a.name == "connects_to_redis")
        verdict = bench.judge(attack, "cpu", REDIS_PORT=redis_url.rpartition(":")[2].split("/")[0])
        assert verdict.error_type is ErrorType.IMPORT_ERROR
        assert client.info("stats")["total_connections_received"] == before
        assert client.keys("kernel:*") == kernels


def test_a_pickle_was_never_loaded(bench: Bench) -> None:
    assert not Path("/tmp/owned").exists()
    attack = next(a for a in CPU if a.name == "sends_a_pickle")
    assert bench.judge(attack, "cpu").error_type in DOUBTFUL
    assert not Path("/tmp/owned").exists()


def test_the_next_one_is_judged_as_if_nothing_had_happened(bench: Bench) -> None:
    honest = next(c for c in load("controls", "cpu") if c.name == "numba_relu_loop")
    for name in ("writes_out_of_bounds", "leaves_with_exit_code_zero", "memory_bomb"):
        bench.judge(next(a for a in CPU if a.name == name), "cpu")
        assert outcome(bench.judge(honest, "cpu")) in ("accepted", "slower")


def test_the_screen_is_on_unless_a_test_switches_it_off() -> None:
    settings = judge_settings("cpu", "attacks")
    assert settings.skip_screen
    assert not type(settings)().skip_screen


def test_library_calls_are_accepted_where_that_is_allowed_and_labelled() -> None:
    settings = judge_settings("cpu", "controls").model_copy(
        update={"allow_library_calls": True, "timing": "none"}
    )
    with running(settings) as bench:
        verdict = bench.judge(next(a for a in CPU if a.name == "library_functional_alias"), "cpu")
        refused = bench.judge(next(a for a in CPU if a.name == "patched_torch_comparison"), "cpu")
    assert verdict.correct and verdict.label == "library_call"
    assert refused.error_type is ErrorType.FORBIDDEN_CODE  # this judge screens
