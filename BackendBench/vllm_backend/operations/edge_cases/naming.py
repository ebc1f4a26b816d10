"""What a case is called in messages and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def shape_text(tensor: torch.Tensor) -> str:
    """``33x65``; ``scalar`` for a 0-d tensor."""
    return "x".join(map(str, tensor.shape)) or "scalar"


def dtype_text(dtype: torch.dtype) -> str:
    """``float32``."""
    return str(dtype).removeprefix("torch.")


def label(tensors: Sequence[torch.Tensor], note: str = "", **kwargs: Any) -> str:
    """``33x65, 65 float32 transposed dim=1``: shapes, dtypes, what is special, keyword arguments."""
    shapes = ", ".join(map(shape_text, tensors))
    dtypes = "/".join(dict.fromkeys(dtype_text(t.dtype) for t in tensors))
    words = [shapes, dtypes, note, *(f"{k}={_value_text(v)}" for k, v in kwargs.items())]
    return " ".join(w for w in words if w)


def _value_text(value: Any) -> str:
    if isinstance(value, torch.dtype):
        return dtype_text(value)
    return shape_text(value) if isinstance(value, torch.Tensor) else str(value).replace(" ", "")
