"""``worker generate`` and ``worker evaluate``: one worker, by hand or below ``run``."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import click

from ..config import ConfigError, EvaluateWorkerConfig, GenerateConfig, RedisConfig
from .options import SectionedCommand, resolved, settings

FROM_JSON = click.option(
    "--settings-json", "settings_file", metavar="FILE",
    help="All settings as JSON from a file, or from standard input (-); how `run` starts its workers.",
)  # fmt: skip


@click.group()
def worker() -> None:
    """One worker by hand, on any machine that reaches Redis. SIGTERM, or `stop`, lets it finish and leave."""


@worker.command(cls=SectionedCommand)
@FROM_JSON
@settings(
    EvaluateWorkerConfig, without=("generation_gpus", "tensor_parallel_size", "dsl", "evaluation_workers")
)
def evaluate(settings_file: str | None, **given: Any) -> int:
    """Judge candidates from the queue, on one GPU or on the CPU.

    \b
      backendbench-vllm worker evaluate --redis-host 10.0.0.100 --evaluation-gpus 2
      backendbench-vllm worker evaluate --redis-host 10.0.0.100 --target cpu --threads 4
    """
    from ..evaluation.settings import WorkerSettings
    from ..evaluation.worker import serve
    from ..fleet.logs import configure

    configure()
    if settings_file:
        return asyncio.run(serve(WorkerSettings.model_validate_json(_read(settings_file))))
    config = resolved(EvaluateWorkerConfig, given)
    target, visible = _device(config.target, config.evaluation_gpus)
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    made = WorkerSettings(
        worker_id=config.worker_id or _name("evaluate"),
        redis_url=_redis(config),
        judge=config.judge.model_copy(update={"target": target}),
    )
    click.echo(f"worker {made.worker_id}: target {target}", err=True)
    return asyncio.run(serve(made))


def _device(target: str, gpus: tuple[int, ...] | None) -> tuple[str, str | None]:
    """Target, and the one GPU for CUDA_VISIBLE_DEVICES (None: as it is). Raises LayoutError, ConfigError."""
    from ..fleet.devices import visible_gpus
    from ..fleet.layout import Wishes, plan

    visible = visible_gpus()
    wishes = Wishes(
        target=None if target == "auto" else "cuda" if target == "cuda" else "cpu", evaluation_gpus=gpus
    )
    layout = plan(len(visible), [0], wishes, engine_uses_gpu=False, engine="none")
    if layout.target == "cpu":
        return "cpu", None
    if len(layout.evaluators) > 1 and gpus is None:
        raise ConfigError(
            f"this machine has {len(visible)} GPUs and a worker uses one: give --evaluation-gpus 0"
        )
    if len(layout.evaluators) > 1:
        raise ConfigError("one worker uses one GPU: start one worker for each")
    index = layout.evaluators[0].gpu or 0
    return "cuda", visible[index].visible


def _redis(config: RedisConfig) -> str:
    """URL of a Redis that answers; a worker never starts one of its own. Raises RedisUnreachable."""
    from ..fleet.private_redis import given_url
    from ..state.connection import DEFAULT_URL, check_writable

    url = given_url(config) or DEFAULT_URL
    check_writable(url)
    return url


def _name(role: str) -> str:
    return f"{socket.gethostname()}/{role}-{os.getpid()}"


def _read(file: str) -> str:
    return sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
