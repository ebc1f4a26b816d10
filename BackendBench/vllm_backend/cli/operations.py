"""``operations``: names of all operations, by family."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from ..operations.families import FAMILIES


@click.command()
@click.option("--family", type=click.Choice(FAMILIES), help="Only this family.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def operations(family: str | None, as_json: bool) -> None:
    """Names of all operations, by family, with their numbers.

    The first use on a machine traces PyTorch's own database of operations (half a minute) and keeps the result.

    \b
      backendbench-vllm operations
      backendbench-vllm operations --family reduction
      backendbench-vllm operations --json
    """
    from ..operations import catalog, trace_cache, wellknown

    families: dict[str, list[str]] = {name: [] for name in FAMILIES if family in (None, name)}
    for operation in map(catalog.resolve, catalog.names()):
        if operation.family in families:
            families[operation.family].append(operation.name)
    counts = trace_cache.counts()
    total = sum(map(len, families.values()))
    if as_json:
        click.echo(json.dumps({"count": total, "families": families, "opinfo": asdict(counts)}, indent=2))
        return
    for name, members in families.items():
        click.echo(click.style(f"{name} ({len(members)})", bold=True))
        click.echo(click.wrap_text(" ".join(members), 100, "  ", "  "))
    if family:
        return
    left_out = ", ".join(
        f"{number} {reason}" for reason, number in counts.reasons.items() if reason != "mapped"
    )
    known = len(wellknown.TABLE)
    click.echo(
        f"\n{total} operations: {known} with a public signature, {total - known} found by tracing alone"
    )
    click.echo(
        f"PyTorch's OpInfo database: {counts.total} entries, {counts.mapped} map to one of {counts.overloads} "
        f"aten overloads; left out: {left_out}"
    )
