"""What is wrong with a model is said before anything starts, with the arithmetic."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from BackendBench.vllm_backend.generation.engines.base import EngineConfigError
from BackendBench.vllm_backend.generation.engines.model_check import (
    STEP_BYTES,
    Shape,
    cache_share,
    check_fits,
    check_model,
    estimated_parameters,
    read_shape,
    room_of,
)
from BackendBench.vllm_backend.generation.engines.model_files import ModelFiles
from BackendBench.vllm_backend.generation.settings import EngineSettings

GB = 10**9
QWEN_7B = {
    "architectures": ["Qwen2ForCausalLM"], "hidden_size": 3584, "intermediate_size": 18944,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
    "max_position_embeddings": 32768, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip


def safetensors(file: Path, dtype: str, *shapes: list[int], width: int = 2) -> None:
    """A file of the real format whose data is a hole."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for number, shape in enumerate(shapes):
        size = width
        for extent in shape:
            size *= extent
        header[f"w{number}"] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}  # type: ignore[dict-item]
        end += size
    text = json.dumps(header).encode()
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        out.truncate(8 + len(text) + end)


def model(
    folder: Path, config: dict[str, Any] | None = None, *, template: bool = True, weights: bool = True
) -> str:
    """A directory that looks like a model."""
    (folder / "config.json").write_text(json.dumps(QWEN_7B if config is None else config))
    tokenizer = {"chat_template": "{{ messages }}"} if template else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    if weights:
        safetensors(folder / "model.safetensors", "BF16", [1000, 1000], [10])
    return str(folder)


def settings(model: str, *gpus_gb: int, size: int = 1, **more: Any) -> EngineSettings:
    return EngineSettings(
        name="vllm", model=model, tensor_parallel_size=size,
        gpu_memory_bytes=tuple(gb * GB for gb in gpus_gb), **more,
    )  # fmt: skip


def refusal(made: EngineSettings) -> str:
    with pytest.raises(EngineConfigError) as caught:
        check_model(made)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_model_shows_its_arithmetic(tmp_path: Path) -> None:
    name = model(tmp_path, weights=False)
    lines = check_model(settings(name, 80, engine_args={"load_format": "dummy"}))
    assert lines[0] == f"model {name}: Qwen2ForCausalLM, bfloat16, context 32,768 tokens"
    assert lines[1].startswith("weights 15.2 GB; of 80.0 GB a GPU the engine uses 72.0; less weights and 2.1")
    assert lines[1].endswith("tokens of 56.0 KiB")


def test_the_parameters_of_a_known_model() -> None:
    assert estimated_parameters(QWEN_7B) == pytest.approx(7.615e9, rel=0.001)
    assert estimated_parameters({**QWEN_7B, "tie_word_embeddings": True}) == pytest.approx(7.07e9, rel=0.001)
    assert estimated_parameters({**QWEN_7B, "num_experts": 64}) == 0, "unknown rather than wrong"
    assert estimated_parameters({}) == 0


def test_the_room_of_each_gpu() -> None:
    shape = Shape("A", "bfloat16", weights=40 * GB, kv_per_token=4096, context=8192, heads=32, kv_heads=8)
    one, four = room_of(shape, 80 * GB, 1, 0.9), room_of(shape, 80 * GB, 4, 0.9)
    assert one.left == 72 * GB - 40 * GB - STEP_BYTES
    assert one.tokens == int(one.left / 4096)
    assert four.left == 72 * GB - 10 * GB - STEP_BYTES
    assert four.kv_per_token == 1024
    assert room_of(shape, 80 * GB, 16, 0.9).kv_per_token == 512, "eight heads on sixteen GPUs lie there twice"


def test_a_model_too_large_says_what_is_missing(tmp_path: Path) -> None:
    made = settings(model(tmp_path, weights=False), 16, engine_args={"load_format": "dummy"})
    said = refusal(made)
    assert "is too large for one GPU: weights 15.2 GB; of 16.0 GB a GPU the engine uses 14.4" in said
    assert "3.0 GB are missing; use more GPUs (--tensor-parallel-size)" in said


def test_more_gpus_make_room(tmp_path: Path) -> None:
    name = model(tmp_path, weights=False)
    lines = check_model(settings(name, 16, 16, size=2, engine_args={"load_format": "dummy"}))
    assert "15.2 GB / 2 GPUs = 7.6 GB each" in lines[1]


def test_a_shared_gpu_leaves_half_to_evaluation(tmp_path: Path) -> None:
    name = model(tmp_path, weights=False)
    shared = settings(name, 80, gpus_shared=True, engine_args={"load_format": "dummy"})
    assert "the engine uses 36.0" in check_model(shared)[1]
    told = settings(
        name, 80, gpus_shared=True, engine_args={"load_format": "dummy", "gpu_memory_utilization": 0.6}
    )
    assert "the engine uses 48.0" in check_model(told)[1], "what the user says wins"


def test_where_a_judge_uses_the_gpu_too_the_cache_is_given_not_measured(tmp_path: Path) -> None:
    name = model(tmp_path, weights=False)
    shared = settings(name, 80, gpus_shared=True, engine_args={"load_format": "dummy"})
    shape = read_shape(ModelFiles(name, Path(name)), {"load_format": "dummy"})
    assert cache_share(shared) == {"kv_cache_memory_bytes": 36 * GB - shape.weights - STEP_BYTES}
    assert cache_share(settings(name, engine_args={"load_format": "dummy"})) == {}, (
        "no GPU: vLLM knows better"
    )


