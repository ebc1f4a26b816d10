"""From what Redis knows of a run to its report. Pure: no clock, no Redis, no files.

- Counts come from the counters alone, which are complete; events only say *when*, and what happened to workers.
- The statement about the engine says plainly when no language model was at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from ...state.run_state import Event, OperationCounters
from .found import Found, Kernel
from .model import (
    BestKernel,
    Cost,
    Counts,
    Death,
    Device,
    Engine,
    FeedbackLag,
    OperationReport,
    Rates,
    Report,
    RunState,
    Workload,
)
from .timeline import ENDINGS, WorkClock, timeline

T = TypeVar("T", int, float)
Moments = Mapping[tuple[str, str], float]
"""By operation and hash: when its verdict came."""


def collect(found: Found) -> Report:
    """The report."""
    run, counters = found.run, found.counters
    state, reason = _state(found)
    clock = WorkClock.of(found)
    moments = _verdict_moments(found.events)
    operations = tuple(_operation(one, found, clock, moments) for one in counters)
    counts = _sum_counts(o.counts for o in operations)
    seconds = clock.total
    return Report(
        run=run.id,
        state=state,
        reason=reason,
        written=found.now,
        started=run.started,
        ended=None if state == "running" else clock.end,
        work_seconds=seconds,
        resumes=len(clock.spans) - 1,
        engine=_engine(found),
        target=str(run.config.get("target", "")),
        devices=_devices(found),
        counts=counts,
        rates=Rates(
            generated=_per(counts.generated, seconds / 60),
            evaluated=_per(counts.evaluated, seconds / 60),
            correct=_per(counts.correct, seconds / 60),
        ),
        failures=_added(o.failures for o in operations),
        unusable_reasons=_added(o.unusable_reasons for o in operations),
        first_correct_after=_earliest(o.first_correct_after for o in operations),
        first_faster_after=_earliest(o.first_faster_after for o in operations),
        cost=_cost(counters),
        feedback_lag=_lag(counters),
        stage_seconds=_added(one.stage_seconds for one in counters),
        deaths=tuple(_death(event, clock) for event in found.events if event.fields.get("kind") == "worker_died"),
        operations=operations,
        timeline=timeline(found, clock, counts),
        settings=dict(run.config),
    )  # fmt: skip


# -- parts ----------------------------------------------------------------------------------------------------
def _state(found: Found) -> tuple[RunState, str]:
    endings = [e for e in found.events if e.fields.get("kind") in (*ENDINGS, "resumed")]
    last = endings[-1].fields if endings else {}
    if found.run.status == "running":
        return ("running", "") if found.alive else ("killed", "its processes ended without a word")
    if last.get("kind") == "failed":
        return "failed", last.get("reason", "")
    return found.run.status, last.get("reason", "")


def _operation(one: OperationCounters, found: Found, clock: WorkClock, moments: Moments) -> OperationReport:
    return OperationReport(
        operation=one.operation,
        counts=Counts(
            requested=one.requested, generated=one.generated, duplicates=one.duplicates, unusable=one.unusable,
            evaluated=one.evaluated, correct=one.correct, faster=one.faster, waiting=one.awaiting_evaluation,
            abandoned=one.abandoned, shortfall=one.shortfall,
        ),
        failures=one.errors,
        unusable_reasons=one.unusable_reasons,
        first_correct_after=None if one.first_correct is None else clock.after(one.first_correct),
        first_faster_after=None if one.first_faster is None else clock.after(one.first_faster),
        best=_best(one, found, clock, moments),
        average_speedup=one.avg_speedup or None,
        known_speedup=one.best_known_speedup or None,
        cost=_cost([one]),
        feedback_lag=_lag([one]),
        stage_seconds=_added([one.stage_seconds]),
        groups=one.groups,
    )  # fmt: skip


def _best(one: OperationCounters, found: Found, clock: WorkClock, moments: Moments) -> BestKernel | None:
    kernel = found.kernels.get((one.operation, one.best_hash))
    if kernel is None:
        return None
    moment = moments.get((one.operation, one.best_hash))
    return BestKernel(
        hash=one.best_hash,
        speedup=kernel["speedup"],
        speedup_low=kernel["speedup_low"],
        speedup_high=kernel["speedup_high"],
        faster_than_eager=kernel["faster_than_eager"],
        label=kernel.get("label", ""),
        device=kernel.get("device", ""),
        model=kernel.get("model", ""),
        found_after=None if moment is None else clock.after(moment),
        workloads=tuple(
            Workload(**{name: timing[name] for name in Workload.model_fields if name in timing})
            for timing in kernel.get("timings", ())
        ),
    )


def _verdict_moments(events: Iterable[Event]) -> Moments:
    verdicts = (e for e in events if e.fields.get("kind") == "verdict")
    return {(e.fields["operation"], e.fields["hash"]): e.time for e in verdicts}


def _cost(counters: Sequence[OperationCounters]) -> Cost:
    def total(read: Callable[[OperationCounters], float]) -> float:
        return sum(read(one) for one in counters)

    tokens = sum(one.tokens for one in counters)
    generation, gpu = total(lambda o: o.generation_seconds), total(lambda o: o.gpu_seconds)
    evaluation = total(lambda o: sum(o.stage_seconds.values()))
    generated, evaluated = total(lambda o: o.generated), total(lambda o: o.evaluated)
    correct = total(lambda o: o.correct)
    return Cost(
        tokens=tokens,
        generation_seconds=generation,
        gpu_seconds=gpu,
        evaluation_seconds=evaluation,
        tokens_per_candidate=_per(tokens, generated),
        generation_seconds_per_candidate=_per(generation, generated),
        evaluation_seconds_per_candidate=_per(evaluation, evaluated),
        tokens_per_accepted=_per(tokens, correct),
        generation_seconds_per_accepted=_per(generation, correct),
        gpu_seconds_per_accepted=_per(gpu, correct),
        evaluation_seconds_per_accepted=_per(evaluation, correct),
    )


def _lag(counters: Sequence[OperationCounters]) -> FeedbackLag:
    evaluated = sum(one.evaluated for one in counters)
    return FeedbackLag(
        mean=_per(sum(one.feedback_lag_sum for one in counters), evaluated),
        largest=max((one.feedback_lag_max for one in counters), default=0),
    )


def _engine(found: Found) -> Engine:
    config = found.run.config
    name = str(config.get("engine") or "unknown")
    models = tuple(sorted(set(found.models) - {""}))
    if name == "grammar":
        statement = (
            "No language model: the candidates were written by a grammar of kernels. "
            "These numbers describe the farm, not the skill of a model."
        )
        return Engine(name=name, models=models, language_model=False, statement=statement)
    if name == "embedded":
        statement = (
            "The candidates were written by this project's own small language model (kernel_lm), trained on kernels "
            "of the project's grammar, with their mistakes. These numbers describe the farm, not what a large model "
            "can do."
        )
        return Engine(name=name, models=models, language_model=True, statement=statement)
    model = ", ".join(models) or str(config.get("model") or "") or "the model that the endpoint serves"
    return Engine(
        name=name,
        models=models,
        language_model=True,
        statement=f"The candidates were written by the language model {model}, engine {name}.",
    )


def _devices(found: Found) -> tuple[Device, ...]:
    """What judged, from the latest verdict of each worker."""
    latest: dict[str, Kernel] = {}
    for event in found.events:
        key = (event.fields.get("operation", ""), event.fields.get("hash", ""))
        kernel = found.kernels.get(key) if event.fields.get("kind") == "verdict" else None
        if kernel and kernel.get("device"):
            latest[event.fields.get("worker", "")] = kernel
    by_device: dict[str, list[Kernel]] = {}
    for kernel in latest.values():
        by_device.setdefault(str(kernel["device"]), []).append(kernel)
    return tuple(
        Device(
            device=name,
            workers=len(kernels),
            versions=dict(kernels[-1].get("versions", {})),
            conditions={str(k): str(v) for k, v in kernels[-1].get("conditions", {}).items()},
        )
        for name, kernels in sorted(by_device.items())
    )


def _death(event: Event, clock: WorkClock) -> Death:
    fields = event.fields
    return Death(
        worker=fields.get("worker", ""), code=int(fields.get("code", 0)), after=clock.after(event.time),
        returned=int(fields.get("returned", 0)),
    )  # fmt: skip


# -- arithmetic ---------------------------------------------------------------------------------------------------
def _per(amount: float, of: float) -> float | None:
    return amount / of if of > 0 else None


def _added(parts: Iterable[Mapping[str, T]]) -> dict[str, T]:
    """Sums by name, largest first."""
    sums: dict[str, T] = {}
    for part in parts:
        for name, value in part.items():
            sums[name] = sums[name] + value if name in sums else value
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def _earliest(moments: Iterable[float | None]) -> float | None:
    return min((m for m in moments if m is not None), default=None)


def _sum_counts(parts: Iterable[Counts]) -> Counts:
    return Counts(**_added(part.model_dump() for part in parts))
