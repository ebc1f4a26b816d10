"""From a layout to the worker processes of a run. Pure but for the paths.

- Ids are ``{run}/{role}-{number}``: the same after a restart and after a resume, so that what an earlier process
  of that name held can be given back.
- A worker sees only its own GPUs (CUDA_VISIBLE_DEVICES) and runs the code of this installation (PYTHONPATH).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from ..config import EngineConfig
from ..evaluation.resources import cores
from ..evaluation.settings import JudgeSettings, WorkerSettings
from ..generation.settings import EngineSettings, GenerationSettings
from ..state.task import Target
from ..state.worker_registry import Role
from .devices import Gpu
from .layout import Evaluator, Generator
from .local import WorkerSpec

PROGRAM = (sys.executable, "-m", "BackendBench.vllm_backend.cli", "worker")
CODE = Path(__file__).resolve().parents[3]
"""The folder that holds ``BackendBench``."""


def worker_id(run: str, role: Role, number: int) -> str:
    """``{run}/evaluate-0``."""
    return f"{run}/{role}-{number}"


def evaluator(
    run: str, number: int, evaluator: Evaluator, gpus: Sequence[Gpu], target: Target, judge: JudgeSettings,
    redis_url: str, logs: Path, operations: Sequence[str] = (),
) -> WorkerSpec:  # fmt: skip
    """One evaluating worker; it prepares ``operations`` before it claims."""
    id = worker_id(run, "evaluate", number)
    mine = [] if evaluator.gpu is None else [gpus[evaluator.gpu]]
    gate = mine[0].uuid if mine else evaluator.gate
    settings = WorkerSettings(
        worker_id=id,
        redis_url=redis_url,
        judge=judge.model_copy(update={"target": target, "device_index": 0, "gpu_gate": gate}),
        operations=tuple(operations),
    )
    return WorkerSpec(
        id=id,
        role="evaluate",
        command=(*PROGRAM, "evaluate", "--settings-json", "-"),
        settings=settings.model_dump_json(),
        log_file=logs / f"evaluate-{number}.log",
        environment=_environment(mine),
        cores=evaluator.cores,
    )


def generator(
    run: str, number: int, generator: Generator, gpus: Sequence[Gpu], engine: EngineSettings, config: EngineConfig,
    device_name: str, redis_url: str, logs: Path, quiet: tuple[int, ...] = (),
) -> WorkerSpec:  # fmt: skip
    """One generating worker; ``device_name``: what the kernels are for, in the prompt's words; ``quiet``: see
    ``quiet_cores``."""
    id = worker_id(run, "generate", number)
    settings = GenerationSettings(
        worker_id=id,
        redis_url=redis_url,
        engine=engine,
        groups_in_flight=config.groups_in_flight,
        digest_seconds=config.digest_seconds,
        device_name=device_name,
    )
    return WorkerSpec(
        id=id,
        role="generate",
        command=(*PROGRAM, "generate", "--settings-json", "-"),
        settings=settings.model_dump_json(),
        log_file=logs / f"generate-{number}.log",
        environment=_environment([gpus[index] for index in generator.gpus]),
        cores=generator.cores or quiet,
    )


def quiet_cores(
    evaluators: Sequence[Evaluator], gpus: Sequence[Gpu], available: Collection[int]
) -> tuple[int, ...]:
    """Cores on which no judge of these times a kernel of a GPU, for whoever else works on this machine; () means any.

    An engine's processes that take a core from who is timed, while he queues his calls, make single blocks several
    times as long, and the judge's clock sees time that nobody claims. Where judges keep more than half of the cores,
    the engine needs some of them."""
    timing: set[int] = set()
    for one in evaluators:
        if one.gpu is not None:
            timing |= cores.split(one.cores or available, "cuda", gpus[one.gpu].uuid).timing
    quiet = sorted(set(available) - timing)
    return tuple(quiet) if timing and 2 * len(quiet) >= len(set(available)) else ()


def _environment(gpus: Sequence[Gpu]) -> dict[str, str]:
    path = os.environ.get("PYTHONPATH")
    return {
        "CUDA_VISIBLE_DEVICES": ",".join(gpu.visible for gpu in gpus),
        "PYTHONPATH": f"{CODE}{os.pathsep}{path}" if path else str(CODE),
    }
