"""The report in words: tables that terminal, Markdown and HTML all show. Pure.

- One table is made once; so the three forms cannot disagree.
- ``brief`` tables also go to the terminal.
- A table that would be empty is left out, except those whose emptiness says something.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import words
from ..table import Column, Table, columns
from .model import Cost, OperationReport, Report

FEW_OPERATIONS = 4
"""Operations named behind a failure class; more make a line that nobody reads."""


def tables(report: Report) -> list[Table]:
    """All tables in reading order."""
    made = [
        summary(report), operations(report), workloads(report), failures(report), unusable(report), costs(report),
        stages(report), deaths(report), conditions(report), settings(report),
    ]  # fmt: skip
    return [table for table in made if table.rows]


def summary(report: Report) -> Table:
    """What became of the candidates."""
    counts, rates = report.counts, report.rates
    rows = [
        ("generated", words.count(counts.generated), f"{words.decimal(rates.generated)} per minute"),
        ("duplicates", words.count(counts.duplicates), "not evaluated again"),
        (
            "unusable",
            words.count(counts.unusable),
            _or(words.listed(report.unusable_reasons), "no reason seen"),
        ),
        ("evaluated", words.count(counts.evaluated), f"{words.decimal(rates.evaluated)} per minute"),
        (
            "correct",
            words.count(counts.correct),
            f"{words.share(counts.correct, counts.evaluated)} of the evaluated, "
            f"{words.decimal(rates.correct)} per minute",
        ),
        ("faster than eager", words.count(counts.faster), "whole 95 % interval above 1"),
    ]
    if counts.waiting:
        rows.append(("not evaluated yet", words.count(counts.waiting), "set aside, or still in the queue"))
    if counts.abandoned:
        rows.append(
            ("set aside", words.count(counts.abandoned), "infrastructure kept failing; not the kernel")
        )
    if counts.shortfall:
        rows.append(
            ("never came", words.count(counts.shortfall), "samples asked for that generation gave up")
        )
    rows += [
        ("first correct kernel", words.seconds(report.first_correct_after), "of work after the start"),
        ("first faster than eager", words.seconds(report.first_faster_after), "of work after the start"),
        ("time at work", words.seconds(report.work_seconds), _work(report)),
    ]
    heads = (Column("candidates", number=False), Column("number"), Column("", number=False))
    return Table("summary", "Candidates", heads, tuple(rows))


def operations(report: Report) -> Table:
    """One row for each operation."""
    names = (
        "generated", "duplicates", "unusable", "evaluated", "correct", "faster", "first correct", "first faster",
        "best speedup", "95 % interval",
    )  # fmt: skip
    spare = frozenset({"duplicates", "unusable", "first correct", "first faster"})
    heads = columns("operation", *names, last="against eager", spare=spare)
    note = (
        "Best speedup: eager time over kernel time, geometric mean over the workloads, of this run's best kernel. "
        "The interval is that of this one measurement; faster or slower is said only when all of it lies on one "
        "side of 1."
    )
    return Table("operations", "Operations", heads, tuple(_operation(o) for o in report.operations), note)


def workloads(report: Report) -> Table:
    """The best kernels on each workload."""
    names = (
        "eager µs",
        "kernel µs",
        "speedup",
        "95 % interval",
        "samples",
        "GB/s",
        "TFLOP/s",
        "of the roofline",
    )
    heads = (Column("operation", number=False), Column("workload", number=False), *map(Column, names))
    rows = [
        (
            one.operation,
            w.workload,
            words.decimal(w.eager_us, 4),
            words.decimal(w.candidate_us, 4),
            words.speedup(w.speedup),
            words.interval(w.speedup_low, w.speedup_high),
            words.count(w.samples),
            words.decimal(w.gbps),
            words.decimal(w.tflops),
            words.NOTHING if w.roofline_fraction is None else words.share(w.roofline_fraction, 1.0),
        )
        for one in report.operations
        if one.best is not None
        for w in one.best.workloads
    ]
    note = "Median time of one call on each side, timed alternately."
    return Table("workloads", "Best kernels by workload", heads, tuple(rows), note, brief=False)


def failures(report: Report) -> Table:
    """Error classes."""
    total = sum(report.failures.values())
    rows = [
        (words.plain(name), words.count(n), words.share(n, total), _where(name, report.operations))
        for name, n in report.failures.items()
    ]
    heads = (
        Column("failure class", number=False),
        Column("kernels"),
        Column("share"),
        Column("", number=False),
    )
    return Table("failures", "Failures by class", heads, tuple(rows))


def unusable(report: Report) -> Table:
    """Samples without a kernel."""
    rows = [
        (words.plain(name), words.count(n), words.share(n, report.counts.generated))
        for name, n in report.unusable_reasons.items()
    ]
    heads = (Column("unusable because", number=False), Column("samples"), Column("of the generated"))
    return Table("unusable", "Unusable samples by reason", heads, tuple(rows), brief=False)


def costs(report: Report) -> Table:
    """What a candidate and an accepted kernel took."""
    names = (
        "tokens", "tokens / candidate", "generation s / candidate", "evaluation s / candidate",
        "tokens / accepted", "generation s / accepted", "GPU s / accepted", "evaluation s / accepted",
        "feedback lag", "largest lag",
    )  # fmt: skip
    spare = frozenset({"generation s / candidate", "tokens / candidate", "GPU s / accepted", "largest lag"})
    heads = columns("operation", *names, spare=spare)
    rows = [(o.operation, *_cost(o.cost), *_lag(o)) for o in report.operations]
    rows.append(("all", *_cost(report.cost), *_lag(report)))
    note = (
        "Accepted: correct. Generation seconds are the engine's wall time shared among the samples in flight, GPU "
        "seconds the same times its GPUs (0: an engine that uses none of this farm's). Evaluation seconds are summed "
        "over candidates that may be judged side by side. Feedback lag: verdicts on the operation between a "
        "candidate's prompt and its own verdict, mean."
    )
    return Table(
        "costs", "Cost", heads, tuple(rows), note, emphasis=frozenset({len(rows) - 1})
    )  # fmt: skip


def stages(report: Report) -> Table:
    """Where evaluation time went."""
    total = sum(report.stage_seconds.values())
    rows = [
        (
            words.plain(name),
            words.decimal(spent),
            words.share(spent, total),
            words.decimal(spent / report.counts.evaluated if report.counts.evaluated else None),
        )
        for name, spent in report.stage_seconds.items()
    ]
    heads = (Column("stage", number=False), Column("seconds"), Column("share"), Column("s / evaluated"))
    note = "Wall seconds summed over candidates. wait: for other candidates to leave the device alone."
    return Table("stages", "Where evaluation time went", heads, tuple(rows), note)


def deaths(report: Report) -> Table:
    """Workers that died."""
    rows = [(d.worker, str(d.code), words.seconds(d.after), words.count(d.returned)) for d in report.deaths]
    heads = (
        Column("worker that died", number=False),
        Column("exit code"),
        Column("after"),
        Column("tasks given back"),
    )
    note = (
        "Each was started again unless it kept dying or the run was ending. 128 and more: killed by a signal."
    )
    return Table("deaths", "Restarts", heads, tuple(rows), note)


def conditions(report: Report) -> Table:
    """Under which conditions it was measured."""
    rows = [
        ("run", report.run),
        ("state", f"{report.state}: {report.reason}" if report.reason else report.state),
        ("started", words.moment(report.started)),
        ("ended", words.moment(report.ended)),
        ("engine", f"{report.engine.name}. {report.engine.statement}"),
        ("workers that died", words.count(len(report.deaths))),
        ("target", report.target or words.NOTHING),
    ]
    for device in report.devices:
        many = f" ({device.workers} workers)" if device.workers > 1 else ""
        rows.append(("device", device.device + many))
        rows += [(words.plain(name), value) for name, value in device.conditions.items()]
        rows.append(("versions", ", ".join(f"{name} {value}" for name, value in device.versions.items())))
    if not report.devices:
        rows.append(("device", "nothing was judged"))
    heads = (Column("conditions", number=False), Column("", number=False))
    return Table("conditions", "Conditions", heads, tuple(rows))


def settings(report: Report) -> Table:
    """The settings as resolved."""
    heads = (Column("setting", number=False), Column("value", number=False))
    return Table("settings", "Settings", heads, tuple(_flat(report.settings)), brief=False)


# -- cells -------------------------------------------------------------------------------------------------------
def _operation(one: OperationReport) -> tuple[str, ...]:
    counts, best = one.counts, one.best
    numbers = (
        counts.generated, counts.duplicates, counts.unusable, counts.evaluated, counts.correct, counts.faster
    )  # fmt: skip
    if best is None:
        fastest = (words.NOTHING, words.NOTHING, _known(one))
    else:
        verdict = words.against_eager(best.speedup_low, best.speedup_high)
        label = f" ({words.plain(best.label)})" if best.label else ""
        fastest = (
            words.speedup(best.speedup),
            words.interval(best.speedup_low, best.speedup_high),
            verdict + label,
        )
    return (
        one.operation,
        *map(words.count, numbers),
        words.seconds(one.first_correct_after),
        words.seconds(one.first_faster_after),
        *fastest,
    )


def _known(one: OperationReport) -> str:
    if one.known_speedup is None:
        return "no correct kernel" if one.counts.evaluated else "nothing judged"
    return f"an earlier run's kernel, written again: {words.speedup(one.known_speedup)}"


def _cost(cost: Cost) -> tuple[str, ...]:
    return (
        words.count(cost.tokens),
        words.decimal(cost.tokens_per_candidate),
        words.decimal(cost.generation_seconds_per_candidate),
        words.decimal(cost.evaluation_seconds_per_candidate),
        words.decimal(cost.tokens_per_accepted),
        words.decimal(cost.generation_seconds_per_accepted),
        words.decimal(cost.gpu_seconds_per_accepted),
        words.decimal(cost.evaluation_seconds_per_accepted),
    )


def _lag(part: OperationReport | Report) -> tuple[str, str]:
    lag = part.feedback_lag
    return words.decimal(lag.mean), words.NOTHING if lag.mean is None else words.count(lag.largest)


def _where(failure: str, reports: Sequence[OperationReport]) -> str:
    found = {o.operation: o.failures[failure] for o in reports if failure in o.failures}
    ordered = dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
    shown = [f"{name} {n}" for name, n in list(ordered.items())[:FEW_OPERATIONS]]
    more = len(ordered) - FEW_OPERATIONS
    return ", ".join(shown) + (f", {more} more operations" if more > 0 else "")


def _work(report: Report) -> str:
    if report.state == "running":
        return "so far: the run goes on"
    resumed = f", resumed {report.resumes} times" if report.resumes > 1 else ", resumed once"
    return f"{report.state}{f': {report.reason}' if report.reason else ''}{resumed if report.resumes else ''}"


def _or(text: str, other: str) -> str:
    return other if text == words.NOTHING else text


def _flat(values: dict[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", words.NOTHING if value is None or value == {} else str(value)
