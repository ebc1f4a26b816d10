"""Operations that exist nowhere: a drawn formula, described by itself, under a drawn name. Pure.

- What a model makes of them it can only have read: the formula in the description, the name in the signature.
- They lean on an operation of the grammar (its parameters, its inputs, its kernel) and differ in the formula.
- No formula is one function alone, so none is an operation that is held out of training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.generation.grammar.facts import Facts
from BackendBench.vllm_backend.generation.operation_view import OperationView

from . import operations

UNARY_BASE = "sin"
BINARY_BASES = ("add", "mul", "div")
BASES = (UNARY_BASE, *BINARY_BASES)
FUNCTIONS: Mapping[str, tuple[str, str]] = {
    "exp": ("math.exp({})", "tl.exp({})"),
    "sin": ("math.sin({})", "tl.sin({})"),
    "cos": ("math.cos({})", "tl.cos({})"),
    "tanh": ("math.tanh({})", "libdevice.tanh({})"),
    "erf": ("math.erf({})", "tl.erf({})"),
    "abs": ("abs({})", "tl.abs({})"),
    "sqrt": ("math.sqrt({})", "tl.sqrt({})"),
    "log": ("math.log({})", "tl.log({})"),
}
"""Name in a description -> in Numba, in Triton."""
UNARY = (
    "{f} + {c}", "{c} - {f}", "{k} * {f}", "x * {f}", "x - {f}", "{f} * {g}", "{f} + {k} * {g}", "{f} / ({c} + {k})",
)  # fmt: skip
BINARY = (
    "a - {k} * b", "b - a", "{k} * a + b", "b - {k} * a", "a * b - {c}", "a + a * b", "a * b - {k} * a", "b + {c} - a",
)  # fmt: skip
WITH_ALPHA = (
    "b - alpha * a",
    "alpha * a + b",
    "a * b - alpha",
    "alpha * a * b",
    "alpha - a * b",
    "a - alpha - b",
)
EXTREMES = {"Larger": (">", "maximum"), "Smaller": ("<", "minimum")}


@dataclass(frozen=True)
class Formula:
    """One element's value in words and in both DSLs."""

    words: str
    numba: str
    triton: str


def operation(bases: Mapping[str, OperationView], rng: Random) -> tuple[OperationView, Facts]:
    """A drawn operation. ``bases``: the views of ``BASES``."""
    base = UNARY_BASE if rng.random() < 0.5 else rng.choice(BINARY_BASES)
    right, wrong = _formula(base, rng), _formula(base, rng)
    every = "for every element" if base == UNARY_BASE else "with broadcasting"
    view = operations.named(bases[base], operations.unrelated_name(rng))
    view = replace(view, description=f"{right.words} {every}.")
    bad = ({}, {}) if wrong == right else ({"wrong_formula": wrong.numba}, {"wrong_formula": wrong.triton})
    facts = replace(
        grammar.FACTS[base], name=view.name, numba=(right.numba,), triton=(right.triton,), fast="",
        numba_bad=bad[0], triton_bad=bad[1],
    )  # fmt: skip
    return view, facts


def _formula(base: str, rng: Random) -> Formula:
    if base == UNARY_BASE:
        return _limited(rng) if rng.random() < 0.2 else _unary(rng)
    if base == "add":
        return _filled(rng.choice(WITH_ALPHA), {}, rng)
    return _extreme(rng) if rng.random() < 0.3 else _filled(rng.choice(BINARY), {}, rng)


def _unary(rng: Random) -> Formula:
    functions = {letter: _applied(rng) for letter in "fg"}
    return _filled(rng.choice(UNARY), functions, rng)


def _applied(rng: Random) -> Formula:
    """A function of x, or of something simple of x."""
    name = rng.choice(list(FUNCTIONS))
    inner = _filled(rng.choice(("x", "x", "{k} * x", "x + {c}", "x * x")), {}, rng)
    numba, triton = FUNCTIONS[name]
    return Formula(f"{name}({inner.words})", numba.format(inner.numba), triton.format(inner.triton))


def _filled(shape: str, functions: Mapping[str, Formula], rng: Random) -> Formula:
    """The shape with drawn numbers: whole ones, which integers too can be multiplied by."""
    numbers = {"k": rng.randint(2, 9), "c": rng.randint(1, 9)}
    plain = {name: str(value) for name, value in numbers.items()}
    marked = {name: f"C({value}.0)" for name, value in numbers.items()}
    return Formula(
        shape.format(**plain, **{name: one.words for name, one in functions.items()}),
        shape.format(**marked, **{name: one.numba for name, one in functions.items()}),
        shape.format(**marked, **{name: one.triton for name, one in functions.items()}),
    )


def _limited(rng: Random) -> Formula:
    """As the hard activations are written."""
    inner = _filled(rng.choice(("{k} * x", "x + {k}", "x - {c}")), {}, rng)
    low = rng.randint(-3, 1)
    limits = str(low), str(low + rng.randint(1, 5))  # narrower than hardsigmoid's
    marked = [f"C({value}.0)" for value in limits]
    clamped = Formula(
        f"clamp({inner.words}, {', '.join(limits)})",
        f"min(max({inner.numba}, {marked[0]}), {marked[1]})",
        f"tl.minimum(tl.maximum({inner.triton}, {marked[0]}), {marked[1]})",
    )
    return _filled(rng.choice(("{f}", "{f} / {k}", "x + {f}", "x * {f}")), {"f": clamped}, rng)


def _extreme(rng: Random) -> Formula:
    word = rng.choice(list(EXTREMES))
    sign, name = EXTREMES[word]
    other = _filled(rng.choice(("{k} * b", "b + {c}", "b - {c}", "a * b")), {}, rng)
    return Formula(
        f"{word} of a and {other.words}, NaN if either is NaN,",
        f"a if (a {sign} {other.numba} or a != a) else {other.numba}",
        f"tl.{name}(a, {other.triton}, propagate_nan=tl.PropagateNan.ALL)",
    )
