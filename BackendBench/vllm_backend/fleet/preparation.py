"""Everything about a run that can be wrong is looked at here, before anything is started."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from ..config import ConfigError, RunConfig
from ..operations import catalog
from ..operations.operation import Operation
from ..state.task import Dsl
from . import private_redis
from .devices import Gpu, visible_gpus
from .engine_choice import EngineChoice, choose
from .layout import Layout, Wishes, plan


@dataclass(frozen=True)
class Prepared:
    """A run that can be started."""

    config: RunConfig
    """With the seed drawn."""
    operations: tuple[Operation, ...]
    engine: EngineChoice
    layout: Layout
    gpus: tuple[Gpu, ...]
    dsl: Dsl

    @property
    def names(self) -> list[str]:
        """Canonical names of the operations."""
        return [operation.name for operation in self.operations]


def prepare(config: RunConfig) -> Prepared:
    """Check the settings against this machine. Cheap checks first; starts nothing.

    Raises ConfigError, LayoutError, EngineConfigError, RedisUnreachable, RedisReadOnly, UnknownOperation.
    """
    gpus = visible_gpus()
    engine = choose(config, gpus=len(gpus), vllm_installed=find_spec("vllm") is not None)
    layout = lay_out(config, engine, gpus)
    dsl = choose_dsl(config.dsl, layout.target)
    private_redis.check(config)
    # Last: it loads torch.
    operations = tuple(catalog.parse_list(config.operations))
    if config.seed is None:
        config = config.model_copy(update={"seed": secrets.randbelow(2**31)})
    return Prepared(config, operations, engine, layout, tuple(gpus), dsl)


def lay_out(config: RunConfig, engine: EngineChoice, gpus: Sequence[Gpu]) -> Layout:
    """The layout on this machine. Raises LayoutError."""
    wishes = Wishes(
        target=None if config.target == "auto" else config.target,
        generation_gpus=config.generation_gpus,
        tensor_parallel_size=config.tensor_parallel_size,
        evaluation_gpus=config.evaluation_gpus,
        evaluation_workers=config.evaluation_workers,
    )
    cores = sorted(os.sched_getaffinity(0))
    return plan(len(gpus), cores, wishes, engine_uses_gpu=engine.uses_gpu, engine=engine.name)


def choose_dsl(wish: str, target: str) -> Dsl:
    """The language for the target. Raises ConfigError when they do not go together."""
    if wish == "auto":
        return "triton" if target == "cuda" else "numba"
    if (wish == "numba") != (target == "cpu"):
        raise ConfigError(
            f"--dsl {wish} does not run on target {target}: use numba on cpu, triton or cuda on cuda"
        )
    chosen: Dsl = "triton" if wish == "triton" else "cuda" if wish == "cuda" else "numba"
    return chosen
