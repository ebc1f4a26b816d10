"""A seeded probabilistic grammar of kernels: complete candidate modules, right ones and typically wrong ones.

- No language model: it knows a fixed list of operations and writes nothing else.
- The same arguments and the same state of ``rng`` give the same text.
- A candidate without a mistake is meant to be accepted on every case of its operation.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ...state.task import Dsl, Target
from .answer import around, honest_attempt
from .binary import BINARY
from .choices import Choices
from .derive import derive
from .elementwise import ELEMENTWISE
from .facts import Facts
from .mistakes import RULES, draw, fitting
from .rows import MATMUL, NORMALISATION, REDUCTION

MISTAKES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {rule.name: tuple(error.value for error in rule.errors) for rule in RULES}
)
"""Name of each mistake -> values of ``ErrorType`` that it usually leads to, likeliest first; (): only slow."""

FACTS: Mapping[str, Facts] = MappingProxyType(
    {**ELEMENTWISE, **BINARY, **REDUCTION, **NORMALISATION, **MATMUL}
)


@dataclass(frozen=True)
class Written:
    """One answer of the grammar."""

    text: str
    """The answer as a chat model would give it, with prose and fences."""
    code: str
    """The module's source within it."""
    mistake: str
    """Name of the rule that it breaks; '' for a kernel that is meant to be right."""
    operation: str
    dsl: str


def known(dsl: str) -> list[str]:
    """Names of the operations that it can write in this DSL."""
    return [
        name
        for name, facts in FACTS.items()
        if (facts.numba if dsl == "numba" else facts.triton) and dsl != "cuda"
    ]


def write(
    operation: str,
    dsl: Dsl,
    target: Target,
    rng: random.Random,
    avoid: Sequence[str] = (),
    function: str | None = None,
) -> Written:
    """One candidate. ``avoid``: error classes of failures that the prompt showed. ``function``: its name in the module.

    An operation or DSL that it does not know gets an honest attempt that says so. Never raises.
    """
    return write_with(operation, dsl, target, Choices(rng), rng, avoid, function)


def write_with(
    operation: str,
    dsl: Dsl,
    target: Target,
    choices: Choices,
    rng: random.Random,
    avoid: Sequence[str] = (),
    function: str | None = None,
    mistake: str | None = None,
    greedy: bool = False,
) -> Written:
    """``write`` with choices of the caller; ``mistake`` forces a rule ('' none)."""
    function = function or f"{operation}_kernel_impl"
    if operation not in known(dsl):
        code = honest_attempt(operation, dsl, function)
        return Written(around(code, dsl, choices), code, "unknown_operation", operation, dsl)
    facts = FACTS[operation]
    if mistake is None:
        mistake = draw(fitting(facts, dsl), rng, avoid, greedy)
    return write_from(facts, dsl, function, mistake, choices)


def write_from(facts: Facts, dsl: Dsl, function: str, mistake: str, choices: Choices) -> Written:
    """One candidate of an operation of which this is known, with this mistake ('' none)."""
    code = derive(facts, dsl, function, mistake, choices)
    return Written(around(code, dsl, choices), code, mistake, facts.name, dsl)
