"""``worker generate`` and ``worker evaluate``: one worker, by hand or below ``run``."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import ConfigError, EvaluateWorkerConfig, GenerateConfig, RedisConfig
from .options import SectionedCommand, resolved, settings

if TYPE_CHECKING:
    from ..fleet.devices import Gpu
    from ..generation.settings import EngineSettings
    from ..state.task import Target

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
    from ..fleet.preparation import sandbox_notes

    configure()
    if settings_file:
        return asyncio.run(serve(WorkerSettings.model_validate_json(_read(settings_file))))
    config = resolved(EvaluateWorkerConfig, given)
    target, gpu = _device(config.target, config.evaluation_gpus)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu.visible
    made = WorkerSettings(
        worker_id=config.worker_id or _name("evaluate"),
        redis_url=_redis(config),
        judge=config.judge.model_copy(update={"target": target, "gpu_gate": gpu.uuid if gpu else ""}),
    )
    sandbox_notes(config.judge.require_sandbox)  # raises; what it warns of, the worker's log says
    click.echo(f"worker {made.worker_id}: target {target}", err=True)
    return asyncio.run(serve(made))


@worker.command(cls=SectionedCommand)
@FROM_JSON
@settings(GenerateConfig, without=("evaluation_gpus", "dsl", "target", "evaluation_workers"))
def generate(settings_file: str | None, **given: Any) -> int:
    """Write candidates for the groups in the queue.

    \b
      backendbench-vllm worker generate --redis-host 10.0.0.100 --endpoint http://10.0.0.7:8000/v1
      backendbench-vllm worker generate --redis-host 10.0.0.100 --model NAME --generation-gpus 0-3
    """
    from ..fleet.logs import configure
    from ..generation.engines import preflight
    from ..generation.settings import GenerationSettings
    from ..generation.worker import serve

    configure()
    if settings_file:
        return asyncio.run(serve(GenerationSettings.model_validate_json(_read(settings_file))))
    config = resolved(GenerateConfig, given)
    engine, visible = _engine(config)
    for line in preflight(engine):
        click.echo(line, err=True)
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    made = GenerationSettings(
        worker_id=config.worker_id or _name("generate"),
        redis_url=_redis(config),
        engine=engine,
        groups_in_flight=config.groups_in_flight,
        digest_seconds=config.digest_seconds,
    )
    click.echo(f"worker {made.worker_id}: engine {engine.name}", err=True)
    return asyncio.run(serve(made))


def _engine(config: GenerateConfig) -> tuple[EngineSettings, str | None]:
    """The engine, and its GPUs for CUDA_VISIBLE_DEVICES (None: as it is). Raises LayoutError, ConfigError."""
    from ..fleet.devices import visible_gpus
    from ..fleet.engine_choice import choose, engine_settings
    from ..fleet.layout import Wishes, plan

    visible = visible_gpus()
    choice = choose(config, gpus=len(visible), vllm_installed=find_spec("vllm") is not None)
    chosen = config.generation_gpus or choice.enough_gpus or tuple(gpu.index for gpu in visible)
    wishes = Wishes("cpu", chosen or None, config.tensor_parallel_size or (len(chosen) or None))
    layout = plan(len(visible), [0], wishes, engine_uses_gpu=choice.uses_gpu, engine=choice.name)
    if len(layout.generators) > 1:
        raise ConfigError(
            "one worker runs one engine: give as many --generation-gpus as --tensor-parallel-size"
        )
    mine = [visible[index] for index in layout.generators[0].gpus]
    made = engine_settings(
        choice,
        config,
        seed=secrets.randbelow(2**31),
        tensor_parallel_size=layout.tensor_parallel_size,
        gpus=tuple(mine),
        shared=False,
    )
    return made, ",".join(gpu.visible for gpu in mine) if mine else None


def _device(target: str, gpus: tuple[int, ...] | None) -> tuple[Target, Gpu | None]:
    """Target, and the one GPU (None: target cpu). Raises LayoutError, ConfigError."""
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
    return "cuda", visible[index]


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
