"""The report on a terminal, or as plain text where the output is none: the brief tables."""

from __future__ import annotations

from rich.console import Console

from ..table import drawn
from .model import Report
from .tables import tables


def show(report: Report, console: Console) -> None:
    """Print the report."""
    for table in tables(report):
        if table.brief:
            console.print(drawn(table))
            console.print()
