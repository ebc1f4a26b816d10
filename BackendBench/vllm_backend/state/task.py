"""The messages that cross Redis on their way to a worker. JSON only; every field is validated on arrival."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Dsl = Literal["triton", "cuda", "numba"]
Target = Literal["cpu", "cuda"]
GroupKind = Literal["fresh", "repair", "improve"]


class Message(BaseModel):
    """Base of everything that is stored in or sent through Redis."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class GenerationTask(Message):
    """A *group*: one operation, one prompt, ``n`` candidates sampled from it."""

    id: str
    run: str
    operation: str
    n: int = Field(gt=0, le=1024)
    dsl: Dsl
    target: Target
    policy: str
    """Name of the search policy that composes the prompt from the feedback at hand when sampling starts."""
    temperature: float
    top_p: float
    kind: GroupKind = "fresh"
    seed: int = 0
    max_tokens: int = Field(default=2048, gt=0)


class EvaluationTask(Message):
    """One candidate on its way to an evaluating worker."""

    id: str
    """``{group id}:{index}``: deterministic, so that a group sampled twice cannot count twice."""
    run: str
    operation: str
    code: str
    hash: str
    """sha256 of the normalised source, hex."""
    dsl: Dsl
    target: Target
    model: str = ""
    parents: tuple[str, ...] = ()
    """Hashes of the kernels that the prompt showed."""
    prompt_kind: GroupKind = "fresh"
    feedback_version: int = 0
    """How many verdicts of this operation existed when the prompt was composed."""
    tokens: int = 0
    generation_seconds: float = 0.0
    """This sample's share of its engine's wall time: whatever is in flight at a moment shares that moment equally."""
    gpu_seconds: float = 0.0
    """The same times the GPUs of the engine; 0 for an engine that uses no GPU of this farm."""
    timestamp: float = 0.0
