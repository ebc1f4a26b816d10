"""What the store knows of an operation and of its best kernels, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import words
from .table import Table, columns

HASH_CHARACTERS = 16
"""Enough to name a kernel; ``--json`` has all of it."""


def stats_tables(operation: str, known: Mapping[str, Any]) -> list[Table]:
    """``KernelStore.get_operation_stats`` as tables."""
    total, correct = known["total_attempts"], known["successful_attempts"]
    rows = [
        ("generated", words.count(known["generated"]), "samples of all runs"),
        ("duplicates", words.count(known["duplicates"]), "of kernels known before, not judged again"),
        ("unusable", words.count(known["unusable"]), words.listed(known["unusable_reasons"])),
        ("judged", words.count(total), ""),
        ("correct", words.count(correct), f"{words.share(correct, total)} of the judged"),
        ("faster than eager", words.count(known["faster_than_eager"]), "whole 95 % interval above 1"),
        ("best speedup", words.speedup(known["best_speedup"]), known["best_hash"][:HASH_CHARACTERS]),
        ("average speedup", words.speedup(known["avg_speedup"]), "of the correct and timed"),
        ("tokens", words.count(known["tokens"]), _each(known["tokens"], correct)),
        (
            "generation",
            words.seconds(known["generation_seconds"]),
            _each(known["generation_seconds"], correct, " s"),
        ),
        ("GPU time of generation", words.seconds(known["gpu_seconds"]), ""),
    ]
    errors = [(words.plain(n), words.count(c), words.share(c, total)) for n, c in known["errors"].items()]
    made = [
        Table("stats", operation, columns("over all runs", "", last=""), tuple(rows)),
        Table(
            "errors", "Failures by class", columns("failure class", "kernels", "of the judged"), tuple(errors)
        ),
    ]
    return [table for table in made if table.rows]


def best_table(operation: str, kernels: Sequence[Mapping[str, Any]]) -> Table:
    """``KernelStore.get_best_kernels`` as a table."""
    rows = [
        (
            str(place),
            kernel["hash"][:HASH_CHARACTERS],
            words.speedup(kernel["speedup"]),
            words.interval(kernel["speedup_low"], kernel["speedup_high"]),
            _judged(kernel),
            f"{kernel['dsl']} on {kernel['device'] or kernel['target']}",
            kernel["run"],
            kernel["model"] or words.NOTHING,
        )
        for place, kernel in enumerate(kernels, 1)
    ]
    heads = columns("place", last="hash") + columns("", "speedup", "95 % interval")[1:]
    heads += columns("against eager", last="written for") + columns("run", last="written by")
    return Table("best", f"Best kernels of {operation}", heads, tuple(rows))


def _judged(kernel: Mapping[str, Any]) -> str:
    text = words.against_eager(kernel["speedup_low"], kernel["speedup_high"])
    return f"{text} ({words.plain(kernel['label'])})" if kernel.get("label") else text


def _each(amount: float, correct: int, unit: str = "") -> str:
    return f"{words.decimal(amount / correct)}{unit} per correct kernel" if correct else ""
