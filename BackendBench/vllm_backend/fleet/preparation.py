"""Everything about a run that can be wrong is looked at here, before anything is started."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..config import ConfigError, RunConfig
from ..generation.engines import preflight
from ..generation.engines.base import SamplingParameters
from ..generation.settings import EngineSettings
from ..state.task import Dsl
from . import private_redis
from .devices import Gpu, visible_gpus
from .engine_choice import EngineChoice, choose, engine_settings, sampling
from .layout import Layout, Wishes, plan

if TYPE_CHECKING:
    from ..operations.operation import Operation


@dataclass(frozen=True)
class Prepared:
    """A run that can be started."""

    config: RunConfig
    """With the seed drawn and the sampling decided."""
    operations: tuple[Operation, ...]
    engine: EngineChoice
    layout: Layout
    gpus: tuple[Gpu, ...]
    dsl: Dsl
    notes: tuple[str, ...] = ()
    """What the engine found out about itself, in words."""

    def engine_settings(self, number: int) -> EngineSettings:
        """What the engine of generating worker ``number`` is told."""
        mine = self.layout.generators[number].gpus
        return engine_settings(
            self.engine,
            self.config,
            seed=(self.config.seed or 0) + number,
            tensor_parallel_size=self.layout.tensor_parallel_size,
            gpus=tuple(self.gpus[index] for index in mine),
            shared=any(index in self.layout.shared for index in mine),
            gate=self.layout.generators[number].gate,
        )

    @property
    def sampling(self) -> SamplingParameters:
        """How candidates are sampled."""
        return sampling(self.config, self.engine.name)

    @property
    def device_name(self) -> str:
        """What the kernels are for, in the prompt's words; '' on the CPU."""
        first = self.layout.evaluators[0].gpu
        return "" if first is None else self.gpus[first].name

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
    # Only now: it loads torch, which takes seconds, and most mistakes are found without.
    from ..operations import catalog

    operations = tuple(catalog.parse_list(config.operations))
    prepared = Prepared(decided(config, engine), operations, engine, layout, tuple(gpus), dsl)
    return replace(
        prepared,
        notes=(*sandbox_notes(config.judge.require_sandbox), *preflight(prepared.engine_settings(0))),
    )


def decided(config: RunConfig, engine: EngineChoice) -> RunConfig:
    """The settings with what was left open: a drawn seed, and the engine's own sampling."""
    chosen = sampling(config, engine.name)
    seed = secrets.randbelow(2**31) if config.seed is None else config.seed
    return config.model_copy(update={"seed": seed, "temperature": chosen.temperature, "top_p": chosen.top_p})


def sandbox_notes(required: bool) -> list[str]:
    """What to say of a sandbox that lacks strong layers. Raises ConfigError if they are ``required``."""
    from ..evaluation import sandbox

    try:
        weak = sandbox.warning(sandbox.probe(), required)
    except sandbox.SandboxTooWeak as refusal:
        raise ConfigError(str(refusal)) from None
    return [weak] if weak else []


def lay_out(config: RunConfig, engine: EngineChoice, gpus: Sequence[Gpu]) -> Layout:
    """The layout on this machine. Raises LayoutError."""
    wishes = Wishes(
        target=None if config.target == "auto" else config.target,
        generation_gpus=config.generation_gpus or engine.enough_gpus,
        tensor_parallel_size=config.tensor_parallel_size,
        evaluation_gpus=config.evaluation_gpus,
        evaluation_workers=config.evaluation_workers,
    )
    cores = sorted(os.sched_getaffinity(0))
    return plan(
        len(gpus), cores, wishes,
        engine_uses_gpu=engine.uses_gpu, engine=engine.name, engine_uses_cores=engine.uses_cores,
    )  # fmt: skip


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
