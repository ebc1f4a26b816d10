"""``report``: write and print the report of a run again, also of one that works now or was killed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..config import ConfigError, RedisConfig
from .options import SectionedCommand, resolved, settings
from .store_access import opened_for_run


@click.command(cls=SectionedCommand)
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@settings(RedisConfig)
def report(run_dir: Path, as_json: bool, **given: Any) -> None:
    """Write report.json, report.md and report.html of the run in RUN_DIR, and print it.

    \b
      backendbench-vllm report runs/20260102-120000-relu
      backendbench-vllm report runs/20260102-120000-relu --json
    """
    from ..fleet.run_directory import lives
    from ..monitor.report.source import UnknownRun
    from ..monitor.report.write import report_run
    from ..monitor.screen import Screen
    from ..state.connection import connect

    config = resolved(RedisConfig, given)
    with opened_for_run(run_dir, config) as (used, run), connect(used.url) as client:
        try:
            made = report_run(client, run, run_dir, alive=lives(run_dir))
        except UnknownRun:
            raise ConfigError(
                f"{used.description} knows no run {run}: give the Redis that it was started with"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"cannot write the report into {run_dir}: {error.strerror or error}: make it writable"
            ) from None
    Screen(sys.stdout, sys.stderr, as_json=as_json).report(made, run_dir)
