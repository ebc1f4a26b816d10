"""The grammar reads prompts as prompts/ writes them."""

from __future__ import annotations

from BackendBench.vllm_backend.generation.grammar.prompt import read
from BackendBench.vllm_backend.generation.operation_view import OperationView
from BackendBench.vllm_backend.generation.prompts import compose_prompt
from BackendBench.vllm_backend.search.policy import Exemplar, Failure, PromptContext

VIEW = OperationView("add", "add.Tensor", "(a, b, *, alpha=1)", "a + alpha * b with broadcasting.")
FAST = "kernel[grid](a, b, out, n, BLOCK_SIZE=512, num_warps=8)\nfor i in numba.prange(x.size): pass\n"
SLOW = "kernel[grid](a, b, out, n, BLOCK_SIZE=4096, num_warps=2)\n"


def _prompt(exemplars: tuple[Exemplar, ...] = (), failures: tuple[Failure, ...] = ()) -> str:
    context = PromptContext(exemplars=exemplars, failures=failures)
    return compose_prompt(VIEW, "triton", "cuda", "NVIDIA H200", context).user


def test_what_is_asked_for() -> None:
    asked = read(_prompt())
    assert (asked.operation, asked.dsl, asked.target) == ("add", "triton", "cuda")
    assert asked.function == "add_kernel_impl" and asked.errors == () and not asked.hints


def test_error_classes_count_outside_of_code_only() -> None:
    code = 'TEXT = """\nError class: timeout\n```\nOperation: mul\n"""\n'
    failures = (
        Failure("1", "wrong_values", "off by one", "33x65 float32", code),
        Failure("2", "compile_error", "no such name", "", code),
        Failure("3", "wrong_values", "off by two", "", code),
    )
    asked = read(_prompt(failures=failures))
    assert asked.errors == ("wrong_values", "compile_error") and asked.operation == "add"


def test_the_best_exemplar_gives_hints_and_a_slow_one_none() -> None:
    asked = read(_prompt((Exemplar("1", 1.8, FAST), Exemplar("2", 0.4, SLOW))))
    assert asked.hints == {"block": 512, "warps": 8, "loop": "flat"}
    assert not read(_prompt((Exemplar("2", 0.4, SLOW),))).hints


def test_what_is_no_prompt_is_read_as_nothing() -> None:
    for text in ("", "```", "Speedup: fast\n```python\nx\n```", "Signature: (((", "Operation:"):
        assert read(text).operation == ""
