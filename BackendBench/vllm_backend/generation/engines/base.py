"""The small interface between the generating worker and whatever writes the text.

Law: an engine knows prompts, samples and tokens; it knows nothing of operations, Redis or kernels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass


class EngineError(Exception):
    """The engine cannot go on; the message says what to do. Groups in flight are sampled again later."""


class EngineConfigError(EngineError):
    """The engine cannot start as configured: a missing model, an unreachable endpoint. One line, exit code 2."""


class PromptError(EngineError):
    """This prompt cannot be sampled, others can: it is too long for the model, or the server refuses it."""


@dataclass(frozen=True)
class Prompt:
    """A chat prompt: one system text, one user text."""

    system: str
    user: str

    def messages(self) -> list[dict[str, str]]:
        """As the OpenAI chat format wants it."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.user}]


@dataclass(frozen=True)
class SamplingParameters:
    """How to sample; names as in vLLM."""

    temperature: float = 0.8
    top_p: float = 0.95
    max_tokens: int = 2048
    seed: int | None = None


@dataclass(frozen=True)
class Sample:
    """One finished text of a group."""

    index: int
    """0 .. n-1, stable for a given seed where the engine is deterministic."""
    text: str
    tokens: int
    finish_reason: str = "stop"


@dataclass(frozen=True)
class Pressure:
    """What the engine says of itself; None where it cannot know."""

    running: int = 0
    waiting: int = 0
    kv_cache_usage: float | None = None
    preemptions: int | None = None


def room_left(prompt_tokens: int, context: int) -> int:
    """Tokens that a sample may have in a model's context. Raises PromptError when the prompt leaves none."""
    room = context - prompt_tokens
    if room < 1:
        raise PromptError(
            f"the prompt of {prompt_tokens} tokens leaves no room in the {context} of the model"
        )
    return room


class Engine(ABC):
    """Turns a prompt into ``n`` texts."""

    name: str = ""
    model: str = ""
    """What is recorded with every candidate as its writer."""
    gpus: int = 0
    """GPUs of this farm that work for it: their time is accounted. 0 for a server, whose GPUs are its own."""

    sequences: int = 0
    """Samples that it can work on at a time; 0: unknown."""

    @abstractmethod
    async def start(self) -> None:
        """Load or connect. Raises EngineConfigError with one line that says what to do."""

    @abstractmethod
    def sample(
        self, prompt: Prompt, n: int, parameters: SamplingParameters, group: str
    ) -> AsyncIterator[Sample]:
        """Yield each sample as soon as it is finished, in any order. Raises EngineError."""

    async def abort(self, group: str) -> None:  # noqa: B027 (optional)
        """Stop sampling for ``group``; its iterator ends early."""

    def pressure(self) -> Pressure:
        """Load of the engine now; cheap, no I/O."""
        return Pressure()

    async def pause(self) -> None:  # noqa: B027 (optional)
        """Leave the GPU alone until ``resume``; returns when nothing of the engine runs there. Samples in flight
        are kept, new ones wait. Raises EngineError."""

    async def resume(self) -> None:  # noqa: B027 (optional)
        """Go on after ``pause``. Raises EngineError."""

    @abstractmethod
    async def close(self) -> None:
        """Release everything; safe to call twice."""
