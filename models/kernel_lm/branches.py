"""One document laid out for a processor without a GPU: the prompt, then its answers, padded to one length.

- Attention is then two dense calls without gathers: the prompt over itself, and all answers at once over the
  prompt and themselves. Nothing is computed that ``packing.visible`` forbids, but for the padding.
- Padding stands at the end of an answer, where no token before it looks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .packing import Document


@dataclass(frozen=True)
class Branches:
    """The sizes of one document: it takes ``prompt + answers * longest`` tokens."""

    prompt: int
    answers: int
    longest: int

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention (1, heads, tokens, size) of ``q``, the same, and ``k``, ``v`` with fewer heads."""
        heads, size = q.shape[1], q.shape[3]
        k, v = (part.repeat_interleave(heads // part.shape[1], dim=1) for part in (k, v))
        first = slice(0, self.prompt)
        of_prompt = F.scaled_dot_product_attention(
            q[:, :, first], k[:, :, first], v[:, :, first], is_causal=True
        )
        mine = self._own(q)
        keys, values = (
            torch.cat((part[:, :, first].expand(self.answers, -1, -1, -1), self._own(part)), dim=2)
            for part in (k, v)
        )
        found = F.scaled_dot_product_attention(mine, keys, values, attn_mask=self._mask())
        return torch.cat((of_prompt, found.transpose(0, 1).reshape(1, heads, -1, size)), dim=2)

    def _own(self, part: Tensor) -> Tensor:
        """(answers, heads, longest, size)."""
        _, heads, _, size = part.shape
        return part[0, :, self.prompt :].view(heads, self.answers, self.longest, size).transpose(0, 1)

    def _mask(self) -> Tensor:
        """(longest, prompt + longest): the prompt and what came before."""
        return torch.ones(self.longest, self.prompt + self.longest, dtype=torch.bool).tril(self.prompt)


@dataclass(frozen=True)
class LaidOut:
    """A document as tensors: tokens and positions (1, n); chosen and targets as ``LanguageModel.forward`` takes."""

    tokens: Tensor
    positions: Tensor
    branches: Branches
    chosen: Tensor
    targets: Tensor


def laid_out(document: Document) -> LaidOut:
    """The document as one row. It has at least one answer."""
    prompt, longest = len(document.prompt), max(len(answer) for answer in document.answers)
    tokens = np.zeros(prompt + len(document.answers) * longest, np.int64)
    tokens[:prompt] = document.prompt
    own = np.tile(np.arange(prompt, prompt + longest), len(document.answers))
    chosen: list[NDArray[np.int64]] = []
    for number, answer in enumerate(document.answers):
        at = prompt + number * longest
        tokens[at : at + len(answer)] = answer
        chosen.append(np.concatenate(([prompt - 1], np.arange(at, at + len(answer) - 1))))
    return LaidOut(
        torch.from_numpy(tokens)[None],
        torch.from_numpy(np.concatenate((np.arange(prompt), own)))[None],
        Branches(prompt, len(document.answers), longest),
        torch.from_numpy(np.concatenate(chosen)),
        torch.from_numpy(np.concatenate(document.answers).astype(np.int64)),
    )
