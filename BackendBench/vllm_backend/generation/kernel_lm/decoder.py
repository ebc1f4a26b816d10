"""The forward pass of a Llama-shaped model on few tokens at a time, with the samples of a prompt sharing its cache.

- A group is the samples of one prompt. The keys and values of the prompt are kept once; what each sample wrote
  has a cache of its own, which grows in steps. All samples of a group began together, so they are equally long.
- One step adds one token to every sample of every group: the matrices are read once for all of them.
- Computed in float32: what a model of this size needs is few operations, not narrow ones.
- Written for this shape because transformers' own generation computes the prompt of each sample and steps each
  group alone; tests hold its logits against transformers'.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

PREFILL_TOKENS = 256
"""Of a prompt at a time: bounds the scores, and other groups step in between."""
GROWTH = 128
"""Tokens by which the cache of a group's samples grows."""


@dataclass(frozen=True)
class Shape:
    """What is needed of ``config.json``."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    context: int
    rope_theta: float
    norm_eps: float
    end: int
    """The token that ends a sample."""

    @classmethod
    def read(cls, directory: Path) -> Shape:
        """From a model directory. Raises ValueError for a model that is not shaped like this."""
        config: dict[str, Any] = json.loads((directory / "config.json").read_text("utf-8"))
        if config.get("model_type") != "llama" or not config.get("tie_word_embeddings"):
            raise ValueError(f"{directory}: only Llama-shaped models with tied embeddings")
        if config.get("attention_bias") or config.get("mlp_bias"):
            raise ValueError(f"{directory}: only models without biases")
        rope = config.get("rope_parameters") or config
        return cls(
            hidden=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            key_value_heads=config["num_key_value_heads"],
            head_size=config["head_dim"],
            context=config["max_position_embeddings"],
            rope_theta=float(rope["rope_theta"]),
            norm_eps=config["rms_norm_eps"],
            end=config["eos_token_id"],
        )


@dataclass(frozen=True)
class PromptCache:
    """Keys and values of a prompt, each (layers, key_value_heads, tokens, head_size)."""

    tokens: tuple[int, ...]
    keys: Tensor
    values: Tensor


class GroupCache:
    """The samples of one prompt that are being written."""

    def __init__(self, prompt: PromptCache, samples: int) -> None:
        layers, heads, tokens, size = prompt.keys.shape
        self.prompt = prompt
        self.samples = samples
        self.length = 0
        """Tokens that each sample has so far."""
        self.position = tokens
        """Of the next token."""
        self.keys = prompt.keys.new_empty((layers, samples, heads, GROWTH, size))
        self.values = torch.empty_like(self.keys)

    def make_room(self) -> None:
        """For one token more."""
        if self.length == self.keys.shape[3]:
            self.keys, self.values = (F.pad(old, (0, 0, 0, GROWTH)) for old in (self.keys, self.values))

    def keep(self, rows: Sequence[int]) -> None:
        """Only these samples, by index, go on."""
        index = torch.tensor(rows, device=self.keys.device)
        self.keys, self.values = self.keys.index_select(1, index), self.values.index_select(1, index)
        self.samples = len(rows)


@dataclass(frozen=True)
class _Layer:
    attention_norm: Tensor
    queries_keys_values: Tensor
    output: Tensor
    feed_forward_norm: Tensor
    gate_up: Tensor
    down: Tensor


class Decoder:
    """Weights and the two ways to run them."""

    def __init__(self, shape: Shape, weights: dict[str, Tensor]) -> None:
        self.shape = shape
        self.embedding = weights["model.embed_tokens.weight"]
        self._norm = weights["model.norm.weight"]
        scale = shape.head_size**-0.5
        self._layers = [_layer(weights, f"model.layers.{number}.", scale) for number in range(shape.layers)]
        half = shape.head_size // 2
        device = self.embedding.device
        speeds = shape.rope_theta ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
        angles = torch.arange(shape.context, device=device, dtype=torch.float32)[:, None] * speeds
        angles = torch.cat((angles, angles), dim=-1)
        self._cosines, self._sines = angles.cos(), angles.sin()

    @classmethod
    def load(cls, directory: Path, device: str = "cpu") -> Decoder:
        """From a model directory. Raises OSError, ValueError, KeyError for files that are not this kind of model."""
        from safetensors.torch import load_file

        weights = load_file(directory / "model.safetensors", device=device)
        return cls(Shape.read(directory), {name: tensor.float() for name, tensor in weights.items()})

    @torch.inference_mode()
    def read(self, tokens: Sequence[int], known: PromptCache | None = None) -> tuple[PromptCache, Tensor]:
        """The cache of a prompt, and logits (vocabulary,) for what follows it.

        What ``known``, the cache of another prompt, begins alike with is taken from there.
        """
        shape = self.shape
        common = _common(tokens, known.tokens) if known is not None else 0
        common = min(common, len(tokens) - 1)  # the last token's logits are needed
        size = (shape.layers, shape.key_value_heads, len(tokens), shape.head_size)
        keys, values = self.embedding.new_empty(size), self.embedding.new_empty(size)
        if known is not None and common:
            keys[:, :, :common], values[:, :, :common] = (
                known.keys[:, :, :common],
                known.values[:, :, :common],
            )
        last = self.embedding[0]
        for start in range(common, len(tokens), PREFILL_TOKENS):
            last = self._read(tokens[start : start + PREFILL_TOKENS], start, keys, values)
        return PromptCache(tuple(tokens), keys, values), self._logits(last)

    def _read(self, tokens: Sequence[int], start: int, keys: Tensor, values: Tensor) -> Tensor:
        """Fill the caches from ``start`` on; the hidden state (hidden,) of the last token."""
        shape, end = self.shape, start + len(tokens)
        x = self.embedding[torch.tensor(tokens, device=self.embedding.device)]
        hidden = torch.ones((len(tokens), end), dtype=torch.bool, device=x.device).triu(start + 1)
        for number, layer in enumerate(self._layers):
            q, k, v = self._projected(x, layer, self._cosines[start:end, None], self._sines[start:end, None])
            keys[number, :, start:end], values[number, :, start:end] = k.transpose(0, 1), v.transpose(0, 1)
            grouped = q.transpose(0, 1).reshape(shape.key_value_heads, -1, shape.head_size)
            scores = grouped @ keys[number, :, :end].transpose(1, 2)
            scores = scores.view(shape.heads, len(tokens), end).masked_fill(hidden, float("-inf"))
            weights = scores.softmax(-1).view(shape.key_value_heads, -1, end)
            found = (weights @ values[number, :, :end]).view(shape.heads, len(tokens), shape.head_size)
            x = self._finished(x, found.transpose(0, 1).reshape(len(tokens), -1), layer)
        return x[-1]

    @torch.inference_mode()
    def step(self, groups: Sequence[GroupCache], tokens: Tensor) -> Tensor:
        """Logits (samples, vocabulary) after one more token of every sample of every group, int64 (samples,)."""
        shape, heads = self.shape, self.shape.key_value_heads
        sizes = [group.samples for group in groups]
        positions = torch.tensor([g.position for g in groups], device=tokens.device)
        positions = positions.repeat_interleave(torch.tensor(sizes, device=tokens.device))
        cosines, sines = self._cosines[positions][:, None], self._sines[positions][:, None]
        for group in groups:
            group.make_room()
        x = self.embedding[tokens]
        for number, layer in enumerate(self._layers):
            q, k, v = self._projected(x, layer, cosines, sines)
            q = q.view(len(tokens), heads, -1, shape.head_size)
            found = [
                self._attended(group, number, *parts)
                for group, *parts in zip(groups, q.split(sizes), k.split(sizes), v.split(sizes), strict=True)
            ]
            x = self._finished(x, torch.cat(found) if len(found) > 1 else found[0], layer)
        for group in groups:
            group.length += 1
            group.position += 1
        return self._logits(x)

    def _attended(self, group: GroupCache, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of a group's samples, (samples, heads * head_size); puts ``k`` and ``v`` into its cache.

        ``q``: (samples, key_value_heads, queries a head, head_size).
        """
        samples, heads, each, size = q.shape
        now = group.length + 1
        group.keys[layer, :, :, group.length], group.values[layer, :, :, group.length] = k, v
        prompt_keys, prompt_values = group.prompt.keys[layer], group.prompt.values[layer]
        by_head = q.transpose(0, 1).reshape(heads, samples * each, size)
        of_prompt = (by_head @ prompt_keys.transpose(1, 2)).view(heads, samples, each, -1).transpose(0, 1)
        of_sample = q @ group.keys[layer, :, :, :now].transpose(2, 3)
        weights = torch.cat((of_prompt, of_sample), dim=-1).softmax(-1)
        for_prompt, for_sample = weights.split((prompt_keys.shape[1], now), dim=-1)
        by_head = for_prompt.transpose(0, 1).reshape(heads, samples * each, -1) @ prompt_values
        found = by_head.view(heads, samples, each, size).transpose(0, 1)
        return (found + for_sample @ group.values[layer, :, :, :now]).reshape(samples, -1)

    def _projected(
        self, x: Tensor, layer: _Layer, cosines: Tensor, sines: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (tokens, heads, head_size); the first two turned by their positions."""
        shape = self.shape
        together = F.linear(self._normed(x, layer.attention_norm), layer.queries_keys_values)
        all_of_it = together.view(len(x), -1, shape.head_size)
        turned, v = all_of_it.split((shape.heads + shape.key_value_heads, shape.key_value_heads), dim=1)
        first, second = turned.chunk(2, dim=-1)
        turned = turned * cosines + torch.cat((-second, first), dim=-1) * sines
        q, k = turned.split((shape.heads, shape.key_value_heads), dim=1)
        return q, k, v

    def _finished(self, x: Tensor, attended: Tensor, layer: _Layer) -> Tensor:
        x = x + F.linear(attended, layer.output)
        gate, up = F.linear(self._normed(x, layer.feed_forward_norm), layer.gate_up).chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, layer.down)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (self.shape.hidden,), weight, self.shape.norm_eps)

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self._normed(x, self._norm), self.embedding)


def _layer(weights: dict[str, Tensor], prefix: str, scale: float) -> _Layer:
    """The matrices that meet the same input, as one. Queries carry the scale of the scores."""

    def get(name: str) -> Tensor:
        return weights[f"{prefix}{name}.weight"]

    queries, keys, values = (get(f"self_attn.{name}_proj") for name in "qkv")
    return _Layer(
        get("input_layernorm"),
        torch.cat((queries * scale, keys, values)),
        get("self_attn.o_proj"),
        get("post_attention_layernorm"),
        torch.cat((get("mlp.gate_proj"), get("mlp.up_proj"))),
        get("mlp.down_proj"),
    )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that both begin with."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
