"""The report on a terminal, or as plain text where the output is none: the brief tables."""

from __future__ import annotations

from rich.console import Console

from ..table import drawn, fitted
from .model import Report
from .tables import tables


def show(report: Report, console: Console) -> None:
    """Print the report; what has no room is in the files."""
    for table in tables(report):
        if table.brief:
            console.print(drawn(fitted(table, console.width), console.width))
            console.print()
