"""``status`` and ``stop``: what works now, and asking it to leave."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ..config import ConfigError, StoreConfig
from .options import SectionedCommand, resolved, settings

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ..monitor.overview import Overview

WAIT_PAUSE_SECONDS = 0.5
WATCH_PAUSE_SECONDS = 2.0
"""Between two looks of ``status --watch``: a handful of commands to Redis each."""


@click.command(cls=SectionedCommand)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch one object a line.")
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@settings(StoreConfig)
def status(as_json: bool, watch: bool, **given: Any) -> None:
    """Queues, workers, runs and their rates now.

    \b
      backendbench-vllm status
      backendbench-vllm status --watch
      backendbench-vllm status --redis-host 10.0.0.100 --json
    """
    from ..monitor.overview import read
    from ..monitor.screen import console
    from ..state.connection import connect
    from .store_access import opened

    config = resolved(StoreConfig, given)
    with opened(config) as used, connect(used.url) as client:
        if watch and not as_json and sys.stdout.isatty():
            _watch_on_terminal(lambda: read(client))
        out = console(sys.stdout)
        _print(read(client), out, as_json, indent=None if watch else 2)
        while watch and not out.file.gone:  # type: ignore[attr-defined]
            time.sleep(WATCH_PAUSE_SECONDS)
            _print(read(client), out, as_json)


def _watch_on_terminal(look: Callable[[], Overview]) -> NoReturn:
    from rich.console import Console
    from rich.live import Live

    with Live(_drawn(look()), console=Console(highlight=False), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(WATCH_PAUSE_SECONDS)
            live.update(_drawn(look()), refresh=True)


def _print(seen: Overview, out: Console, as_json: bool, indent: int | None = None) -> None:
    if as_json:
        out.file.write(json.dumps(seen.plain(), indent=indent) + "\n")
        out.file.flush()
    else:
        out.print(_drawn(seen))


def _drawn(seen: Overview) -> RenderableType:
    from rich.console import Group

    from ..monitor.overview import tables
    from ..monitor.table import drawn

    return Group(*(drawn(table) for table in tables(seen)))


@click.command(cls=SectionedCommand)
@click.argument("ids", nargs=-1, metavar="[RUN_OR_WORKER]...")
@click.option("--wait", is_flag=True, help="Return when they have left.")
@settings(StoreConfig)
def stop(ids: tuple[str, ...], wait: bool, **given: Any) -> None:
    """Ask runs or workers to finish what they hold and leave. Without an id: every run that works.

    \b
      backendbench-vllm stop
      backendbench-vllm stop 20260102-120000-relu --wait
      backendbench-vllm stop 20260102-120000-relu/evaluate-0
    """
    from ..state.connection import connect
    from ..state.run_state import RunStore
    from ..state.worker_registry import WorkerRegistry
    from .store_access import opened

    config = resolved(StoreConfig, given)
    with opened(config) as used, connect(used.url) as client:
        registry, runs = WorkerRegistry(client), RunStore(client)
        workers = {worker.id for worker in registry.workers()}
        working = [run for run in runs.latest(100) if _works(run, workers)]
        chosen = list(ids) or working
        for id in chosen:
            if id not in workers and id not in working:
                known = ", ".join(sorted([*working, *workers])) or "none works now"
                raise ConfigError(f"no run and no worker {id!r} works here: choose among {known}")
            registry.request_shutdown(id, "asked by `stop`")
            click.echo(f"asked to leave: {id}")
        if not chosen:
            click.echo("nothing works here")
        while wait and any(registry.shutdown_requested(id) for id in chosen):
            time.sleep(WAIT_PAUSE_SECONDS)


def _works(run: str, workers: set[str]) -> bool:
    return any(worker.startswith(f"{run}/") for worker in workers)
