"""What the benchmarks of generation wrote, as tables for the documentation; ``tables.py`` puts them there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from BackendBench.vllm_backend.monitor.report.model import Report
from BackendBench.vllm_backend.monitor.words import decimal, seconds


class Generation(BaseModel):
    """generation_throughput.py"""

    device: str
    versions: dict[str, str]
    date: str
    command: str
    model: str
    candidates: int
    group_size: int
    max_tokens: int
    tokens_per_second: dict[str, list[float]]
    ratio: float
    candidates_per_minute: float
    prefix_hit_rate: float


class Spread(BaseModel):
    """Over the seeds."""

    mean: float
    low: float
    high: float


class Policy(BaseModel):
    """One policy of policies.py"""

    policy: str
    seeds: int
    generated: int
    duplicates: int
    unusable: int
    evaluated: int
    correct: int
    faster: int
    acceptance: Spread
    acceptance_of_evaluated: Spread
    best_speedup: Spread


class Policies(BaseModel):
    """policies.py"""

    device: str
    versions: dict[str, str]
    date: str
    command: str
    engine: str
    common_operations: list[str]
    policies: list[Policy]
    operations: list[dict[str, Any]]


class SharedGpu(BaseModel):
    """shared_gpu.py"""

    device: str
    versions: dict[str, str]
    date: str
    command: str
    engine: str
    rows: list[dict[str, Any]]
    totals: dict[str, Any]
    generated_meanwhile: int
    generated_alone_per_minute: int
    shared_seconds: float
    free_seconds: float


Row = Sequence[object]
Block = str | tuple[Row, list[Row]]
"""Text, or the header and rows of a table."""


def generation(documents: Iterable[Generation]) -> list[Block]:
    """The worker against vLLM used offline."""
    rows: list[Row] = []
    commands: list[Block] = []
    for one in documents:
        worker, offline = (
            f"{min(v):,.0f}" if min(v) == max(v) else f"{min(v):,.0f} to {max(v):,.0f}"
            for v in (one.tokens_per_second["worker"], one.tokens_per_second["offline"])
        )
        rows.append(
            (
                one.model, f"{one.candidates:,} in groups of {one.group_size}, {one.max_tokens} tokens",
                worker, offline,
                f"{100 * one.ratio:.1f} %", f"{one.candidates_per_minute:,.0f}", f"{100 * one.prefix_hit_rate:.1f} %",
            )
        )  # fmt: skip
        commands.append(about(one))
    header = (
        "model", "candidates", "worker, tok/s", "vLLM offline, tok/s", "worker of offline", "candidates/min",
        "prefix cache hits",
    )  # fmt: skip
    return [*commands, (header, rows)]


def policies(documents: Iterable[Policies]) -> list[Block]:
    """Reprompting against plain rejection."""
    blocks: list[Block] = []
    for one in documents:
        rows: list[Row] = [
            (
                p.policy, p.seeds, p.generated, p.duplicates, p.unusable, p.evaluated, p.correct, p.faster,
                spread(p.acceptance, 100, 1), spread(p.acceptance_of_evaluated, 100, 1), spread(p.best_speedup, 1, 3),
            )
            for p in one.policies
        ]  # fmt: skip
        header = (
            "policy", "seeds", "generated", "duplicates", "unusable", "evaluated", "correct", "faster", "accepted, %",
            "of the evaluated, %", "best speedup",
        )  # fmt: skip
        names = [p.policy for p in one.policies]
        best: list[Row] = [(o["operation"], *(numbers(o[name]) for name in names)) for o in one.operations]
        blocks += [about(one), (header, rows)]
        blocks.append(
            f"Mean (smallest to largest) over the seeds; best speedup over {', '.join(one.common_operations)}. "
            "Best speedup of each seed:"
        )
        blocks.append((("operation", *names), best))
    return blocks


def shared_gpu(documents: Iterable[SharedGpu]) -> list[Block]:
    """Speedups beside generation and without it."""
    blocks: list[Block] = []
    for one in documents:
        rows: list[Row] = [
            (
                r["kernel"], interval(r["free"]), interval(r["shared"]), f"{r['ratio']:.3f}",
                "yes" if r["overlap"] else "no", f"{r['time_ratio']:.3f}",
            )
            for r in one.rows if "ratio" in r
        ]  # fmt: skip
        header = ("kernel", "free", "shared", "shared / free", "intervals overlap", "its time, shared / free")
        blocks += [about(one), (header, rows)]
        total = one.totals
        if total.get("kernels"):
            blocks.append(
                f"{total['kernels']} kernels: speedup shared / free {total['ratio']:.4f}, largest deviation "
                f"{100 * total['largest_deviation']:.1f} %; kernels' times {total['time_ratio']:.4f}. Engine: "
                f"{one.engine}; it wrote {one.generated_meanwhile} candidates in the {one.shared_seconds:.0f} s of "
                f"judging ({one.generated_alone_per_minute} a minute alone)."
            )
    return blocks


def loop(documents: Iterable[Report]) -> list[Block]:
    """A whole run, from its report.json."""
    blocks: list[Block] = []
    for one in documents:
        device = one.devices[0] if one.devices else None
        rates, counts = one.rates, one.counts
        blocks.append(
            f"{device.device if device else ''}, run `{one.run}` ({one.state}: {one.reason or 'done'}), "
            f"{seconds(one.work_seconds)} of work, {', '.join(one.engine.models) or one.engine.name}: "
            f"{counts.generated:,} generated ({decimal(rates.generated)} a minute, {counts.duplicates:,} duplicates, "
            f"{counts.unusable:,} unusable), {counts.evaluated:,} evaluated ({decimal(rates.evaluated)} a minute), "
            f"{counts.correct:,} accepted ({decimal(rates.correct)} a minute), {counts.faster:,} faster than eager."
        )
        rows: list[Row] = [
            (
                o.operation, o.counts.generated, o.counts.evaluated, o.counts.correct, seconds(o.first_correct_after),
                seconds(o.first_faster_after), "-" if o.best is None else f"{o.best.speedup:.3f}",
                "-" if o.best is None else f"{o.best.speedup_low:.3f} to {o.best.speedup_high:.3f}",
            )
            for o in one.operations
        ]  # fmt: skip
        header = (
            "operation", "generated", "evaluated", "accepted", "first correct", "first faster", "best speedup",
            "95 % interval",
        )  # fmt: skip
        blocks.append((header, rows))
        total = sum(one.stage_seconds.values())
        stages = [(name, f"{s:.1f}", f"{100 * s / total:.1f} %") for name, s in one.stage_seconds.items()]
        blocks.append(
            "Where the time of evaluation went, summed over candidates that are judged side by side:"
        )
        blocks.append((("stage", "seconds", "share"), list(stages)))
    return blocks


def about(document: Generation | Policies | SharedGpu) -> str:
    """When, on what, by which command."""
    versions = ", ".join(f"{name} {version}" for name, version in document.versions.items())
    return f"{document.date}, {document.device} ({versions}): `{document.command.replace('`', '')}`"


def spread(value: Spread, factor: float, digits: int) -> str:
    """``54.0 (51.2 to 58.1)``."""
    mean, low, high = (f"{factor * number:.{digits}f}" for number in (value.mean, value.low, value.high))
    return f"{mean} ({low} to {high})"


def numbers(values: Sequence[float | None]) -> str:
    """One a seed."""
    return " ".join("-" if value is None else f"{value:.3f}" for value in values)


def interval(side: dict[str, float]) -> str:
    """A speedup with its interval."""
    return f"{side['speedup']:.3f} [{side['low']:.3f}, {side['high']:.3f}]"
