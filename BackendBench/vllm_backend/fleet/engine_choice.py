"""Which engine writes the candidates. Pure: settings and what the machine has in, a choice in words out."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import ConfigError, EngineConfig, SearchConfig
from ..generation import engines, kernel_lm
from ..generation.engines.base import SamplingParameters
from ..generation.settings import EngineName, EngineSettings
from .devices import Gpu

VLLM_INSTALL = "pip install -r requirements-vllm.txt"


@dataclass(frozen=True)
class EngineChoice:
    """The engine of a run."""

    name: EngineName
    uses_gpu: bool
    """Whether it takes GPUs of this machine."""
    reason: str
    """One line for the user."""

    @property
    def uses_cores(self) -> bool:
        """Whether it computes on this machine's CPU, and not a little."""
        return self.name == "embedded" and not self.uses_gpu

    @property
    def enough_gpus(self) -> tuple[int, ...] | None:
        """What it takes where nothing is said; None: as many as there are for it. The small model needs no second."""
        return (0,) if self.name == "embedded" and self.uses_gpu else None


def choose(config: EngineConfig, *, gpus: int, vllm_installed: bool) -> EngineChoice:
    """The engine for these settings. Raises ConfigError with what is missing and what to do."""
    name = config.engine if config.engine != "auto" else _automatic(config)
    if name == "openai":
        if not config.endpoint:
            raise ConfigError("--engine openai needs the URL of its server: give --endpoint URL")
        model = f"model {config.model}" if config.model else "the model that it serves"
        return EngineChoice(name, False, f"engine openai: {model} at {config.endpoint}")
    if name == "vllm":
        _check_vllm(config, gpus, vllm_installed)
        return EngineChoice(name, True, f"engine vllm: {config.model}")
    if name == "embedded":
        return _embedded(gpus, vllm_installed)
    text = "engine grammar: no language model; the text comes from a grammar of kernels"
    return EngineChoice(name, False, f"{text} (a model: --model NAME, or --endpoint URL)")


def engine_settings(
    choice: EngineChoice,
    config: EngineConfig,
    *,
    seed: int,
    tensor_parallel_size: int,
    gpus: tuple[Gpu, ...],
    shared: bool,
    gate: str = "",
) -> EngineSettings:
    """What one worker's engine is told. ``gpus``: its own; ``shared``: evaluation uses one of them too; ``gate``: what
    it takes turns on besides GPUs."""
    return EngineSettings(
        name=choice.name,
        model=config.model or "",
        endpoints=tuple(url.strip() for url in (config.endpoint or "").split(",") if url.strip()),
        api_key=config.api_key.get_secret_value() if config.api_key else "",
        engine_args=config.engine_args,
        tensor_parallel_size=tensor_parallel_size,
        gpu_memory_bytes=tuple(gpu.memory_bytes for gpu in gpus),
        gpu_gates=tuple(name for name in (*(gpu.uuid for gpu in gpus), gate) if name),
        gpus_shared=shared,
        seed=seed,
    )


def sampling(config: SearchConfig, name: EngineName) -> SamplingParameters:
    """How this engine is sampled: as the settings say, else as is its own."""
    own = engines.sampling(name)
    return SamplingParameters(
        temperature=own.temperature if config.temperature is None else config.temperature,
        top_p=own.top_p if config.top_p is None else config.top_p,
        max_tokens=config.max_tokens,
    )


def _embedded(gpus: int, vllm_installed: bool) -> EngineChoice:
    if not kernel_lm.is_here():
        raise ConfigError(
            "engine embedded: this installation has no weights of the small model: make train, or give --model NAME, "
            "--endpoint URL or --engine grammar"
        )
    uses_gpu = bool(gpus and vllm_installed)
    through = "through vLLM" if uses_gpu else "on the CPU"
    text = (
        f"engine embedded: the farm's own small language model {through}, trained on the kernels of a grammar"
    )
    return EngineChoice("embedded", uses_gpu, f"{text} (a larger one: --model NAME, or --endpoint URL)")


def _automatic(config: EngineConfig) -> EngineName:
    if config.endpoint:
        return "openai"
    return "vllm" if config.model else "embedded"


def _check_vllm(config: EngineConfig, gpus: int, vllm_installed: bool) -> None:
    if not config.model:
        raise ConfigError("--engine vllm needs a model: give --model NAME_OR_DIRECTORY")
    missing, mend = [], []
    if not vllm_installed:
        missing.append("vLLM is not installed")
        mend.append(VLLM_INSTALL)
    if not gpus:
        missing.append("no NVIDIA GPU is visible")
        mend.append("use a machine with one")
    if missing:
        raise ConfigError(
            f"--model {config.model} cannot run here: {' and '.join(missing)}. To mend it: {' and '.join(mend)}; "
            "or give --endpoint URL of a server that has the model; or leave --model out for the farm's own small model"
        )
