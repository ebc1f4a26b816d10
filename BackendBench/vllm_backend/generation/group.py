"""One group in the hands of a worker: prompt, samples, candidates.

- The prompt is composed when sampling starts, from the feedback of that moment.
- Each sample goes to evaluation as soon as it is finished, under the id ``{group}:{index}``.
- Indices that an earlier holder has submitted are not sampled again.
- A prompt that the engine refuses is tried once more without feedback. If even that is refused, no prompt of the
  farm fits the engine: that is a mistake of the configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import structlog

from ..search.policy import Feedback, Policy, PromptContext
from ..state.intake import candidate_id, record_unusable, submit_candidate
from ..state.scripts import ScriptCall
from ..state.task import EvaluationTask, GenerationTask
from .analysis import Analyst
from .engines.base import Engine, EngineConfigError, EngineError, PromptError, Sample, SamplingParameters
from .extraction import Unusable
from .operation_view import OperationView
from .prompts import compose_prompt
from .time_share import TimeShare

T = TypeVar("T")
Commit = Callable[[ScriptCall[str]], Awaitable[str]]
"""Runs a script against Redis, patiently."""

log = structlog.get_logger()


@dataclass
class Group:
    """A claimed group and how far it is."""

    task: GenerationTask
    missing: list[int]
    """Indices that nobody has submitted yet."""
    abort_reason: str = ""
    """``closed``: its operation needs no more; ``lost``: another worker has it; ``leaving``: this one goes."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """queued, duplicate, repeated and unusable samples."""
    tokens: int = 0


@dataclass(frozen=True)
class Tools:
    """What every group of a worker uses."""

    engine: Engine
    clock: TimeShare
    commit: Commit
    analyst: Analyst
    device_name: str


async def sample_group(
    group: Group, view: OperationView, policy: Policy, feedback: Feedback, tools: Tools
) -> None:
    """Sample what is missing and submit it. Raises EngineError, EngineConfigError."""
    context = policy.compose(group.task.kind, feedback, Random(group.task.seed))
    try:
        await _sample(group, view, context, feedback.version, tools)
    except PromptError as error:
        if not context.parents:
            raise EngineConfigError(_too_long(error)) from error
        log.warning("prompt_refused", group=group.task.id, reason=str(error))
        try:
            await _sample(group, view, PromptContext(), feedback.version, tools)
        except PromptError as again:
            raise EngineConfigError(_too_long(again)) from again


async def _sample(
    group: Group, view: OperationView, context: PromptContext, version: int, tools: Tools
) -> None:
    task, wanted = group.task, list(group.missing)
    prompt = compose_prompt(view, task.dsl, task.target, tools.device_name, context)
    parameters = SamplingParameters(task.temperature, task.top_p, task.max_tokens, _seed(task, wanted))
    mark = tools.clock.start(time.monotonic(), len(wanted))
    left = len(wanted)
    try:
        samples = tools.engine.sample(prompt, len(wanted), parameters, task.id)
        async with contextlib.aclosing(samples) as finished:  # type: ignore[type-var]
            async for sample in finished:
                if group.abort_reason:
                    return
                index = wanted[sample.index]
                if index not in group.missing:
                    continue
                left -= 1
                seconds = tools.clock.end(time.monotonic(), mark)
                group.missing.remove(index)
                outcome = await _submit(group, view, context, version, index, sample, seconds, tools)
                group.outcomes[outcome] += 1
                group.tokens += sample.tokens
    finally:
        tools.clock.drop(time.monotonic(), left)
    if group.missing and not group.abort_reason:  # it was closed under way, because another group saw it fail
        raise EngineError("the engine ended before the group did")


async def _submit(
    group: Group, view: OperationView, context: PromptContext, version: int, index: int, sample: Sample,
    seconds: float, tools: Tools,
) -> str:  # fmt: skip
    """Hand one sample on; returns what became of it."""
    task, gpu_seconds = group.task, seconds * tools.engine.gpus
    truncated = sample.finish_reason == "length"
    found = await tools.analyst.analyse(sample.text, view.function, truncated=truncated)
    if isinstance(found, Unusable):
        log.info("unusable", task=candidate_id(task.id, index), reason=found.value)
        return await tools.commit(
            record_unusable(
                task,
                index,
                found.value,
                tokens=sample.tokens,
                generation_seconds=seconds,
                gpu_seconds=gpu_seconds,
            )
        )
    candidate = EvaluationTask(
        id=candidate_id(task.id, index),
        run=task.run,
        operation=task.operation,
        code=found.code,
        hash=found.hash,
        dsl=task.dsl,
        target=task.target,
        model=tools.engine.model or tools.engine.name,
        parents=context.parents,
        prompt_kind=task.kind,
        feedback_version=version,
        tokens=sample.tokens,
        generation_seconds=seconds,
        gpu_seconds=gpu_seconds,
        timestamp=time.time(),
    )
    return await tools.commit(submit_candidate(candidate))


def _seed(task: GenerationTask, wanted: list[int]) -> int:
    """The group's own seed; another one for a rest, whose first index must not repeat the text of index 0."""
    if len(wanted) == task.n:
        return task.seed
    return Random(f"{task.seed}/{wanted}").randrange(2**31)


def _too_long(error: PromptError) -> str:
    return (
        f"the engine refuses even a prompt without feedback, so nothing can be sampled: {error}; "
        "give a model with a longer context, or a larger max_model_len"
    )


async def settled(task: asyncio.Future[T]) -> None:
    """Wait for the end of a task, whatever it is."""
    with contextlib.suppress(BaseException):
        await asyncio.shield(task)
