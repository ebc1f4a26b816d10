"""What a generating worker and its engine can be told. The one definition of these values."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

EngineName = Literal["openai", "vllm", "embedded", "grammar"]


class EngineSettings(BaseModel):
    """Which engine writes the text, and how it is set up."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: EngineName = "embedded"
    model: str = ""
    """Name or directory of the model; '' with an endpoint: the one model that it serves."""
    endpoints: tuple[str, ...] = ()
    """Base URLs of OpenAI-compatible servers, ``http://localhost:8000/v1``."""
    api_key: str = Field(default="", repr=False)
    """Key of the endpoints; '': BACKENDBENCH_API_KEY or OPENAI_API_KEY of the environment."""
    engine_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of vLLM under vLLM's own names; they win over what the farm would choose."""
    tensor_parallel_size: int = Field(default=1, gt=0)
    gpu_memory_bytes: tuple[int, ...] = ()
    """Memory of each GPU of this worker; (): none, or unknown, and whether the model fits is left to vLLM."""
    gpu_gates: tuple[str, ...] = ()
    """Names of these GPUs among all processes of this machine (UUIDs): the engine pauses while one is timed on.
    Likewise the name of a CPU that an engine and a judge share."""
    gpus_shared: bool = False
    """Evaluation uses one of these GPUs too, so that part of its memory must stay free."""
    seed: int = 0
    """Seed of the grammar; prompts sampled by a model carry seeds of their own."""
    request_seconds: float = Field(default=600.0, gt=0)
    """Longest silence of an endpoint: a full group of long candidates on a busy server stays below."""


class GenerationSettings(BaseModel):
    """Settings of one generating worker process."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    worker_id: str
    redis_url: str = Field(repr=False)
    engine: EngineSettings = EngineSettings()
    groups_in_flight: int = Field(default=0, ge=0)
    """Groups sampled at a time; 0: as many as the engine digests."""
    digest_seconds: float = Field(default=60.0, gt=0)
    """Generation slows when the candidates that wait for evaluation would take longer than this."""
    device_name: str = ""
    """The device that the candidates are for, in the prompt's words: ``NVIDIA H200``; '': not said."""
    lease_seconds: float = Field(default=30.0, gt=0)
    """A claimed group is given to another worker when its holder has been silent for this long."""
    max_attempts: int = Field(default=3, gt=0)
    """A group that took its worker down this often is closed."""
