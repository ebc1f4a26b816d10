"""What the small model is taught: a corpus that follows from its seed, invented operations, the lesson of a failure."""

from __future__ import annotations

import math
import re
from functools import cache
from random import Random

import pytest

from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.generation.extraction import extract
from BackendBench.vllm_backend.generation.kernel_lm import DIRECTORY
from BackendBench.vllm_backend.state.task import Dsl
from models.kernel_lm import corpus, invented, operations
from models.kernel_lm.lesson import KINDS, Reader, differences
from models.kernel_lm.operations import HELD_OUT, Described

NAMES: dict[Dsl, list[str]] = {"numba": [*invented.BASES, "softmax"], "triton": [*invented.BASES, "softmax"]}
POINTS = (-3.5, -1.0, -0.25, 0.5, 1.0, 2.75, 9.0)


@cache
def described() -> dict[str, Described]:
    return {name: operations.from_plain(operations.describe(name)) for name in NAMES["numba"]}


def examples(count: int, seed: int = 0) -> list[corpus.Example]:
    rng = Random(seed)
    return [corpus.example(described(), NAMES, rng) for _ in range(count)]


def test_the_corpus_follows_from_its_seed() -> None:
    assert examples(6) == examples(6) != examples(6, seed=1)


def test_answers_define_what_the_prompt_asks_for() -> None:
    for one in examples(60):
        asked = re.search(r"^Signature: (\w+)\(", one.prompt.user, re.M)
        assert asked
        for text, mistake in zip(one.answers, one.mistakes, strict=True):
            found = extract(text, asked[1], truncated=False)
            if mistake not in ("wrong_name", "cut_off", "syntax_error"):
                assert f"def {asked[1]}(" in getattr(found, "code", ""), f"{mistake}\n{text}"


def test_nothing_that_is_held_out_is_written() -> None:
    assert not HELD_OUT & set(invented.BASES)
    assert all(one.operation not in HELD_OUT for one in examples(200))
    held = [formula for name in HELD_OUT for formula in grammar.FACTS[name].numba]
    for seed in range(3000):
        _, facts = invented.operation(bases(), Random(seed))
        assert facts.numba[0] not in held


def bases() -> dict[str, operations.OperationView]:
    return {name: described()[name].view for name in invented.BASES}


def test_an_invented_formula_is_what_its_description_says() -> None:
    """The words are Python but for clamp and the larger of two: they and the Numba formula have the same value."""

    def clamp(x: float, low: float, high: float) -> float:
        return min(max(x, low), high)

    functions = {name: getattr(math, name) for name in ("exp", "sin", "cos", "tanh", "erf", "sqrt", "log")}
    words_known = {**functions, "abs": abs, "clamp": clamp}
    code_known = {"math": math, "C": float, "abs": abs, "min": min, "max": max}
    compared = 0
    for seed in range(400):
        view, facts = invented.operation(bases(), Random(seed))
        words = re.sub(r" (for every element|with broadcasting)\.$", "", view.description)
        if extreme := re.fullmatch(r"(Larger|Smaller) of a and (.*), NaN if either is NaN,", words):
            words = f"{'max' if extreme[1] == 'Larger' else 'min'}(a, {extreme[2]})"
            words_known |= {"max": max, "min": min}
        for x in POINTS:
            values = {"x": x, "a": x, "b": x * x - 2.0, "alpha": 1.5}
            try:
                expected = eval(words, words_known, values)
            except (ValueError, OverflowError, ZeroDivisionError):
                continue
            assert eval(facts.numba[0], code_known, values) == pytest.approx(expected), view.description
            compared += 1
    assert compared > 1500


@pytest.mark.parametrize("dsl", ["numba", "triton"])
def test_after_a_failure_its_class_is_rarer(dsl: Dsl) -> None:
    """The lesson, counted where it is drawn: rules that lead to a shown class against those of fresh prompts."""
    rng = Random(3)
    subject = corpus.Subject(described()["softmax"].view, grammar.FACTS["softmax"], ())

    def share(avoid: tuple[str, ...]) -> float:
        drawn = [subject.mistake(dsl, avoid, 0.0, rng) for _ in range(4000)]
        return sum("wrong_values" in grammar.MISTAKES.get(one, ()) for one in drawn) / len(drawn)

    assert share(("wrong_values",)) < 0.2 * share(())


def test_names_that_say_nothing_are_names() -> None:
    names = [operations.unrelated_name(Random(seed)) for seed in range(2000)]
    assert all(name.isidentifier() for name in names)
    assert len(set(names)) > 1900, "too many for any to be learned by heart"


def test_the_model_is_read_as_it_was_trained() -> None:
    """Kernels of the operation that a prompt asks for are likelier than those of another one."""
    reader, rng = Reader(DIRECTORY), Random(0)
    add, multiply = (
        corpus.Subject(described()[name].view, grammar.FACTS[name], ()) for name in ("add", "mul")
    )
    prompt = corpus.example_of(described()["add"], "numba", "fresh", rng, count=0, renames=False).prompt
    wrong = multiply.written("numba", "", corpus.Choices(Random(1))).text.replace(
        "mul_kernel_impl", "add_kernel_impl"
    )
    right = add.written("numba", "", corpus.Choices(Random(1))).text
    assert reader.log_probability(prompt, wrong) + 5.0 < reader.log_probability(prompt, right) < 0.0
    assert set(differences(reader, add, "numba", rng)) == set(KINDS)
