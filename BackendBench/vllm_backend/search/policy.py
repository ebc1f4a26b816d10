"""The interface of a search policy: what to sample next, and what the prompt shows.

Law: a policy is pure. It owns no clock, socket or task; all that it knows is in its arguments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from ..state.task import GroupKind


@dataclass(frozen=True)
class OperationProgress:
    """Where one operation of one run stands; all counts are of this run."""

    operation: str
    budget: int
    """Candidates that may be generated."""
    requested: int = 0
    """Candidates asked of the generators so far (groups queued, running or done)."""
    generated: int = 0
    """Samples that came back: queued for evaluation, duplicate or unusable."""
    evaluated: int = 0
    correct: int = 0
    best_speedup: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    """Error class to count."""

    @property
    def remaining(self) -> int:
        """Candidates that may still be asked for."""
        return max(0, self.budget - self.requested)


@dataclass(frozen=True)
class GroupRequest:
    """A wish of the policy: sample ``n`` candidates for ``operation``."""

    operation: str
    n: int
    kind: GroupKind = "fresh"


@dataclass(frozen=True)
class Failure:
    """A rejected kernel as feedback."""

    hash: str
    error_type: str
    message: str
    failing_case: str
    code: str


@dataclass(frozen=True)
class Exemplar:
    """An accepted kernel as feedback."""

    hash: str
    speedup: float
    code: str


@dataclass(frozen=True)
class Feedback:
    """What the store knows of an operation when a prompt is composed."""

    version: int = 0
    failures: Sequence[Failure] = ()
    """Most recent first."""
    exemplars: Sequence[Exemplar] = ()
    """Best first."""


@dataclass(frozen=True)
class PromptContext:
    """What a prompt shows besides the operation itself."""

    failures: Sequence[Failure] = ()
    exemplars: Sequence[Exemplar] = ()

    @property
    def parents(self) -> tuple[str, ...]:
        """Hashes of the kernels shown."""
        return tuple(e.hash for e in self.exemplars) + tuple(f.hash for f in self.failures)


class Policy(ABC):
    """A way of searching. One sibling file each; see README.md of this folder."""

    name: str = ""

    @abstractmethod
    def plan(
        self, progress: Sequence[OperationProgress], capacity: int, group_size: int
    ) -> list[GroupRequest]:
        """Groups to ask for now: at most ``capacity`` candidates in all, ``group_size`` a group."""

    @abstractmethod
    def compose(self, kind: GroupKind, feedback: Feedback, rng: Random) -> PromptContext:
        """What the prompt of a group of this kind shows."""
