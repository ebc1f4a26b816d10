"""Rejected kernels as prompts show them: a kernel with a mistake and the words that the judge has for it.

- The words are the judge's own sentences with drawn numbers: nothing is run, half a million are needed.
- The class is one that the mistake leads to, the likeliest most of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from BackendBench.vllm_backend.search.policy import Failure
from BackendBench.vllm_backend.state.task import Dsl

LIKELIEST = 0.75
"""Share of the first class among those that a mistake may lead to."""


def failure(
    code: str, mistake: str, errors: Sequence[str], function: str, dsl: Dsl, cases: Sequence[str], rng: Random
) -> Failure:
    """A rejected kernel. ``errors``: classes that the mistake leads to, likeliest first; not empty."""
    error = errors[0] if len(errors) == 1 or rng.random() < LIKELIEST else rng.choice(errors[1:])
    line = rng.randint(6, max(7, code.count("\n")))
    message = MESSAGES[error](_Scene(rng, function, dsl, line, _line_of(code, line)))
    at_run = error not in BEFORE_CASES
    case = rng.choice(cases) if at_run and cases else ""
    return Failure("", error, message, case, code)


class _Scene:
    """What a message is filled with."""

    def __init__(self, rng: Random, function: str, dsl: Dsl, line: int, text: str) -> None:
        self.rng, self.function, self.dsl, self.line, self.text = rng, function, dsl, line, text

    def number(self) -> str:
        return f"{self.rng.gauss(0, 1) * 10 ** self.rng.randint(-3, 2):.7g}"

    def small(self) -> str:
        return f"{10 ** self.rng.uniform(-7, 1):.3g}"

    def shape(self) -> list[int]:
        return [
            self.rng.choice((1, 2, 3, 5, 7, 17, 33, 65, 128, 1025)) for _ in range(self.rng.randint(1, 4))
        ]

    def index(self) -> str:
        return str([self.rng.randrange(64) for _ in range(self.rng.randint(1, 3))])

    def share(self) -> str:
        total = self.rng.choice((1, 15, 64, 4095, 2145, 132225, 65536))
        return f"{self.rng.randint(1, total)} of {total} elements are off"

    def errors(self) -> str:
        return f"largest error {self.small()} absolute, {self.small()} relative"

    def dtype(self) -> str:
        return self.rng.choice(("float32", "float64", "bfloat16", "float16", "int64"))

    def at(self) -> str:
        return f"\n  at line {self.line}, in {self.function}: {self.text}"


def _line_of(code: str, line: int) -> str:
    lines = code.split("\n")
    return lines[min(line, len(lines)) - 1].strip()


def _wrong_values(s: _Scene) -> str:
    return f"output{s.index()} is {s.number()}, expected {s.number()}; {s.share()}; {s.errors()}"


def _wrong_nonfinite(s: _Scene) -> str:
    produced, expected = s.rng.choice(
        (("nan", s.number()), (s.number(), "nan"), ("inf", s.number()), (s.number(), "-inf"))
    )
    return f"NaN or infinity in the wrong place: output{s.index()} is {produced}, expected {expected}; {s.share()}"


def _low_precision(s: _Scene) -> str:
    excess = f"{10 ** s.rng.uniform(0.1, 5):.3g}"
    return (
        f"less accurate than eager allows, {excess} times the limit: output{s.index()} is {s.number()}, expected "
        f"{s.number()}; {s.share()}; {s.errors()}; compute and accumulate in at least the precision that eager uses"
    )


def _compile_error(s: _Scene) -> str:
    if s.dsl == "triton":
        what = s.rng.choice(
            (
                "NameError(\"name 'math' is not defined\")",
                "AttributeError(\"module 'triton.language' has no attribute 'thread_id'\")",
                "ValueError('Did you forget to add @triton.jit ? (`_semantic` argument must be provided "
                "outside of JIT functions.)')",
            )
        )
        return f"CompilationError: at {s.line}:{s.rng.randint(4, 20)}:\n{what}{s.at()}"
    what = s.rng.choice(
        (
            "NameError: name 'math' is not defined",
            "Unknown attribute 'parallel_range' of type Module",
            "No implementation of function Function(<built-in function mul>) found for signature",
        )
    )
    return f"TypingError: Failed in nopython mode pipeline (step: nopython frontend)\n{what}{s.at()}"


def _runtime_error(s: _Scene) -> str:
    what = s.rng.choice(
        (
            f"TypeError: {s.function}() got an unexpected keyword argument 'alpha'",
            "RuntimeError: view size is not compatible with input tensor's size and stride (at least one dimension "
            "spans across two contiguous subspaces). Use .reshape(...) instead.",
            "IndexError: tuple index out of range",
            "ZeroDivisionError: division by zero",
            f"RuntimeError: shape '{s.shape()}' is invalid for input of size {s.rng.randint(1, 9999)}",
            "AttributeError: module 'numba' has no attribute 'parallel_range'",
        )
    )
    return what + s.at()


MESSAGES: dict[str, Callable[[_Scene], str]] = {
    "syntax_error": lambda s: (
        f"line {s.line}: "
        + s.rng.choice(
            (
                "expected ':'",
                "'(' was never closed",
                "invalid syntax",
                "unindent does not match any outer indentation level",
            )
        )
    ),
    "missing_function": lambda s: f"the module does not define {s.function}",
    "forbidden_code": lambda s: (
        f"line {s.line}: import of {s.rng.choice(('sys', 'ctypes', 'scipy', 'pandas', 'threading'))} "
        "is not allowed in a kernel"
    ),
    "library_call": lambda s: f"line {s.line}: torch computes the answer here; write the kernel yourself",
    "import_error": lambda s: (
        f"ImportError: cannot import name '{s.rng.choice(('fast_math', 'fast_parallel'))}'{s.at()}"
    ),
    "compile_error": _compile_error,
    "runtime_error": _runtime_error,
    "illegal_memory_access": lambda s: (
        "RuntimeError: CUDA error: an illegal memory access was encountered" + s.at()
    ),
    "out_of_memory": lambda s: "killed during the correctness cases: it went over its memory limit",
    "timeout": lambda s: f"no answer within {s.rng.choice((10, 20, 30))} s during the correctness cases",
    "crash": lambda s: f"died of {s.rng.choice(('SIGSEGV', 'SIGABRT'))} during the correctness cases",
    "wrong_structure": lambda s: (
        f"returned {s.rng.choice(('ndarray', 'NoneType', 'numpy.ndarray'))} instead of a tensor"
    ),
    "wrong_shape": lambda s: f"output of shape {s.shape()}, expected {s.shape()}",
    "wrong_dtype": lambda s: f"output of dtype {s.dtype()}, expected {s.dtype()}",
    "wrong_strides": lambda s: f"output of strides {s.shape()}, expected {s.shape()}",
    "wrong_values": _wrong_values,
    "wrong_nonfinite": _wrong_nonfinite,
    "low_precision": _low_precision,
    "input_modified": lambda s: "an input tensor was changed; write to a new output",
    "aliased_output": lambda s: s.rng.choice(
        (
            "the output shares memory with an input; return a new tensor",
            "the output shares memory with an earlier output",
        )
    ),
    "nondeterministic": lambda s: f"a repeated call gives another result: {_wrong_values(s)}",
}
"""Class -> a message as the judge words it."""
BEFORE_CASES = frozenset(
    {"syntax_error", "missing_function", "forbidden_code", "library_call", "import_error"}
)
"""Found before any case is run."""
