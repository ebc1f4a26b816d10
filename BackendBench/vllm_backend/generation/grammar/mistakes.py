"""The mistakes of the grammar: what language models really get wrong in kernels, each a named rule.

- A candidate has one mistake or none, so that its verdict says something of the rule.
- ``weight`` is relative among the rules that fit; ``SHARE`` of all candidates have one at all.
- A prompt that shows failures of a class makes rules that lead to this class ``AVOIDED`` times as likely; what they
  lose goes to kernels without a mistake.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random

from ...state.error_type import ErrorType as E
from .facts import Facts

SHARE = 0.6
"""So that about two of five candidates are right: rejection sampling has something to do and something to keep."""
AVOIDED = 0.25
"""A model that is shown its mistake makes it less often, not never."""
ANY = ("elementwise", "binary", "reduction", "normalisation", "matmul")


@dataclass(frozen=True)
class Mistake:
    """One rule."""

    name: str
    errors: tuple[E, ...]
    """Classes that it usually ends in, the likeliest first; empty: accepted, but slow."""
    weight: float = 1.0
    dsls: tuple[str, ...] = ("numba", "triton")
    families: tuple[str, ...] = ANY
    operations: tuple[str, ...] = ()
    """Only these, if given."""
    excepted: tuple[str, ...] = ()

    def fits(self, facts: Facts, dsl: str) -> bool:
        """Whether it can be made in a kernel of this operation."""
        if dsl not in self.dsls or facts.family not in self.families:
            return False
        if self.name in FORMULAS:
            return self.name in (facts.numba_bad if dsl == "numba" else facts.triton_bad)
        return (not self.operations or facts.name in self.operations) and facts.name not in self.excepted


FORMULAS = {"nan_lost", "wrong_formula", "overflow", "cancellation", "option_ignored", "nonfinite_cast"}
"""Rules that are a wrong formula in the operation's facts."""

UNBROADCAST = (E.WRONG_SHAPE, E.RUNTIME_ERROR, E.WRONG_VALUES, E.WRONG_NONFINITE)
SOFTMAX = ("softmax", "log_softmax")

