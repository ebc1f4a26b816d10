"""``status`` and ``stop``: what works now, and asking it to leave."""

from __future__ import annotations

import time
from typing import Any

import click

from ..config import ConfigError, StoreConfig
from .options import SectionedCommand, resolved, settings

WAIT_PAUSE_SECONDS = 0.5


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
