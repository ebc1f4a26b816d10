"""Reprompting: what failed and what worked is shown to the model, which tries again.

- ``fresh`` prompts show nothing, ``repair`` prompts show failures, ``improve`` prompts show the best kernels.
- Until something was judged, everything is fresh. Until something is correct, two of three groups repair. Then
  half of the groups improve; some stay fresh, because a model that only sees its own kernels stops exploring.
- Failures enter by class: the most frequent classes first, the most recent kernel of each.
- The best kernel is always shown to improve on, with another good one drawn at random, so that prompts differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from ..state.task import GroupKind
from .fair_share import shares
from .policy import Exemplar, Failure, Feedback, GroupRequest, OperationProgress, Policy, PromptContext

FAILURES_TO_REPAIR = 3
"""Classes shown in a repair prompt: with their code some 2,000 tokens; more would cost prefill and attention."""
FAILURES_TO_AVOID = 1
"""Classes shown beside the best kernels: a warning, while the subject is speed."""
EXEMPLARS = 2
"""Best kernels shown to improve on: two let the model combine, more are mostly the same kernel again."""
EXEMPLAR_POOL = 5
"""Ranks from which the second one is drawn."""

BEFORE_SUCCESS: tuple[GroupKind, ...] = ("repair", "fresh", "repair")
AFTER_SUCCESS: tuple[GroupKind, ...] = ("improve", "fresh", "improve", "repair")
"""The kinds of successive groups, repeated."""


class Reprompt(Policy):
    """See the module's docstring."""

    name = "reprompt"

    def plan(
        self, progress: Sequence[OperationProgress], capacity: int, group_size: int
    ) -> list[GroupRequest]:
        """Groups in fair shares, their kinds by what the operation has reached."""
        return [
            GroupRequest(one.operation, n, kind_of(one, one.requested // max(1, group_size) + given))
            for one, n, given in shares(progress, capacity, group_size)
        ]

    def compose(self, kind: GroupKind, feedback: Feedback, rng: Random) -> PromptContext:
        """What the prompt shows; a repair without failures improves, an improvement without exemplars repairs."""
        if kind == "fresh":
            return PromptContext()
        exemplars = choose_exemplars(feedback.exemplars, rng)
        if exemplars and (kind == "improve" or not feedback.failures):
            return PromptContext(choose_failures(feedback.failures, FAILURES_TO_AVOID), exemplars)
        return PromptContext(choose_failures(feedback.failures, FAILURES_TO_REPAIR))


def kind_of(one: OperationProgress, group: int) -> GroupKind:
    """Kind of the operation's group of that number, counted over the whole run."""
    if one.correct > 0:
        kind = AFTER_SUCCESS[group % len(AFTER_SUCCESS)]
        return "improve" if kind == "repair" and not one.failures else kind
    if one.failures:
        return BEFORE_SUCCESS[group % len(BEFORE_SUCCESS)]
    return "fresh"


def choose_failures(failures: Sequence[Failure], count: int) -> tuple[Failure, ...]:
    """The most recent failure of each of the ``count`` most frequent classes; ``failures``: most recent first."""
    latest: dict[str, Failure] = {}
    for failure in failures:
        latest.setdefault(failure.error_type, failure)
    frequency = Counter(failure.error_type for failure in failures)
    # Equally frequent: the class seen last comes first (dicts and sorting keep the order).
    classes = sorted(latest, key=lambda error_type: -frequency[error_type])
    return tuple(latest[error_type] for error_type in classes[:count])


def choose_exemplars(exemplars: Sequence[Exemplar], rng: Random) -> tuple[Exemplar, ...]:
    """The best and others of the EXEMPLAR_POOL best ones; ``exemplars``: best first. Best first again."""
    if len(exemplars) <= 1:
        return tuple(exemplars)
    ranks = range(1, min(EXEMPLAR_POOL, len(exemplars)))
    drawn = sorted(rng.sample(ranks, min(EXEMPLARS - 1, len(ranks))))
    return (exemplars[0], *(exemplars[i] for i in drawn))
