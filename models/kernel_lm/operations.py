"""Which operations the model learns, which are kept from it, and how prompts describe them.

- Held out: operations whose kernels resemble those of learned ones, so that what the model makes of a name and a
  description it never saw can be told from what it remembers.
- A view is what the farm's own prompts are composed of; making one takes torch, so it is made once and handed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from keyword import iskeyword
from random import Random
from string import ascii_lowercase
from typing import Any

from jinja2 import TemplateNotFound

from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.generation.grammar.choices import Choices
from BackendBench.vllm_backend.generation.operation_view import OperationView
from BackendBench.vllm_backend.state.task import Dsl, Target

HELD_OUT = frozenset({"sub", "minimum", "cos", "hardsigmoid", "amin", "bmm", "log_softmax"})
"""Never written for training. Each has a sibling that is: add, maximum, sin, hardswish, amax, mm, softmax."""
TARGETS: Mapping[Dsl, Target] = {"numba": "cpu", "triton": "cuda"}
CASE_NAMES_KEPT = 24

_ALIAS_HEADS = ("my", "fast", "fused", "custom", "model", "user", "block", "new", "net", "op")
_ALIAS_TAILS = ("v2", "op", "fn", "layer", "act", "kernel", "unit", "step", "map", "head", "gate", "x")
_SYLLABLES = (
    "ka",
    "lo",
    "mi",
    "ne",
    "ru",
    "sta",
    "vo",
    "pex",
    "tri",
    "zan",
    "qu",
    "ber",
    "gil",
    "dor",
    "hy",
    "fa",
)


@dataclass(frozen=True)
class Described:
    """An operation as prompts describe it, with names of cases that a verdict may name."""

    view: OperationView
    family: str
    cases: tuple[str, ...]


def describe(name: str) -> dict[str, Any]:
    """The description of an operation as plain values, which travel between processes. Loads torch."""
    import torch

    from BackendBench.vllm_backend.generation.operation_view import view_of
    from BackendBench.vllm_backend.operations import catalog

    torch.set_num_threads(1)
    operation = catalog.resolve(name)
    cases = [case.name for case in operation.make_cases(torch.device("cpu"), 0)]
    step = max(1, len(cases) // CASE_NAMES_KEPT)
    return {
        "view": asdict(view_of(operation)),
        "family": operation.family,
        "cases": cases[::step][:CASE_NAMES_KEPT],
    }


def from_plain(values: dict[str, Any]) -> Described:
    """The inverse of ``describe``."""
    view = dict(values["view"], examples=tuple(values["view"]["examples"]))
    return Described(OperationView(**view), values["family"], tuple(values["cases"]))


@cache
def written(dsl: Dsl) -> tuple[str, ...]:
    """All operations that the grammar writes in this DSL, in the grammar's order."""
    return tuple(name for name in grammar.known(dsl) if _is_written(name, dsl))


def _is_written(name: str, dsl: Dsl) -> bool:
    """Whether a first text comes out: the grammar may know of an operation before it has all its templates."""
    try:
        grammar.write_with(name, dsl, TARGETS[dsl], Choices(Random(0)), Random(0), mistake="")
    except TemplateNotFound:
        return False
    return True


def learned(dsl: Dsl) -> list[str]:
    """Those that the model learns."""
    return [name for name in written(dsl) if name not in HELD_OUT]


def varied(view: OperationView, rng: Random) -> OperationView:
    """The view with a part of its examples: others are drawn when the farm runs."""
    count = len(view.examples)
    if rng.random() < 0.3 or not count:
        return view
    kept = sorted(rng.sample(range(count), rng.randint(min(2, count), count)))
    return replace(view, examples=tuple(view.examples[i] for i in kept))


def aliased(view: OperationView, rng: Random) -> OperationView:
    """The same operation under an invented name: a name is to be read, and the description with it."""
    return named(view, invented_name(view.name, rng))


def named(view: OperationView, name: str) -> OperationView:
    """The view under another name."""
    schema = re.sub(r"aten::[\w.]+", f"aten::{name}", view.overload_signature)
    return replace(view, name=name, overload=f"{name}.default", overload_signature=schema)


def invented_name(name: str, rng: Random) -> str:
    """A name that no operation has."""
    kind = rng.randrange(6)
    if kind == 0:
        return f"{rng.choice(_ALIAS_HEADS)}_{name}"
    if kind == 1:
        return f"{name}_{rng.choice(_ALIAS_TAILS)}"
    return unrelated_name(rng)


def unrelated_name(rng: Random) -> str:
    """A name that says nothing. Most are of drawn letters: what has few parts is learned by heart, not copied."""
    kind = rng.randrange(6)
    if kind == 0:
        return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 4)))
    words = ["".join(rng.choices(ascii_lowercase, k=rng.randint(2, 8))) for _ in range(1 + (kind > 3))]
    head = [rng.choice(_ALIAS_HEADS)] if kind == 1 else []
    name = "_".join((*head, *words))
    return f"{name}_" if iskeyword(name) else name
