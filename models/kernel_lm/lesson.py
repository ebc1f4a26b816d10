"""Whether the model learned to react: how a shown failure changes what it holds for likely.

    python -m models.kernel_lm.lesson --pairs 200

- An answer of the grammar is read twice: after a fresh prompt, and after one that shows a rejected kernel of a class.
- The difference of its log probability is averaged over answers with a mistake of that class, of another class, and
  with none. The corpus teaches log(AVOIDED) for the first, nothing for the second, a little more for the third.
- Nothing is sampled and nothing judged: far fewer texts say more than the shares that evaluate.py counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import fmean, stdev

import numpy as np
import torch

from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.generation.engines.base import Prompt
from BackendBench.vllm_backend.generation.grammar.choices import Choices
from BackendBench.vllm_backend.generation.grammar.mistakes import fitting
from BackendBench.vllm_backend.generation.kernel_lm import DIRECTORY
from BackendBench.vllm_backend.generation.prompts import compose_prompt
from BackendBench.vllm_backend.search.policy import PromptContext
from BackendBench.vllm_backend.state.task import Dsl

from . import failures, operations, tokenizer
from .branches import laid_out
from .corpus import Subject
from .model import LanguageModel
from .operations import TARGETS
from .packing import Document
from .shape import Shape

KINDS = ("same class", "another class", "no mistake")


class Reader:
    """A model directory that reads answers."""

    def __init__(self, directory: Path) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._model = LanguageModel(Shape())
        self._model.load_state_dict(load_file(directory / "model.safetensors"))

    @torch.inference_mode()
    def log_probability(self, prompt: Prompt, answer: str) -> float:
        """Of the answer's text after the prompt, in nats."""
        texts = [tokenizer.chat(prompt.system, prompt.user), answer]
        known, told = (np.array(one.ids, np.uint16) for one in self._tokenizer.encode_batch(texts))
        laid = laid_out(Document(known, (told,)))
        mean = self._model(laid.tokens, laid.positions, laid.branches, laid.chosen, laid.targets)
        return -mean.item() * len(laid.targets)


def differences(reader: Reader, subject: Subject, dsl: Dsl, rng: Random) -> dict[str, float]:
    """For one drawn class: kind of answer -> what the shown failure changed."""
    rules = [rule for rule in fitting(subject.facts, dsl) if rule.errors]
    shown = rng.choice(rules)
    others = [rule.name for rule in rules if not set(rule.errors) & set(shown.errors)]
    wrong = subject.written(dsl, shown.name, Choices(rng)).code
    names = [error.value for error in shown.errors[:1]]
    failure = failures.failure(wrong, shown.name, names, subject.view.function, dsl, subject.cases, rng)
    fresh, after = (
        compose_prompt(subject.view, dsl, TARGETS[dsl], "", context)
        for context in (PromptContext(), PromptContext((failure,)))
    )
    answers = [
        subject.written(dsl, mistake, Choices(rng)).text for mistake in (shown.name, rng.choice(others), "")
    ]
    return {
        kind: reader.log_probability(after, answer) - reader.log_probability(fresh, answer)
        for kind, answer in zip(KINDS, answers, strict=True)
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m models.kernel_lm.lesson", description="Test the reaction."
    )
    parser.add_argument("--model", type=Path, default=DIRECTORY, help="model directory")
    parser.add_argument("--dsl", choices=sorted(TARGETS), default="numba")
    parser.add_argument("--pairs", type=int, default=100, help="shown failures, operations by turns")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    reader, rng = Reader(given.model), Random(given.seed)
    names = operations.learned(given.dsl)
    rng.shuffle(names)
    found = []
    for name in (names[number % len(names)] for number in range(given.pairs)):
        described = operations.from_plain(operations.describe(name))
        subject = Subject(described.view, grammar.FACTS[name], described.cases)
        found.append(differences(reader, subject, given.dsl, rng))
    for kind in KINDS:
        values = [one[kind] for one in found]
        print(f"{kind:14} {fmean(values):+.3f} nats ± {stdev(values) / len(values) ** 0.5:.3f}")


if __name__ == "__main__":
    main()
