"""The decoder, for training. Its parameters have the names that Llama's have in Hugging Face's files.

- Attention sees what a mask lets it see: several documents and several answers to one prompt lie in one row.
- On a GPU the mask is a block mask of flex attention, elsewhere the sizes of one document's branches.
- The loss is taken at chosen positions only, so that logits are never computed for the tokens of a prompt.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from .branches import Branches
from .shape import Shape

INITIAL_STD = 0.02


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        inner, narrow = shape.heads * shape.head_size, shape.key_value_heads * shape.head_size
        self.q_proj = nn.Linear(shape.hidden, inner, bias=False)
        self.k_proj = nn.Linear(shape.hidden, narrow, bias=False)
        self.v_proj = nn.Linear(shape.hidden, narrow, bias=False)
        self.o_proj = nn.Linear(inner, shape.hidden, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Any) -> Tensor:
        """``x``: (batch, tokens, hidden)."""
        batch, tokens, _ = x.shape
        split = (batch, tokens, -1, self.shape.head_size)
        q = rotated(self.q_proj(x).view(split).transpose(1, 2), rotation)
        k = rotated(self.k_proj(x).view(split).transpose(1, 2), rotation)
        v = self.v_proj(x).view(split).transpose(1, 2)
        if isinstance(mask, Branches):
            found = mask.attend(q, k, v)
        elif isinstance(mask, BlockMask):
            found = flex_attention(q, k, v, block_mask=mask, enable_gqa=True)
        else:
            found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        return self.o_proj(found.transpose(1, 2).reshape(batch, tokens, -1))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One block, normalised before each half."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden, shape.norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, shape.norm_eps)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Any) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotation, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """The model without its head, which is the embedding once more."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, shape.norm_eps)

    def forward(self, tokens: Tensor, positions: Tensor, mask: Any) -> Tensor:
        """Hidden states (batch, tokens, hidden) of int64 ``tokens`` at ``positions``, both (batch, tokens)."""
        rotation = rotations(self.shape, positions)
        x = self.embed_tokens(tokens)
        for layer in self.layers:
            x = layer(x, rotation, mask)
        normed: Tensor = self.norm(x)
        return normed


class LanguageModel(nn.Module):
    """The model, with the loss."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Decoder(shape)
        self.apply(_initialise)
        for name, parameter in self.named_parameters():
            if name.endswith(
                ("o_proj.weight", "down_proj.weight")
            ):  # what is added to the stream, layer by layer
                nn.init.normal_(parameter, std=INITIAL_STD / math.sqrt(2 * shape.layers))

    def logits(self, tokens: Tensor, positions: Tensor, mask: Any) -> Tensor:
        """(batch, tokens, vocabulary)."""
        return F.linear(self.model(tokens, positions, mask), self.model.embed_tokens.weight)

    def forward(
        self, tokens: Tensor, positions: Tensor, mask: Any, chosen: Tensor, targets: Tensor
    ) -> Tensor:
        """Mean cross entropy, nats a token, at the flat indices ``chosen`` against ``targets``, both (count,).

        A target of -100 counts for nothing.
        """
        hidden = self.model(tokens, positions, mask).flatten(0, 1)
        logits = F.linear(hidden.index_select(0, chosen), self.model.embed_tokens.weight)
        return F.cross_entropy(logits.float(), targets, ignore_index=-100)


def rotations(shape: Shape, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (batch, 1, tokens, head_size), of the angles at ``positions``."""
    half = shape.head_size // 2
    speeds = shape.rope_theta ** (-torch.arange(half, device=positions.device, dtype=torch.float32) / half)
    angles = positions[:, None, :, None].float() * speeds
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotated(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """``x`` (batch, heads, tokens, head_size) turned by its position."""
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    return (x * cosine + torch.cat((-second, first), dim=-1) * sine).to(x.dtype)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL_STD)
