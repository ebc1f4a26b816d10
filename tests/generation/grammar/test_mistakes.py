"""Each mistake leads to the error class that it is listed under."""

from __future__ import annotations

from random import Random

import pytest

from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.generation.extraction import Extracted, extract
from BackendBench.vllm_backend.generation.grammar.mistakes import RULES, draw, fitting
from BackendBench.vllm_backend.state.error_type import ErrorType
from tests.generation.grammar.checking import verdict, write

SCREENED = (
    ("syntax_error", "relu"), ("cut_off", "softmax"), ("wrong_name", "relu"), ("foreign_import", "add"),
    ("torch_computes", "gelu"), ("torch_fallback", "matmul"),
)  # fmt: skip
RUN = (
    ("nan_lost", "relu"), ("wrong_formula", "sub"), ("overflow", "sigmoid"), ("cancellation", "expm1"),
    ("option_ignored", "add"), ("nonfinite_cast", "floor"), ("import_forgotten", "exp"),
    ("import_missing_name", "neg"), ("unknown_function", "mul"), ("argument_missing", "add"),
    ("no_contiguous", "relu"), ("no_0d", "relu"), ("no_empty", "softmax"), ("no_broadcast", "add"),
    ("wrong_dtype", "sqrt"), ("returns_numpy", "mul"), ("wrong_shape", "neg"), ("dim_ignored", "cumsum"),
    ("keepdim_ignored", "argmax"), ("last_dim_only", "layer_norm"), ("default_eps", "rms_norm"),
    ("wrong_layout", "linear"), ("input_modified", "abs"), ("buffer_reused", "relu"), ("tail_lost", "add"),
    ("nonfinite", "logsumexp"), ("python_division", "reciprocal"),
)  # fmt: skip
ON_A_GPU_OR_FATAL = {
    "no_mask", "wrong_padding", "half_precision", "tf32", "constexpr_forgotten", "carry_lost",  # Triton only
    "infinite_loop", "out_of_bounds",  # would take this process down
}  # fmt: skip


def test_every_rule_is_tested_here_or_said_to_be_elsewhere() -> None:
    tested = {name for name, _ in (*SCREENED, *RUN)} | ON_A_GPU_OR_FATAL | {"slow"}
    assert tested == set(grammar.MISTAKES)


@pytest.mark.parametrize(("mistake", "operation"), SCREENED)
@pytest.mark.parametrize("dsl", ["numba", "triton"])
def test_a_mistake_of_the_text_is_refused_unrun(mistake: str, operation: str, dsl: str) -> None:
    for seed in range(5):
        written, _ = write(operation, dsl, seed, mistake)
        error, message = verdict(written)
        assert error and error.value in grammar.MISTAKES[mistake], f"{error} {message}\n{written.code}"


@pytest.mark.parametrize(("mistake", "operation"), RUN)
def test_a_mistake_shows_when_the_kernel_runs(mistake: str, operation: str) -> None:
    written, _ = write(operation, "numba", 3, mistake, loop="flat", vector="no", sums="plain")
    error, message = verdict(written, most=40_000)
    assert error and error.value in grammar.MISTAKES[mistake], f"{error} {message}\n{written.code}"


def test_a_slow_kernel_is_correct() -> None:
    written, _ = write("relu", "numba", 0, "slow")
    assert verdict(written, most=5_000) == (None, "")
    assert "prange" not in written.code and not grammar.MISTAKES["slow"]


def test_a_mistake_changes_the_kernel_and_nothing_else_does() -> None:
    for dsl in ("numba", "triton"):
        for operation in ("gelu", "where", "softmax", "var", "addmm"):
            right, _ = write(operation, dsl, 11)
            assert right.code == write(operation, dsl, 11)[0].code
            for rule in fitting(grammar.FACTS[operation], dsl):
                assert write(operation, dsl, 11, rule.name)[0].code != right.code, (dsl, operation, rule.name)


@pytest.mark.parametrize("dsl", ["numba", "triton"])
def test_between_a_third_and_a_half_is_meant_to_be_right_in_each_family(dsl: str) -> None:
    for family in ("elementwise", "binary", "reduction", "normalisation", "matmul"):
        names = [n for n in grammar.known(dsl) if grammar.FACTS[n].family == family]
        drawn = [
            draw(fitting(grammar.FACTS[n], dsl), Random(f"{n}{i}"), ()) for n in names for i in range(100)
        ]
        share = sum(not d or not grammar.MISTAKES[d] for d in drawn) / len(drawn)
        assert 0.33 < share < 0.52, (family, share)


def test_shown_errors_are_made_about_a_quarter_as_often() -> None:
    rules = fitting(grammar.FACTS["relu"], "triton")
    leading = {r.name for r in rules if ErrorType.WRONG_VALUES in r.errors}
    count = {
        avoid: sum(draw(rules, Random(i), avoid) in leading for i in range(4000))
        for avoid in ((), ("wrong_values",))
    }
    assert 0.18 < count[("wrong_values",)] / count[()] < 0.32


def test_answers_are_extracted_as_models_answers_are() -> None:
    for seed in range(40):
        rng = Random(seed)
        written = grammar.write("softmax", "triton", "cuda", rng)
        found = extract(written.text, "softmax_kernel_impl")
        if not written.mistake:
            assert isinstance(found, Extracted) and found.code.strip() == written.code.strip()


def test_the_table_of_rules_names_error_classes() -> None:
    classes = {e.value for e in ErrorType}
    assert all(set(errors) <= classes for errors in grammar.MISTAKES.values())
    assert all(rule.weight > 0 for rule in RULES)
