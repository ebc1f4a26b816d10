"""Engines by name. One file each; a file is imported only when its engine is used.

A new engine is a file here with a class below ``base.Engine``, a line in ``create`` and its name in ``EngineName``.
"""

from __future__ import annotations

from ..kernel_lm import own_sampling
from ..settings import EngineName, EngineSettings
from .base import Engine, SamplingParameters


def create(name: str, settings: EngineSettings) -> Engine:
    """The engine of that name, not yet started. Raises EngineConfigError for settings that cannot work."""
    if name == "openai":
        from .openai import OpenAIEngine

        return OpenAIEngine(settings)
    if name == "vllm":
        from .vllm import VllmEngine

        return VllmEngine(settings)
    if name == "grammar":
        from .grammar import GrammarEngine

        return GrammarEngine(seed=settings.seed)
    if name == "embedded":
        from .embedded import EmbeddedEngine, EmbeddedVllmEngine

        return EmbeddedVllmEngine(settings) if settings.gpu_memory_bytes else EmbeddedEngine(settings)
    raise ValueError(f"no engine is called {name!r}")


def sampling(name: EngineName) -> SamplingParameters:
    """How an engine is sampled where nobody says otherwise: the small model as its files say, others alike."""
    return SamplingParameters(*own_sampling()) if name == "embedded" else SamplingParameters()


def preflight(settings: EngineSettings) -> list[str]:
    """Look, before anything is started, at all that can be wrong with an engine; lines worth showing.

    For vllm (and embedded on it) the arithmetic of the memory, for openai the model that was found. Starts nothing.
    Raises EngineConfigError with one line.
    """
    if settings.name == "openai":
        from .openai import check_endpoints

        return check_endpoints(settings)
    if settings.name == "vllm":
        from .model_check import check_model

        return check_model(settings)
    if settings.name == "embedded" and settings.gpu_memory_bytes:
        from .embedded import vllm_settings
        from .model_check import check_model

        return check_model(vllm_settings(settings))
    return []
