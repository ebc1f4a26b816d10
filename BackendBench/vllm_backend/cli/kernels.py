"""Commands that read the kernel store: stats, best, export."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import StoreConfig
from ..state.store import KernelStore
from .options import SectionedCommand, resolved, settings
from .store_access import opened

if TYPE_CHECKING:
    from ..monitor.table import Table

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(cls=SectionedCommand)
@click.argument("operation")
@JSON
@settings(StoreConfig)
def stats(operation: str, as_json: bool, **given: Any) -> None:
    """What is known of an operation, over all runs.

    \b
      backendbench-vllm stats relu
      backendbench-vllm stats softmax --redis-host 10.0.0.100 --json
    """
    with opened(resolved(StoreConfig, given)) as used:
        store = KernelStore(url=used.url)
        name = canonical(operation, store)
        found = store.get_operation_stats(name)
    if as_json:
        click.echo(json.dumps({"operation": name, **found}, indent=2))
        return
    from ..monitor.known import stats_tables

    _show(*stats_tables(name, found))


@click.command(cls=SectionedCommand)
@click.argument("operation")
@click.option("-n", "--limit", type=click.IntRange(1), default=5, show_default=True, help="How many.")
@click.option("--code", is_flag=True, help="Print their code.")
@JSON
@settings(StoreConfig)
def best(operation: str, limit: int, code: bool, as_json: bool, **given: Any) -> None:
    """The best kernels of an operation, best first.

    \b
      backendbench-vllm best relu
      backendbench-vllm best layer_norm -n 1 --code
    """
    with opened(resolved(StoreConfig, given)) as used:
        store = KernelStore(url=used.url)
        name = canonical(operation, store)
        found = store.get_best_kernels(name, limit)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo(f"no correct kernel of {name} yet: backendbench-vllm run --operations {name}")
        return
    from ..monitor.known import best_table

    _show(best_table(name, found))
    for place, kernel in enumerate(found, 1) if code else ():
        click.echo(f"\n# {place}. {kernel['hash']}\n{kernel['code'].rstrip()}")


@click.command(cls=SectionedCommand)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--operations", "names", metavar="NAMES", help="Only these, separated by commas. Default: all.")
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=1, show_default=True, help="Kernels an operation."
)
@click.option("--min-speedup", type=float, default=0.0, show_default=True, help="Leave out slower ones.")
@JSON
@settings(StoreConfig)
def export(
    directory: Path, names: str | None, limit: int, min_speedup: float, as_json: bool, **given: Any
) -> int:
    """Write the best kernels below DIRECTORY as BackendBench's directory backend loads them.

    \b
      backendbench-vllm export generated_kernels
      backendbench-vllm export generated_kernels --operations add,softmax --min-speedup 1.0
    """
    from .. import export as exporting
    from ..operations import catalog

    written: list[str] = []
    left_out: dict[str, str] = {}
    with opened(resolved(StoreConfig, given)) as used:
        store = KernelStore(url=used.url)
        wanted = [o.name for o in catalog.parse_list(names)] if names else store.operations()
        for name in wanted:
            kernels = [k for k in store.get_best_kernels(name, limit) if k["speedup"] >= min_speedup]
            source = store.operation_source(name)
            if not kernels:
                left_out[name] = "no kernel that is good enough"
            elif source:
                left_out[name] = "not an operation of PyTorch"
            else:
                try:
                    files = exporting.export(catalog.resolve(name), kernels, directory)
                    written += [str(file) for file in files]
                except exporting.ExportError as error:
                    left_out[name] = str(error)
    if as_json:
        click.echo(json.dumps({"written": written, "left_out": left_out}, indent=2))
        return 0 if written else 1
    for file in written:
        click.echo(file)
    for name, reason in left_out.items():
        click.echo(f"left out {name}: {reason}", err=True)
    return 0 if written else 1


def _show(*tables: Table) -> None:
    from ..monitor.screen import console
    from ..monitor.table import drawn

    target = console(sys.stdout)
    for table in tables:
        target.print(drawn(table, target.width))


def canonical(operation: str, store: KernelStore) -> str:
    """The name under which the store keeps an operation. Raises UnknownOperation."""
    own = operation.rpartition(":")[2]
    if own in store.operations():
        return own  # without loading torch, which takes seconds
    from ..operations import catalog

    return catalog.resolve(operation).name
