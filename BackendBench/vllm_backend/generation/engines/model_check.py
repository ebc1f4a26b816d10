"""Whether vLLM can serve a model on these GPUs: read from the model's files, before anything is started.

- Looked at: is there a model, does its architecture exist, can its heads be divided, has it a chat template, and
  do weights and KV cache fit, with the arithmetic in words.
- The arithmetic: each GPU gives ``gpu_memory_utilization`` of its memory; its share of the weights and the room
  that a step works in are taken off; what is left has to hold one sequence of ``max_model_len`` tokens.
- Where a number cannot be known (a layout of attention that is not understood, GPUs not given), nothing is
  refused: vLLM decides when it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..settings import EngineSettings
from .base import EngineConfigError
from .model_files import ModelFiles, find_model, registered_architectures, weight_bytes

STEP_BYTES = 2 << 30
"""Activations, logits, sampler and CUDA graphs of one GPU: 1.5 to 2.5 GiB were seen at 8 to 70 billion weights."""
GB = 1e9
DTYPE_BYTES = {
    "float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2,
    "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1, "int8": 1,
}  # fmt: skip
UNUSUAL_CACHE = ("hybrid_override_pattern", "mamba_d_state", "linear_num_key_heads", "attn_type_list")
"""Keys of config.json that tell of layers which keep less than every key and value."""


@dataclass(frozen=True)
class Shape:
    """What the arithmetic needs of a model."""

    architecture: str
    dtype: str
    weights: int
    """Bytes of all weights as they lie on the GPUs."""
    kv_per_token: int
    """Bytes that one token takes in the KV caches of all GPUs together; 0: unknown."""
    context: int
    """Longest sequence, tokens; 0: unknown."""
    heads: int = 0
    kv_heads: int = 0
    plain_cache: bool = True
    """Whether every layer keeps keys and values of every token."""


@dataclass(frozen=True)
class Room:
    """The memory of one GPU of the engine, bytes."""

    total: int
    usable: float
    weights: float
    left: float
    """For the KV cache; negative: the weights alone do not fit."""
    kv_per_token: float
    tokens: int
    """That the KV cache holds; 0 when ``kv_per_token`` is unknown."""


def check_model(settings: EngineSettings) -> list[str]:
    """Lines worth showing about the model of the settings. Starts nothing. Raises EngineConfigError."""
    from .vllm import engine_arguments

    arguments = engine_arguments(settings)
    files = find_model(settings.model)
    shape = read_shape(files, arguments)
    lines = _check_architecture(files, shape)
    size = int(arguments["tensor_parallel_size"])
    if shape.heads and shape.heads % size:
        raise EngineConfigError(
            f"{settings.model} has {shape.heads} attention heads: --tensor-parallel-size {size} does not divide them"
        )
    if not arguments.get("skip_tokenizer_init"):
        check_chat_template(files, arguments)
    memory = settings.gpu_memory_bytes
    if not memory or not shape.weights:
        return [*lines, _describe(settings.model, shape)]
    room = room_of(shape, min(memory), size, float(arguments["gpu_memory_utilization"]))
    check_fits(settings.model, shape, room, size, int(arguments.get("max_model_len") or shape.context))
    return [*lines, _describe(settings.model, shape), in_words(shape, room, size)]


def cache_share(settings: EngineSettings) -> dict[str, int]:
    """The argument of vLLM that gives its KV cache exactly the room of the arithmetic; {} where that is unknown.

    Raises EngineConfigError.
    """
    from .vllm import engine_arguments

    arguments = engine_arguments(settings)
    shape = read_shape(find_model(settings.model), arguments)
    if not settings.gpu_memory_bytes or not shape.weights:
        return {}
    size = int(arguments["tensor_parallel_size"])
    room = room_of(shape, min(settings.gpu_memory_bytes), size, float(arguments["gpu_memory_utilization"]))
    return {"kv_cache_memory_bytes": int(room.left)} if room.left > 0 else {}


def read_shape(files: ModelFiles, arguments: Mapping[str, Any]) -> Shape:
    """The shape of a model out of its config.json and the headers of its weights. Raises EngineConfigError."""
    outer = files.json("config.json")
    if outer is None:
        raise EngineConfigError(
            f"{files.name} holds no readable config.json: is it the directory of a model?"
        )
    config = {**outer, **outer.get("text_config", {})}
    dtype = _dtype(config, str(arguments.get("dtype", "auto")))
    heads = _int(config, "num_attention_heads")
    kv_heads = _int(config, "num_key_value_heads") or heads
    architectures = outer.get("architectures") or [""]
    return Shape(
        architecture=str(architectures[0]),
        dtype=dtype,
        weights=_weights(files, config, arguments, DTYPE_BYTES.get(dtype, 2)),
        kv_per_token=_kv_per_token(config, arguments, dtype, heads, kv_heads),
        context=_int(config, "max_position_embeddings"),
        heads=heads,
        kv_heads=kv_heads,
        plain_cache=_plain_cache(config),
    )


def room_of(shape: Shape, gpu_memory: int, gpus: int, utilization: float) -> Room:
    """The arithmetic for one of ``gpus`` equal GPUs. Pure."""
    usable = gpu_memory * utilization
    weights = shape.weights / gpus
    left = usable - weights - STEP_BYTES
    # With more GPUs than KV heads each head is kept several times.
    copies = max(1.0, gpus / shape.kv_heads) if shape.kv_heads else 1.0
    each = shape.kv_per_token * copies / gpus
    return Room(gpu_memory, usable, weights, left, each, int(max(0.0, left) / each) if each else 0)


def check_fits(model: str, shape: Shape, room: Room, gpus: int, context: int) -> None:
    """Raises EngineConfigError, with the arithmetic, when the model cannot run in this room. Pure."""
    words = in_words(shape, room, gpus)
    if room.left <= 0:
        raise EngineConfigError(
            f"{model} is too large for {_gpus(gpus)}: {words}; use more GPUs (--tensor-parallel-size), a smaller "
            "or quantised model, or a larger gpu_memory_utilization in --engine-args"
        )
    if shape.plain_cache and room.kv_per_token and context > room.tokens:
        raise EngineConfigError(
            f"{model} leaves too little memory for one sequence of {context:,} tokens: {words}; "
            f"give --engine-args '{{\"max_model_len\": {max(1, room.tokens // 2)}}}' or more GPUs"
        )


def in_words(shape: Shape, room: Room, gpus: int) -> str:
    """The arithmetic in one line."""
    share = f" / {gpus} GPUs = {room.weights / GB:.1f} GB each" if gpus > 1 else ""
    text = (
        f"weights {shape.weights / GB:.1f} GB{share}; of {room.total / GB:.1f} GB a GPU the engine uses "
        f"{room.usable / GB:.1f}; less weights and {STEP_BYTES / GB:.1f} to work in, "
    )
    if room.left <= 0:
        return f"{text}{-room.left / GB:.1f} GB are missing"
    text += f"{room.left / GB:.1f} GB are left for the KV cache"
    if not room.kv_per_token:
        return text
    return f"{text}: {room.tokens:,} tokens of {room.kv_per_token / 1024:.1f} KiB"


def check_chat_template(files: ModelFiles, arguments: Mapping[str, Any]) -> None:
    """Raises EngineConfigError when the tokenizer of the model has no chat template."""
    given = arguments.get("tokenizer")
    source = find_model(str(given)) if given else files
    tokenizer = source.json("tokenizer_config.json")
    if tokenizer is None and not source.has("tokenizer.json"):
        raise EngineConfigError(f"{source.name} holds no tokenizer (tokenizer_config.json)")
    beside = ("chat_template.jinja", "chat_template.json")
    if (tokenizer or {}).get("chat_template") or any(source.has(name) for name in beside):
        return
    raise EngineConfigError(
        f"{source.name} has no chat template, so it follows no instructions: use the instruction-tuned version of "
        "the model, or put a chat_template.jinja beside its tokenizer"
    )


def _check_architecture(files: ModelFiles, shape: Shape) -> list[str]:
    if not shape.architecture:
        raise EngineConfigError(f"{files.name}: config.json names no architecture: it is no complete model")
    known = registered_architectures()
    if not known or shape.architecture in known:
        return []
    if shape.architecture.endswith("ForCausalLM"):
        return [
            f"{shape.architecture} is none of this vLLM's own models: it is run by transformers, more slowly"
        ]
    raise EngineConfigError(
        f"{files.name}: this vLLM does not know the architecture {shape.architecture}: give another model, or "
        "install a newer vLLM"
    )


def _describe(model: str, shape: Shape) -> str:
    context = f", context {shape.context:,} tokens" if shape.context else ""
    return f"model {model}: {shape.architecture}, {shape.dtype}{context}"


def _gpus(count: int) -> str:
    return "one GPU" if count == 1 else f"{count} GPUs"


def _plain_cache(config: Mapping[str, Any]) -> bool:
    if types := config.get("layer_types"):
        return set(types) <= {"full_attention"}
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        return False
    return not any(config.get(key) for key in UNUSUAL_CACHE)


def _int(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) else 0


def _dtype(config: Mapping[str, Any], wanted: str) -> str:
    if wanted != "auto":
        return wanted
    stored = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    return "bfloat16" if stored == "float32" else stored  # as vLLM does on a GPU


def _weights(files: ModelFiles, config: Mapping[str, Any], arguments: Mapping[str, Any], width: int) -> int:
    if arguments.get("load_format") == "dummy":
        return estimated_parameters(config) * width
    quantised = bool(config.get("quantization_config")) or bool(arguments.get("quantization"))
    return weight_bytes(files, width=0 if quantised else width) or estimated_parameters(config) * width


def estimated_parameters(config: Mapping[str, Any]) -> int:
    """Parameters of a plain decoder of this config.json; 0 where it is none. Pure."""
    hidden, layers = _int(config, "hidden_size"), _int(config, "num_hidden_layers")
    inner, words = _int(config, "intermediate_size"), _int(config, "vocab_size")
    heads = _int(config, "num_attention_heads")
    experts = any("expert" in key for key in config)
    if not (hidden and layers and inner and words and heads) or experts:
        return 0
    width = _int(config, "head_dim") or hidden // heads
    kv = width * (_int(config, "num_key_value_heads") or heads)
    layer = 2 * hidden * width * heads + 2 * hidden * kv + 3 * hidden * inner + 2 * hidden
    return layers * layer + hidden * words * (1 if config.get("tie_word_embeddings") else 2) + hidden


def _kv_per_token(
    config: Mapping[str, Any], arguments: Mapping[str, Any], dtype: str, heads: int, kv_heads: int
) -> int:
    layers = _int(config, "num_hidden_layers")
    cache = str(arguments.get("kv_cache_dtype", "auto"))
    width = DTYPE_BYTES.get(dtype if cache == "auto" else cache, 2)
    if latent := _int(config, "kv_lora_rank"):  # one compressed vector instead of keys and values
        return layers * (latent + _int(config, "qk_rope_head_dim")) * width
    if not (layers and heads):
        return 0
    head = _int(config, "head_dim") or _int(config, "hidden_size") // heads
    return 2 * layers * kv_heads * head * width
