"""``run``: the main job."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from ..config import ConfigError, RunConfig, resolve, settings_of
from .options import SectionedCommand, resolved, settings

KEPT = {"operations", "name", "run_dir", "runs_dir", "redis_dir"}
"""What a resumed run cannot change."""


@click.command(cls=SectionedCommand)
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="DIR",
    help="Go on with the stopped or killed run of this directory; flags change its settings.",
)  # fmt: skip
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the report as JSON on standard output; progress goes to standard error.",
)
@click.option("--quiet", is_flag=True, help="No progress; only the report at the end.")
@settings(RunConfig)
def run(resume: Path | None, as_json: bool, quiet: bool, **given: Any) -> int:
    """Generate candidates, judge them, keep the best, and report.

    \b
    Without a model and without a GPU, as it is:
      backendbench-vllm run
    A model on this machine's GPUs; GPUs 0-3 generate and 4-7 judge:
      backendbench-vllm run --model Qwen/Qwen2.5-14B-Instruct \\
          --generation-gpus 0-3 --tensor-parallel-size 4 --evaluation-gpus 4-7
    A model behind any OpenAI-compatible server:
      backendbench-vllm run --endpoint http://localhost:8000/v1 --model NAME
    An operation of your own (a reference function and an input generator in a file):
      backendbench-vllm run --operations my_ops.py:my_op
    Until a kernel is 1.5 times as fast as eager, at most an hour:
      backendbench-vllm run --operations softmax --target-speedup 1.5 --max-minutes 60 --candidates-per-op 1000
    Go on after Ctrl-C or a crash:
      backendbench-vllm run --resume runs/20260102-120000-softmax

    Ctrl-C lets the workers finish what they hold and writes the report; a second one ends at once.
    """
    config = _resumed(resume, given) if resume else resolved(RunConfig, given)
    from ..monitor.screen import Screen
    from ..run import run as do

    return do(config, Screen(sys.stdout, sys.stderr, as_json=as_json, quiet=quiet), resume)


def _resumed(directory: Path, given: dict[str, Any]) -> RunConfig:
    """The run's own settings, changed by flags. Raises ConfigError."""
    file = directory / "config.yaml"
    if not file.is_file():
        raise ConfigError(
            f"{directory} is no run directory: give one that holds config.yaml, for example under runs/"
        )
    if given.get("config_file"):
        raise ConfigError("--resume takes the settings of its run: drop --config, give flags instead")
    for setting in settings_of(RunConfig):
        if setting.name in KEPT and given.get(setting.name) is not None:
            raise ConfigError(
                f"a resumed run keeps its {setting.name.replace('_', ' ')}: drop {setting.flag}"
            )
    secrets = {k: v for k, v in os.environ.items() if k.endswith(("_PASSWORD", "_API_KEY", "_REDIS_URL"))}
    return resolve(RunConfig, given, file=file, environment=secrets)
