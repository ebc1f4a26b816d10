"""One training example: a prompt of the farm and answers of the grammar. Pure: a seed and descriptions in.

- The prompt is the farm's own, composed by the farm's own function: fresh, with rejected kernels, or with good ones.
- All answers to a prompt are drawn alike, so what is learned is their distribution.
- Answers avoid the classes that the prompt shows: the grammar makes such mistakes a quarter as often, and what
  they lose goes to right kernels.
- Some operations get an invented name, so that names and descriptions are read rather than recognised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.generation.engines.base import Prompt
from BackendBench.vllm_backend.generation.grammar.choices import Choices
from BackendBench.vllm_backend.generation.grammar.mistakes import draw, fitting
from BackendBench.vllm_backend.generation.operation_view import OperationView
from BackendBench.vllm_backend.generation.prompts import compose_prompt
from BackendBench.vllm_backend.search.policy import Exemplar, Failure, PromptContext
from BackendBench.vllm_backend.state.task import Dsl

from . import failures
from .operations import TARGETS, Described, aliased, varied

FORGIVEN = 0.4
"""Share of the grammar's mistakes that are not made: it errs in 60 of 100, and a model sampled from adds its own."""
KINDS = {"fresh": 0.45, "repair": 0.35, "improve": 0.2}
"""As the policies mix them, roughly."""
FORGIVEN_WITH_EXEMPLARS = 0.65
"""Whoever sees a right kernel errs less."""
ALIASED = 0.15
"""Share of examples under an invented name."""
ANSWERS = 8
"""To one prompt: it is computed once for all of them."""
MOST_FAILURES = 3
DEVICES: Mapping[str, tuple[str, ...]] = {
    "numba": ("",),
    "triton": (
        "NVIDIA H100 80GB HBM3",
        "NVIDIA H200",
        "NVIDIA A100-SXM4-80GB",
        "NVIDIA L40S",
        "NVIDIA B200",
        "",
    ),
}


@dataclass(frozen=True)
class Example:
    """A prompt, answers, and what is known of both."""

    prompt: Prompt
    answers: tuple[str, ...]
    mistakes: tuple[str, ...]
    """Of each answer; '' where there is none."""
    operation: str
    dsl: Dsl
    shown: tuple[str, ...]
    """Error classes of the rejected kernels in the prompt."""


def example(described: Mapping[str, Described], names: Mapping[Dsl, Sequence[str]], rng: Random) -> Example:
    """A drawn example. ``names``: the operations to draw from, by DSL; each is in ``described``."""
    dsl: Dsl = rng.choice(sorted(names))
    return example_of(described[rng.choice(names[dsl])], dsl, _drawn(KINDS, rng), rng)


def example_of(
    operation: Described, dsl: Dsl, kind: str, rng: Random, count: int = ANSWERS, renames: bool = True
) -> Example:
    """An example of this operation, DSL and kind of prompt."""
    real = operation.view.name
    view = varied(operation.view, rng)
    if renames and rng.random() < ALIASED:
        view = aliased(view, rng)
    context, hints = _context(operation, view, dsl, kind, rng)
    shown = tuple(failure.error_type for failure in context.failures)
    prompt = compose_prompt(view, dsl, TARGETS[dsl], rng.choice(DEVICES[dsl]), context)
    forgiven = FORGIVEN_WITH_EXEMPLARS if context.exemplars else FORGIVEN
    answers, mistakes = [], []
    for _ in range(count):
        answer = _written(
            real, view, dsl, _mistake(real, dsl, shown, forgiven, rng), Choices(rng, hints), rng
        )
        answers.append(_renamed(answer.text, real, view.name))
        mistakes.append(answer.mistake)
    return Example(prompt, tuple(answers), tuple(mistakes), real, dsl, shown)


def _context(
    operation: Described, view: OperationView, dsl: Dsl, kind: str, rng: Random
) -> tuple[PromptContext, Mapping[str, str | int]]:
    """What the prompt shows, and the choices of the best kernel in it."""
    if kind == "fresh":
        return PromptContext(), {}
    if kind == "repair":
        return PromptContext(_failures(operation, view, dsl, rng.randint(1, MOST_FAILURES), rng)), {}
    made: Mapping[str, str | int] = {}
    exemplars = []
    speedup = rng.lognormvariate(0.0, 0.6)
    for number in range(rng.randint(1, 2)):
        choices = Choices(rng)
        code = _written(operation.view.name, view, dsl, "", choices, rng).code
        exemplars.append(Exemplar("", speedup, _renamed(code, operation.view.name, view.name)))
        made = choices.made if number == 0 else made
        speedup *= rng.uniform(0.4, 1.0)
    return PromptContext(_failures(operation, view, dsl, rng.randint(0, 1), rng), tuple(exemplars)), made


def _failures(
    operation: Described, view: OperationView, dsl: Dsl, count: int, rng: Random
) -> tuple[Failure, ...]:
    """Rejected kernels of different classes."""
    real = operation.view.name
    found: dict[str, Failure] = {}
    for _ in range(3 * count):
        if len(found) == count:
            break
        mistake = _mistake(real, dsl, (), 0.0, rng)
        errors = grammar.MISTAKES.get(mistake, ())
        if not errors:
            continue
        code = _renamed(_written(real, view, dsl, mistake, Choices(rng), rng).code, real, view.name)
        one = failures.failure(code, mistake, errors, view.function, dsl, operation.cases, rng)
        found.setdefault(one.error_type, one)
    return tuple(found.values())


def _mistake(name: str, dsl: Dsl, avoid: Sequence[str], forgiven: float, rng: Random) -> str:
    mistake = draw(fitting(grammar.FACTS[name], dsl), rng, avoid)
    return "" if rng.random() < forgiven else mistake


def _written(
    name: str, view: OperationView, dsl: Dsl, mistake: str, choices: Choices, rng: Random
) -> grammar.Written:
    return grammar.write_with(name, dsl, TARGETS[dsl], choices, rng, function=view.function, mistake=mistake)


def _renamed(text: str, name: str, alias: str) -> str:
    """The text with the invented name in its docstrings too."""
    if name == alias:
        return text
    lines = text.split("\n")
    return "\n".join(re.sub(rf"\b{name}\b", alias, one) if '"""' in one else one for one in lines)


def _drawn(weights: Mapping[str, float], rng: Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
