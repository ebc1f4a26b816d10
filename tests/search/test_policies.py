"""The policies: budgets, capacity, fairness, and what prompts show."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend import search
from BackendBench.vllm_backend.search import reprompt
from BackendBench.vllm_backend.search.policy import (
    Exemplar,
    Failure,
    Feedback,
    GroupRequest,
    OperationProgress,
    Policy,
    PromptContext,
)
from BackendBench.vllm_backend.search.registry import DEFAULT, POLICIES, make_policy

NAMES = sorted(POLICIES)


def failure(number: int, error_type: str) -> Failure:
    return Failure(f"f{number}", error_type, "message", "case", f"code {number}")


def exemplar(number: int, speedup: float) -> Exemplar:
    return Exemplar(f"e{number}", speedup, f"kernel {number}")


counts = st.integers(0, 200)
progresses = st.lists(
    st.builds(
        OperationProgress,
        operation=st.just(""),
        budget=counts,
        requested=counts,
        generated=counts,
        evaluated=counts,
        correct=counts,
        failures=st.dictionaries(st.sampled_from(["timeout", "wrong_values"]), st.integers(1, 9)),
    ),
    max_size=8,
).map(lambda found: [OperationProgress(**{**vars(p), "operation": f"op{i}"}) for i, p in enumerate(found)])
feedbacks = st.builds(
    Feedback,
    version=counts,
    failures=st.lists(st.sampled_from(["timeout", "wrong_values", "crash", "wrong_shape"]), max_size=20).map(
        lambda classes: tuple(failure(i, c) for i, c in enumerate(classes))
    ),
    exemplars=st.lists(st.floats(0.1, 10), max_size=8).map(
        lambda found: tuple(exemplar(i, s) for i, s in enumerate(sorted(found, reverse=True)))
    ),
)


@pytest.mark.parametrize("name", NAMES)
@given(progress=progresses, capacity=st.integers(0, 400), group_size=st.integers(1, 64))
def test_a_plan_respects_budgets_and_capacity(
    name: str, progress: list[OperationProgress], capacity: int, group_size: int
) -> None:
    plan = make_policy(name).plan(progress, capacity, group_size)
    assert sum(request.n for request in plan) <= capacity
    assert all(1 <= request.n <= group_size for request in plan)
    asked = Counter[str]()
    for request in plan:
        asked[request.operation] += request.n
    for one in progress:
        assert asked[one.operation] <= one.remaining
    # Nothing is held back: either the capacity or every budget is used up.
    assert sum(asked.values()) == min(capacity, sum(one.remaining for one in progress))


@pytest.mark.parametrize("name", NAMES)
@given(operations=st.integers(1, 12), capacity=st.integers(0, 500), group_size=st.integers(1, 32))
def test_equal_operations_get_equal_shares(
    name: str, operations: int, capacity: int, group_size: int
) -> None:
    progress = [OperationProgress(f"op{i}", budget=10_000) for i in range(operations)]
    asked = Counter({one.operation: 0 for one in progress})
    for request in make_policy(name).plan(progress, capacity, group_size):
        asked[request.operation] += request.n
    assert max(asked.values()) - min(asked.values()) <= group_size


@pytest.mark.parametrize("name", NAMES)
def test_who_is_behind_comes_first(name: str) -> None:
    progress = [OperationProgress("ahead", 100, requested=50), OperationProgress("behind", 100, requested=10)]
    plan = make_policy(name).plan(progress, capacity=40, group_size=10)
    assert [request.operation for request in plan] == ["behind"] * 4


def test_rejection_never_shows_anything() -> None:
    policy = make_policy("rejection")
    progress = [OperationProgress("relu", 100, 50, 50, 50, 10, 1.5, {"timeout": 3})]
    assert {request.kind for request in policy.plan(progress, 50, 5)} == {"fresh"}
    feedback = Feedback(9, (failure(1, "timeout"),), (exemplar(1, 2.0),))
    assert policy.compose("improve", feedback, Random(0)) == PromptContext()


def kinds(one: OperationProgress, groups: int) -> list[str]:
    return [request.kind for request in make_policy("reprompt").plan([one], groups * 4, 4)]


def test_reprompt_starts_fresh_then_repairs_then_improves() -> None:
    assert set(kinds(OperationProgress("relu", 400), 6)) == {"fresh"}
    failing = OperationProgress("relu", 400, 8, 8, 8, 0, 0.0, {"timeout": 8})
    assert Counter(kinds(failing, 6)) == {"repair": 4, "fresh": 2}
    working = OperationProgress("relu", 400, 8, 8, 8, 2, 1.1, {"timeout": 6})
    assert Counter(kinds(working, 8)) == {"improve": 4, "fresh": 2, "repair": 2}
    flawless = OperationProgress("relu", 400, 8, 8, 8, 8, 1.1)
    assert Counter(kinds(flawless, 8)) == {"improve": 6, "fresh": 2}


def test_the_mix_goes_on_over_several_plans() -> None:
    """One group at a time gives the same kinds as all at once."""
    one_by_one = []
    for requested in range(0, 32, 4):
        one = OperationProgress("relu", 400, requested, correct=1, failures={"timeout": 1})
        one_by_one += [request.kind for request in make_policy("reprompt").plan([one], 4, 4)]
    assert one_by_one == kinds(OperationProgress("relu", 400, 0, correct=1, failures={"timeout": 1}), 8)


def test_repair_shows_frequent_classes_first_and_recent_kernels() -> None:
    classes = ["crash", "wrong_values", "timeout", "wrong_values", "wrong_shape", "timeout", "wrong_values"]
    failures = tuple(failure(i, c) for i, c in enumerate(classes))
    context = make_policy("reprompt").compose("repair", Feedback(7, failures), Random(0))
    assert [(f.error_type, f.hash) for f in context.failures] == [
        ("wrong_values", "f1"),
        ("timeout", "f2"),
        ("crash", "f0"),
    ]
    assert context.exemplars == ()


def test_improve_shows_the_best_and_varies_the_other() -> None:
    exemplars = tuple(exemplar(i, 9.0 - i) for i in range(8))
    feedback = Feedback(8, (failure(1, "timeout"), failure(2, "crash")), exemplars)
    policy = make_policy("reprompt")
    contexts = [policy.compose("improve", feedback, Random(seed)) for seed in range(40)]
    assert {c.exemplars[0].hash for c in contexts} == {"e0"}
    assert {c.exemplars[1].hash for c in contexts} == {"e1", "e2", "e3", "e4"}
    assert all(len(c.failures) == reprompt.FAILURES_TO_AVOID for c in contexts)
    assert contexts[0].parents == ("e0", contexts[0].exemplars[1].hash, "f1")


@given(feedback=feedbacks, kind=st.sampled_from(["fresh", "repair", "improve"]), seed=st.integers(0, 99))
def test_what_is_shown_was_known_and_is_little(feedback: Feedback, kind: str, seed: int) -> None:
    policy: Policy = make_policy("reprompt")
    context = policy.compose(kind, feedback, Random(seed))  # type: ignore[arg-type]
    assert context == policy.compose(kind, feedback, Random(seed))  # type: ignore[arg-type]
    assert set(context.failures) <= set(feedback.failures)
    assert set(context.exemplars) <= set(feedback.exemplars)
    assert len({f.error_type for f in context.failures}) == len(context.failures) <= 3
    assert len({e.hash for e in context.exemplars}) == len(context.exemplars) <= reprompt.EXEMPLARS
    if kind != "fresh" and (feedback.failures or feedback.exemplars):
        assert context.parents
    if kind == "fresh":
        assert not context.parents


def test_registry() -> None:
    assert DEFAULT == "reprompt"
    assert all(make_policy(name).name == name for name in POLICIES)
    with pytest.raises(ValueError, match="reprompt or rejection"):
        make_policy("greedy")


def test_the_example_of_the_readme_is_a_policy() -> None:
    folder = Path(search.__path__[0])
    code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.DOTALL)[0]
    scope: dict[str, object] = {"__package__": search.__name__, "__name__": "example"}
    exec(code, scope)
    policy = scope["BestOnly"]()  # type: ignore[operator]
    assert isinstance(policy, Policy)
    assert policy.plan([OperationProgress("relu", 10)], 10, 4)[0] == GroupRequest("relu", 4, "fresh")
    best = policy.compose("improve", Feedback(1, (), (exemplar(0, 2.0), exemplar(1, 1.0))), Random(0))
    assert [e.hash for e in best.exemplars] == ["e0"]
