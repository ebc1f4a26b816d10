"""Rejection sampling: fresh candidates for every operation, the best is kept. Nothing is fed back.

It is the baseline that every other policy has to beat, and the way to sample training data without bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..state.task import GroupKind
from .fair_share import shares
from .policy import Feedback, GroupRequest, OperationProgress, Policy, PromptContext


class Rejection(Policy):
    """See the module's docstring."""

    name = "rejection"

    def plan(
        self, progress: Sequence[OperationProgress], capacity: int, group_size: int
    ) -> list[GroupRequest]:
        """Fresh groups, in fair shares."""
        return [
            GroupRequest(one.operation, n, "fresh") for one, n, _ in shares(progress, capacity, group_size)
        ]

    def compose(self, kind: GroupKind, feedback: Feedback, rng: Random) -> PromptContext:
        """The bare prompt."""
        return PromptContext()
