"""What the grammar promises of its texts, without running them."""

from __future__ import annotations

import ast
from random import Random

import pytest

from BackendBench.vllm_backend.evaluation.screening.screen import screen
from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.generation.grammar.choices import Choices
from BackendBench.vllm_backend.operations import wellknown
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.source import source_hash


@pytest.mark.parametrize("dsl", ["numba", "triton"])
def test_it_knows_most_well_known_operations_with_their_signatures(dsl: str) -> None:
    known = grammar.known(dsl)
    assert len(known) >= 50
    for name in known:
        row = wellknown.by_name()[name]
        assert (grammar.FACTS[name].signature, grammar.FACTS[name].family) == (row.signature, row.family)
        assert grammar.FACTS[name].integers == row.integers


@pytest.mark.parametrize("dsl", ["numba", "triton"])
def test_what_is_meant_to_be_right_passes_the_screen(dsl: str) -> None:
    for name in grammar.known(dsl):
        for seed in range(3):
            rng = Random(seed)
            code = grammar.write_with(name, dsl, "cpu", Choices(rng), rng, mistake="").code
            assert screen(code, f"{name}_kernel_impl") is None, code


def test_the_same_seed_gives_the_same_text() -> None:
    def texts() -> list[str]:
        rng = Random(7)
        return [grammar.write("softmax", "triton", "cuda", rng).text for _ in range(8)]

    assert texts() == texts()


@pytest.mark.parametrize("dsl", ["numba", "triton"])
@pytest.mark.parametrize("name", ["relu", "add", "sum", "softmax", "matmul"])
def test_most_of_64_samples_are_different_kernels(dsl: str, name: str) -> None:
    rng = Random(0)
    hashes = {source_hash(grammar.write(name, dsl, "cpu", rng).code) for _ in range(64)}
    assert len(hashes) >= 58


def test_an_unknown_operation_gets_an_honest_attempt() -> None:
    for name, dsl in (("fft_fft2", "numba"), ("relu", "cuda"), ("no such name", "triton")):
        written = grammar.write(name, dsl, "cuda", Random(0), function="its_name")
        assert "no productions" in written.code and written.mistake == "unknown_operation"
        ast.parse(written.code)
        assert screen(written.code, "its_name") is None


def test_the_function_has_the_name_that_is_asked_for() -> None:
    written = grammar.write_with(
        "relu", "numba", "cpu", Choices(Random(0)), Random(0), function="mine", mistake=""
    )
    assert screen(written.code, "mine") is None
    refused = screen(written.code, "relu_kernel_impl")
    assert refused is not None and refused.error_type is ErrorType.MISSING_FUNCTION


def test_forced_and_hinted_choices() -> None:
    assert Choices(Random(0), forced={"block": 256}).pick("block", [1024, 256]) == 256
    assert Choices(Random(0), forced={"block": 3}).pick("block", [1024, 256]) in (1024, 256)
    assert Choices(Random(0), greedy=True).pick("block", {1024: 1.0, 256: 2.0}) == 256
    hinted = [Choices(Random(i), hints={"block": 256}).pick("block", [1024, 256]) for i in range(2000)]
    assert 0.70 < hinted.count(256) / 2000 < 0.80
