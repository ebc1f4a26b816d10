"""One training example: a prompt of the farm and answers of the grammar. Pure: a seed and descriptions in.

- The prompt is the farm's own, composed by the farm's own function: fresh, with rejected kernels, or with good ones.
- All answers to a prompt are drawn alike, so what is learned is their distribution.
- Answers avoid the classes that the prompt shows: the grammar makes such mistakes a tenth as often, and what they
  lose goes to right kernels.
- Some operations get an invented name, and some are invented as a whole, so that names and descriptions are read
  rather than recognised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.generation.engines.base import Prompt
from BackendBench.vllm_backend.generation.grammar.choices import Choices
from BackendBench.vllm_backend.generation.grammar.facts import Facts
from BackendBench.vllm_backend.generation.grammar.mistakes import draw, fitting
from BackendBench.vllm_backend.generation.operation_view import OperationView
from BackendBench.vllm_backend.generation.prompts import compose_prompt
from BackendBench.vllm_backend.search.policy import Exemplar, Failure, PromptContext
from BackendBench.vllm_backend.state.task import Dsl

from . import failures, invented
from .operations import TARGETS, Described, aliased, varied

FORGIVEN = 0.1
"""Share of the grammar's mistakes that are not made: it errs in 60 of 100, and a model sampled from adds its own."""
AVOIDED = 0.1
"""How often, of usual, mistakes of the classes that the prompt shows are made. The grammar itself makes a quarter:
learned from that, and blurred by the model's own mistakes, nothing of it could be measured."""
KINDS = {"fresh": 0.35, "repair": 0.45, "improve": 0.2}
"""Roughly as the policies mix them; what a failure teaches is the hardest to learn."""
FORGIVEN_WITH_EXEMPLARS = 0.5
"""Whoever sees a right kernel errs less."""
ALIASED = 0.25
"""Share of examples of known operations under an invented name."""
INVENTED = 0.15
"""Share of examples of operations that exist nowhere."""
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


@dataclass(frozen=True)
class Subject:
    """What an example is about: an operation as prompts describe it, and as the grammar writes it."""

    view: OperationView
    facts: Facts
    cases: tuple[str, ...]

    def written(self, dsl: Dsl, mistake: str, choices: Choices) -> grammar.Written:
        """A candidate, under the name of the view in its docstrings too."""
        made = grammar.write_from(self.facts, dsl, self.view.function, mistake, choices)
        text, code = (_renamed(one, self.facts.name, self.view.name) for one in (made.text, made.code))
        return replace(made, text=text, code=code)

    def mistake(self, dsl: Dsl, avoid: Sequence[str], forgiven: float, rng: Random) -> str:
        """A drawn one, or none."""
        found = draw(fitting(self.facts, dsl), rng, avoid, avoided=AVOIDED)
        return "" if rng.random() < forgiven else found


def example(described: Mapping[str, Described], names: Mapping[Dsl, Sequence[str]], rng: Random) -> Example:
    """A drawn example. ``names``: the operations to draw from, by DSL; each is in ``described``."""
    dsl: Dsl = rng.choice(sorted(names))
    kind = _drawn(KINDS, rng)
    if rng.random() < INVENTED and all(base in names[dsl] for base in invented.BASES):
        return _example(_invented(described, rng), dsl, kind, rng, ANSWERS)
    return example_of(described[rng.choice(names[dsl])], dsl, kind, rng)


def example_of(
    operation: Described, dsl: Dsl, kind: str, rng: Random, count: int = ANSWERS, renames: bool = True
) -> Example:
    """An example of this operation, DSL and kind of prompt."""
    view = varied(operation.view, rng)
    if renames and rng.random() < ALIASED:
        view = aliased(view, rng)
    subject = Subject(view, grammar.FACTS[operation.view.name], operation.cases)
    return _example(subject, dsl, kind, rng, count)


def _invented(described: Mapping[str, Described], rng: Random) -> Subject:
    bases = {base: varied(described[base].view, rng) for base in invented.BASES}
    view, facts = invented.operation(bases, rng)
    alike = invented.UNARY_BASE if facts.family == "elementwise" else invented.BINARY_BASES[0]
    return Subject(view, facts, described[alike].cases)


def _example(subject: Subject, dsl: Dsl, kind: str, rng: Random, count: int) -> Example:
    context, hints = _context(subject, dsl, kind, rng)
    shown = tuple(failure.error_type for failure in context.failures)
    prompt = compose_prompt(subject.view, dsl, TARGETS[dsl], rng.choice(DEVICES[dsl]), context)
    forgiven = FORGIVEN_WITH_EXEMPLARS if context.exemplars else FORGIVEN
    answers = [
        subject.written(dsl, subject.mistake(dsl, shown, forgiven, rng), Choices(rng, hints))
        for _ in range(count)
    ]
    texts, mistakes = tuple(one.text for one in answers), tuple(one.mistake for one in answers)
    return Example(prompt, texts, mistakes, subject.facts.name, dsl, shown)


def _context(
    subject: Subject, dsl: Dsl, kind: str, rng: Random
) -> tuple[PromptContext, Mapping[str, str | int]]:
    """What the prompt shows, and the choices of the best kernel in it."""
    if kind == "fresh":
        return PromptContext(), {}
    if kind == "repair":
        return PromptContext(_failures(subject, dsl, rng.randint(1, MOST_FAILURES), rng)), {}
    made: Mapping[str, str | int] = {}
    exemplars = []
    speedup = rng.lognormvariate(0.0, 0.6)
    for number in range(rng.randint(1, 2)):
        choices = Choices(rng)
        exemplars.append(Exemplar("", speedup, subject.written(dsl, "", choices).code))
        made = choices.made if number == 0 else made
        speedup *= rng.uniform(0.4, 1.0)
    return PromptContext(_failures(subject, dsl, rng.randint(0, 1), rng), tuple(exemplars)), made


def _failures(subject: Subject, dsl: Dsl, count: int, rng: Random) -> tuple[Failure, ...]:
    """Rejected kernels of different classes."""
    found: dict[str, Failure] = {}
    for _ in range(3 * count):
        if len(found) == count:
            break
        mistake = subject.mistake(dsl, (), 0.0, rng)
        errors = grammar.MISTAKES.get(mistake, ())
        if not errors:
            continue
        code = subject.written(dsl, mistake, Choices(rng)).code
        one = failures.failure(code, mistake, errors, subject.view.function, dsl, subject.cases, rng)
        found.setdefault(one.error_type, one)
    return tuple(found.values())


def _renamed(text: str, name: str, alias: str) -> str:
    """The text with the invented name in its docstrings too."""
    if name == alias:
        return text
    lines = text.split("\n")
    return "\n".join(re.sub(rf"\b{name}\b", alias, one) if '"""' in one else one for one in lines)


def _drawn(weights: Mapping[str, float], rng: Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]
