"""``doctor``: what this machine has and what is missing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

MARKS = {"ok": ("ok", "green"), "absent": ("absent", "yellow"), "missing": ("MISSING", "red")}


@click.command()
@click.option(
    "--runs-dir", type=click.Path(path_type=Path), default=Path("runs"), help="Where runs will be kept."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(runs_dir: Path, as_json: bool) -> int:
    """Say what this machine has, what is missing, and the command that mends it.

    Exit code 0 when the main job can run here, 1 when something that it needs is missing.
    """
    from ..doctor import examine, healthy

    findings = examine(runs_dir)
    if as_json:
        click.echo(
            json.dumps({"healthy": healthy(findings), "findings": [asdict(f) for f in findings]}, indent=2)
        )
        return 0 if healthy(findings) else 1
    for finding in findings:
        mark, colour = MARKS[finding.state]
        click.echo(f"{click.style(f'{mark:8}', fg=colour)} {finding.name:14} {finding.detail}")
        if finding.mend and finding.state != "ok":
            click.echo(f"{'':8} {'':14} mend: {finding.mend}")
    return 0 if healthy(findings) else 1