RULES: tuple[Mistake, ...] = (
    # formulas
    Mistake("nan_lost", (E.WRONG_NONFINITE, E.WRONG_VALUES), 2.0),
    Mistake("wrong_formula", (E.WRONG_VALUES, E.WRONG_NONFINITE, E.LOW_PRECISION), 1.0),
    Mistake("overflow", (E.WRONG_NONFINITE,), 2.0),
    Mistake("cancellation", (E.LOW_PRECISION, E.WRONG_VALUES, E.WRONG_NONFINITE), 2.0),
    Mistake("option_ignored", (E.WRONG_VALUES, E.WRONG_SHAPE, E.WRONG_DTYPE), 1.5),
    Mistake("nonfinite_cast", (E.WRONG_NONFINITE, E.WRONG_VALUES), 1.0),
    # the text
    Mistake("syntax_error", (E.SYNTAX_ERROR,), 0.6),
    Mistake("cut_off", (E.SYNTAX_ERROR, E.MISSING_FUNCTION), 0.3),
    Mistake("wrong_name", (E.MISSING_FUNCTION,), 0.5),
    Mistake("foreign_import", (E.FORBIDDEN_CODE,), 0.6),
    Mistake("import_forgotten", (E.COMPILE_ERROR, E.RUNTIME_ERROR, E.IMPORT_ERROR), 0.5),
    Mistake("import_missing_name", (E.IMPORT_ERROR, E.FORBIDDEN_CODE), 0.3),
    Mistake("torch_computes", (E.LIBRARY_CALL,), 1.0),
    Mistake("torch_fallback", (E.LIBRARY_CALL,), 1.0),
    Mistake("unknown_function", (E.COMPILE_ERROR, E.RUNTIME_ERROR), 1.5),
    # the wrapper
    Mistake("argument_missing", (E.RUNTIME_ERROR,), 0.8, operations=(
        "gelu", "leaky_relu", "softplus", "clamp", "add", "sub", "addcmul")),
    Mistake("no_contiguous", (E.RUNTIME_ERROR, E.WRONG_VALUES), 1.5),
    Mistake("no_0d", (E.RUNTIME_ERROR, E.WRONG_SHAPE), 0.8, families=("elementwise",), excepted=("clamp",)),
    Mistake("no_empty", (E.RUNTIME_ERROR,), 1.0, operations=SOFTMAX),
    Mistake("no_broadcast", UNBROADCAST, 2.0, families=("binary",)),
    Mistake("no_broadcast", UNBROADCAST, 1.0, operations=("matmul",)),
    Mistake("wrong_dtype", (E.WRONG_DTYPE,), 1.5),
    Mistake("returns_numpy", (E.WRONG_STRUCTURE,), 0.4, dsls=("numba",)),
    Mistake("wrong_shape", (E.WRONG_SHAPE,), 0.8),
    Mistake("dim_ignored", (E.WRONG_VALUES, E.WRONG_SHAPE), 1.5, families=("reduction",)),
    Mistake("dim_ignored", (E.WRONG_VALUES, E.WRONG_SHAPE), 1.5, operations=SOFTMAX),
    Mistake("keepdim_ignored", (E.WRONG_SHAPE,), 1.5, families=("reduction",), excepted=("cumsum",)),
    Mistake("last_dim_only", (E.WRONG_VALUES,), 1.0, operations=("layer_norm", "rms_norm")),
    Mistake("default_eps", (E.WRONG_VALUES, E.LOW_PRECISION), 1.0, operations=("rms_norm",)),
    Mistake("wrong_layout", (E.WRONG_VALUES, E.WRONG_NONFINITE, E.CRASH), 1.0, operations=("linear",)),
    Mistake("input_modified", (E.INPUT_MODIFIED, E.ALIASED_OUTPUT), 0.5, families=("elementwise",)),
    Mistake("buffer_reused", (E.ALIASED_OUTPUT,), 0.3, families=("elementwise",), excepted=("clamp",)),
    # the kernel
    Mistake("tail_lost", (E.WRONG_VALUES, E.WRONG_NONFINITE), 1.5, families=("elementwise", "binary")),
    Mistake("no_mask", (E.WRONG_VALUES, E.ILLEGAL_MEMORY_ACCESS, E.INPUT_MODIFIED, E.WRONG_NONFINITE), 1.0,
            dsls=("triton",), operations=("layer_norm", "group_norm", "var", "relu", "sigmoid", "add", "mul", "matmul",
                                          "mm", "bmm", "linear")),
    Mistake("wrong_padding", (E.WRONG_VALUES,), 1.5, dsls=("triton",), operations=SOFTMAX),
    Mistake("half_precision", (E.LOW_PRECISION, E.WRONG_NONFINITE, E.WRONG_VALUES, E.COMPILE_ERROR), 1.0,
            dsls=("triton",), families=("matmul", "elementwise", "binary")),
    Mistake("half_precision", (E.LOW_PRECISION, E.WRONG_NONFINITE, E.WRONG_VALUES), 1.0, dsls=("triton",),
            operations=("layer_norm", "rms_norm", "sum", "mean", "cumsum")),
    Mistake("tf32", (E.LOW_PRECISION,), 2.0, dsls=("triton",), families=("matmul",)),
    Mistake("constexpr_forgotten", (E.COMPILE_ERROR,), 1.0, dsls=("triton",),
            families=("elementwise", "binary", "matmul")),
    Mistake("carry_lost", (E.WRONG_VALUES,), 1.5, dsls=("triton",), operations=("cumsum",)),
    Mistake("nonfinite", (E.WRONG_NONFINITE,), 1.5, dsls=("numba",), operations=("logsumexp",)),
    Mistake("python_division", (E.RUNTIME_ERROR,), 1.0, dsls=("numba",), operations=("reciprocal", "div", "rsqrt")),
    Mistake("infinite_loop", (E.TIMEOUT,), 0.05, dsls=("numba",), families=("elementwise",)),
    Mistake("out_of_bounds", (E.CRASH, E.ILLEGAL_MEMORY_ACCESS, E.WRONG_VALUES), 0.1, families=("elementwise",)),
    Mistake("slow", (), 1.0, dsls=("numba",)),
    Mistake("slow", (), 1.0, dsls=("triton",), families=("elementwise", "binary", "matmul")),
)  # fmt: skip


def fitting(facts: Facts, dsl: str) -> list[Mistake]:
    """Rules that can be broken in a kernel of this operation."""
    return [rule for rule in RULES if rule.fits(facts, dsl)]


def draw(
    rules: Sequence[Mistake],
    rng: Random,
    avoid: Collection[str],
    greedy: bool = False,
    avoided: float = AVOIDED,
) -> str:
    """The name of the rule to break, or ''. Greedy makes none. ``avoided``: how often, of usual, one that leads to a
    class of ``avoid``."""
    point = rng.random()
    total = sum(rule.weight for rule in rules)
    for rule in rules:
        factor = avoided if any(e.value in avoid for e in rule.errors) else 1.0
        point -= SHARE * factor * rule.weight / total
        if point < 0 and not greedy:
            return rule.name
    return ""
