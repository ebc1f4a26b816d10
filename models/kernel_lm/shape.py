"""The shape of the model: one Llama-like decoder, in the words of Hugging Face's config.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END)
"""Their ids are 0, 1 and 2. A turn's end ends a sample too."""
PADDING_ID = 0
TURN_END_ID = 2


@dataclass(frozen=True)
class Shape:
    """Sizes; the defaults are the model that is shipped: 7.3 million parameters, 14.7 MB in bfloat16.

    Deep rather than wide: a kernel's names must be carried from line to line, which takes layers.
    """

    vocabulary: int = 4096
    hidden: int = 256
    layers: int = 8
    heads: int = 4
    key_value_heads: int = 2
    head_size: int = 64
    """What every attention kernel of vLLM knows."""
    feed_forward: int = 768
    context: int = 8192
    """Tokens: a prompt with three rejected kernels and an answer stay well below."""
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6

    def config(self) -> dict[str, Any]:
        """``config.json``, as transformers and vLLM read it."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.feed_forward,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "head_dim": self.head_size,
            "hidden_act": "silu",
            "max_position_embeddings": self.context,
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": TURN_END_ID,
            "pad_token_id": PADDING_ID,
            "dtype": "bfloat16",
            "torch_dtype": "bfloat16",
        }