def test_a_context_that_does_not_fit_names_one_that_does(tmp_path: Path) -> None:
    made = settings(model(tmp_path, weights=False), 20, engine_args={"load_format": "dummy"})
    said = refusal(made)
    assert "leaves too little memory for one sequence of 32,768 tokens" in said
    assert "max_model_len" in said
    check_model(made.model_copy(update={"engine_args": {"load_format": "dummy", "max_model_len": 4096}}))


def test_a_cache_that_is_not_understood_is_left_to_vllm() -> None:
    shape = Shape("A", "bfloat16", GB, kv_per_token=1 << 30, context=131072, plain_cache=False)
    check_fits("m", shape, room_of(shape, 80 * GB, 1, 0.9), 1, 131072)


@pytest.mark.parametrize(
    ("config", "plain"),
    [
        ({}, True),
        ({"sliding_window": 4096}, False),
        ({"sliding_window": 4096, "use_sliding_window": False}, True),
        ({"layer_types": ["full_attention"] * 2}, True),
        ({"layer_types": ["full_attention", "sliding_attention"]}, False),
    ],
)
def test_which_caches_are_plain(tmp_path: Path, config: dict[str, Any], plain: bool) -> None:
    files = ModelFiles("m", Path(model(tmp_path, {**QWEN_7B, **config})))
    assert read_shape(files, {}).plain_cache is plain


def test_a_latent_cache_is_one_vector_a_layer(tmp_path: Path) -> None:
    config = {**QWEN_7B, "kv_lora_rank": 512, "qk_rope_head_dim": 64}
    files = ModelFiles("m", Path(model(tmp_path, config)))
    assert read_shape(files, {}).kv_per_token == 28 * 576 * 2
    assert read_shape(files, {"kv_cache_dtype": "fp8"}).kv_per_token == 28 * 576


def test_weights_are_counted_from_the_headers_in_the_type_they_are_loaded_as(tmp_path: Path) -> None:
    name = model(tmp_path, {**QWEN_7B, "torch_dtype": "float32"}, weights=False)
    safetensors(tmp_path / "model.safetensors", "F32", [1000, 1000], [24], width=4)
    shape = read_shape(ModelFiles(name, tmp_path), {})
    assert (shape.dtype, shape.weights) == ("bfloat16", 2 * 1_000_024)
    assert read_shape(ModelFiles(name, tmp_path), {"dtype": "float32"}).weights == 4 * 1_000_024


def test_quantised_weights_are_counted_as_they_are_stored(tmp_path: Path) -> None:
    name = model(tmp_path, {**QWEN_7B, "quantization_config": {"quant_method": "awq"}}, weights=False)
    safetensors(tmp_path / "model.safetensors", "I32", [1000, 125], width=4)
    assert read_shape(ModelFiles(name, tmp_path), {}).weights == 500_000


def test_several_weight_files_and_one_that_is_missing(tmp_path: Path) -> None:
    name = model(tmp_path, weights=False)
    first, second = "model-1-of-2.safetensors", "model-2-of-2.safetensors"
    index = {"weight_map": {"a": first, "b": second}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    safetensors(tmp_path / first, "BF16", [1000])
    assert "is incomplete: 1 of its weight files are missing, model-2-of-2" in refusal(settings(name, 80))
    safetensors(tmp_path / second, "BF16", [500])
    assert read_shape(ModelFiles(name, tmp_path), {}).weights == 3000


@pytest.mark.parametrize("kept", [0, 4, 20, 5000])
def test_a_broken_download_is_one_line(tmp_path: Path, kept: int) -> None:
    name = model(tmp_path)
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.truncate(kept)
    assert "is no complete safetensors file: fetch it again" in refusal(settings(name, 80))


def test_no_model_there(tmp_path: Path) -> None:
    assert "there is no model at /no/such/place" in refusal(settings("/no/such/place"))
    assert "there is no model at nonsense: give a directory" in refusal(settings("nonsense"))
    (tmp_path / "weights.gguf").write_text("")
    assert "is a file: give the directory" in refusal(settings(str(tmp_path / "weights.gguf")))
    assert "holds no readable config.json" in refusal(settings(str(tmp_path)))


def test_a_name_of_the_hub_without_a_network_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert refusal(settings("Nobody/Has-This-Model")).startswith("Nobody/Has-This-Model is no directory here")


def test_a_config_without_an_architecture(tmp_path: Path) -> None:
    assert "names no architecture" in refusal(settings(model(tmp_path, {**QWEN_7B, "architectures": None})))


def test_heads_have_to_divide(tmp_path: Path) -> None:
    said = refusal(settings(model(tmp_path), 80, 80, 80, size=3))
    assert "has 28 attention heads: --tensor-parallel-size 3 does not divide them" in said


def test_no_chat_template(tmp_path: Path) -> None:
    name = model(tmp_path, template=False)
    assert "has no chat template, so it follows no instructions" in refusal(settings(name))
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    check_model(settings(name))


def test_no_tokenizer(tmp_path: Path) -> None:
    name = model(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    assert "holds no tokenizer" in refusal(settings(name))
    check_model(settings(name, engine_args={"skip_tokenizer_init": True}))


def test_another_tokenizer_is_looked_at_instead(tmp_path: Path) -> None:
    for folder in ("m", "t"):
        (tmp_path / folder).mkdir()
    name = model(tmp_path / "m", template=False)
    check_model(settings(name, engine_args={"tokenizer": model(tmp_path / "t")}))


def test_the_text_part_of_a_model_that_also_sees(tmp_path: Path) -> None:
    config = {
        "architectures": ["QwenVL"],
        "text_config": {k: v for k, v in QWEN_7B.items() if k != "architectures"},
    }
    shape = read_shape(ModelFiles("m", Path(model(tmp_path, config))), {})
    assert (shape.heads, shape.context, shape.kv_per_token) == (28, 32768, 2 * 28 * 4 * 128 * 2)
