"""Which engine a run gets."""

from __future__ import annotations

import pytest

from BackendBench.vllm_backend.config import ConfigError, EngineConfig, SearchConfig
from BackendBench.vllm_backend.fleet.devices import Gpu
from BackendBench.vllm_backend.fleet.engine_choice import choose, engine_settings, sampling
from BackendBench.vllm_backend.generation import kernel_lm


def choice(gpus: int = 0, vllm: bool = False, **config: object):
    return choose(EngineConfig(**config), gpus=gpus, vllm_installed=vllm)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "name", "uses_gpu"),
    [
        ({}, "embedded", True),
        ({"engine": "grammar"}, "grammar", False),
        ({"endpoint": "http://localhost:8000/v1"}, "openai", False),
        ({"model": "Qwen/Qwen2.5-7B-Instruct"}, "vllm", True),
        ({"model": "m", "endpoint": "http://localhost:8000/v1"}, "openai", False),
        ({"engine": "embedded"}, "embedded", True),
        ({"engine": "grammar", "model": "m"}, "grammar", False),
    ],
)
def test_what_is_given_decides(config: dict[str, object], name: str, uses_gpu: bool) -> None:
    found = choice(gpus=1, vllm=True, **config)
    assert (found.name, found.uses_gpu) == (name, uses_gpu)
    assert f"engine {name}" in found.reason and "\n" not in found.reason


@pytest.mark.parametrize(("gpus", "vllm"), [(0, False), (0, True), (1, False)])
def test_the_small_model_runs_on_the_cpu_unless_both_vllm_and_a_gpu_are_here(gpus: int, vllm: bool) -> None:
    found = choice(gpus, vllm)
    assert found.name == "embedded"
    assert not found.uses_gpu and found.uses_cores
    assert "on the CPU" in found.reason
    assert not choice(1, True, engine="embedded").uses_cores


def test_without_weights_it_says_how_to_make_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_lm, "is_here", lambda: False)
    with pytest.raises(ConfigError, match="make train"):
        choice(engine="embedded")


def test_vllm_that_is_missing_is_named_with_its_remedy() -> None:
    with pytest.raises(ConfigError, match=r"not installed and no NVIDIA GPU .*requirements-vllm\.txt"):
        choice(model="m")
    with pytest.raises(ConfigError, match="give --endpoint URL"):
        choice(engine="openai")


def test_turns_are_taken_on_every_gpu_and_gate() -> None:
    gpu = Gpu(index=0, name="NVIDIA H100", uuid="GPU-1", memory_bytes=80 * 10**9, visible="0")
    common = {"seed": 1, "tensor_parallel_size": 1, "shared": False}
    config = EngineConfig(engine="embedded")
    here = engine_settings(choice(engine="embedded"), config, gpus=(), gate="cpu", **common)  # type: ignore[arg-type]
    assert here.gpu_gates == ("cpu",) and here.name == "embedded"
    there = engine_settings(choice(1, True, engine="embedded"), config, gpus=(gpu,), **common)  # type: ignore[arg-type]
    assert there.gpu_gates == ("GPU-1",) and there.gpu_memory_bytes == (80 * 10**9,)


def test_what_is_not_said_of_sampling_is_the_engine_s_own() -> None:
    """The small model must be sampled hotter than a large one, or it makes no mistake that could be rejected."""
    temperature, top_p = kernel_lm.own_sampling()
    small = sampling(SearchConfig(max_tokens=9), "embedded")
    assert (small.temperature, small.top_p, small.max_tokens) == (temperature, top_p, 9)
    for name in ("vllm", "openai", "grammar"):
        other = sampling(SearchConfig(), name)  # type: ignore[arg-type]
        assert (other.temperature, other.top_p) == (0.8, 0.95)
    assert temperature > 0.8 and top_p == 1.0


def test_what_is_said_of_sampling_wins_each_for_itself() -> None:
    said = sampling(SearchConfig(temperature=0.0), "embedded")
    assert (said.temperature, said.top_p) == (0.0, kernel_lm.own_sampling()[1])
    assert sampling(SearchConfig(top_p=0.5), "vllm").top_p == 0.5
