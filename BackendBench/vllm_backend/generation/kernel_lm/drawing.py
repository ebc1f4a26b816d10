"""From logits to tokens: temperature and top-p of each row, and one drawn number of each row.

- Pure: the random numbers come in, so a row's tokens do not depend on who else is in the batch.
- Temperature 0 takes the likeliest token.
"""

from __future__ import annotations

import torch
from torch import Tensor

LIKELIEST = 64
"""Tokens looked at first: a trained model has top-p's share of its probability in far fewer nearly always."""


def draw(logits: Tensor, temperatures: Tensor, top_ps: Tensor, numbers: Tensor) -> Tensor:
    """Tokens, int64 (rows,), from logits (rows, vocabulary) and, all (rows,), numbers in [0, 1)."""
    scaled = logits / temperatures.clamp(min=1e-6)[:, None]
    sums = scaled.logsumexp(dim=-1, keepdim=True)
    values, tokens = scaled.topk(min(LIKELIEST, scaled.shape[1]), dim=-1)
    short = (values - sums).exp().sum(-1) < top_ps
    if bool(short.any()) and scaled.shape[1] > LIKELIEST:
        values, tokens = scaled.sort(dim=-1, descending=True)
    weights = (values - sums).exp()
    # A token is in when those before it have less than top-p: at least one always is.
    weights = torch.where(weights.cumsum(-1) - weights < top_ps[:, None], weights, 0.0)
    weights[:, 0].clamp_(min=1e-30)
    reached = weights.cumsum(-1)
    chosen = (reached <= (numbers * reached[:, -1])[:, None]).sum(-1)
    chosen = torch.where(temperatures > 0, chosen, 0).clamp(max=weights.shape[1] - 1)
    return tokens.gather(1, chosen[:, None])[:, 0]
