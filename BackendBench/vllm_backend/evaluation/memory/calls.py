"""Arguments as data: how a call crosses from the judge's memory to the candidate's.

- The tree of arguments becomes JSON; tensors become places in an arena (see arena.py).
- Strides, storage offsets and alignment survive: a transposed input arrives transposed.
- Both sides use this module; it imports nothing but torch and touches no device by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ...operations.operation import Call

ALIGNMENT = 256
"""Bytes; what cudaMalloc and torch's allocators guarantee, so that alignment hints hold as in real use."""


class UnshippableCall(Exception):
    """An argument of a type that cannot be sent; such a case is left out and counted."""


@dataclass(frozen=True)
class Place:
    """Where one tensor lies in an arena."""

    start: int
    """Byte offset of the tensor's first element."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Bytes from the first element to the last one that the tensor touches."""
        return span(self.shape, self.stride) * dtype_of(self.dtype).itemsize

    def to_json(self) -> list[Any]:
        return [self.start, list(self.shape), list(self.stride), self.dtype]

    @staticmethod
    def from_json(data: list[Any]) -> Place:
        return Place(int(data[0]), tuple(data[1]), tuple(data[2]), str(data[3]))


@dataclass
class Packing:
    """Places given out so far in one arena."""

    cursor: int = 0
    places: list[Place] = field(default_factory=list)
    tensors: list[torch.Tensor] = field(default_factory=list)

    def add(self, tensor: torch.Tensor) -> int:
        """Reserve room for ``tensor`` as it is strided; returns its index."""
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise UnshippableCall(f"a tensor of layout {tensor.layout}")
        plain = tensor.detach().resolve_conj().resolve_neg()
        # The same misalignment as the original: kernels specialise on it.
        shift = (int(plain.storage_offset()) * plain.element_size()) % ALIGNMENT
        start = _aligned(self.cursor) + shift
        self.places.append(Place(start, tuple(plain.shape), tuple(plain.stride()), dtype_name(plain.dtype)))
        self.tensors.append(plain)
        self.cursor = start + span(plain.shape, plain.stride()) * plain.element_size()
        return len(self.places) - 1

    def add_dense(self, tensor: torch.Tensor) -> int:
        """Reserve room for a contiguous copy of ``tensor`` (an output)."""
        start = _aligned(self.cursor)
        contiguous = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        self.places.append(
            Place(start, tuple(tensor.shape), tuple(contiguous.stride()), dtype_name(tensor.dtype))
        )
        self.tensors.append(tensor)
        self.cursor = start + tensor.numel() * tensor.element_size()
        return len(self.places) - 1


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def span(shape: tuple[int, ...] | torch.Size, stride: tuple[int, ...]) -> int:
    """Elements from the first to the last one that a strided tensor touches, both included."""
    if any(n == 0 for n in shape):
        return 0
    return 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))


def dtype_name(dtype: torch.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def dtype_of(name: str) -> torch.dtype:
    """The dtype of that name; raises ValueError for anything else in torch's namespace."""
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"no dtype is called {name!r}")
    return dtype


def view(arena: torch.Tensor, place: Place) -> torch.Tensor:
    """The tensor at ``place`` of ``arena`` (1-d uint8); shares memory with it."""
    flat = arena[place.start : place.start + place.size].view(dtype_of(place.dtype))
    return flat.as_strided(place.shape, place.stride, flat.storage_offset())


def blank(place: Place, device: torch.device) -> torch.Tensor:
    """A tensor of its own with arbitrary values, shaped, strided and aligned as the one at ``place``."""
    dtype = dtype_of(place.dtype)
    shift = (place.start % ALIGNMENT) // dtype.itemsize
    flat = torch.empty(shift + span(place.shape, place.stride), dtype=dtype, device=device)
    return flat.as_strided(place.shape, place.stride, shift)


def pack(call: Call, packing: Packing) -> dict[str, Any]:
    """The call as JSON; its tensors are added to ``packing``. Raises UnshippableCall."""
    return {
        "args": [_encode(a, packing) for a in call.args],
        "kwargs": {str(k): _encode(v, packing) for k, v in call.kwargs.items()},
    }


def unpack(tree: dict[str, Any], tensors: list[torch.Tensor]) -> Call:
    """The reverse of ``pack``; ``tensors`` in the order in which they were packed."""
    return Call(
        tuple(_decode(a, tensors) for a in tree["args"]),
        {k: _decode(v, tensors) for k, v in tree["kwargs"].items()},
    )


def _encode(value: Any, packing: Packing) -> Any:
    if isinstance(value, torch.Tensor):
        return {"t": packing.add(value)}
    if value is None or isinstance(value, (bool, int, str)):
        return {"v": value}
    if isinstance(value, float):
        return {"f": value.hex()}
    if isinstance(value, complex):
        return {"c": [value.real.hex(), value.imag.hex()]}
    if isinstance(value, (tuple, torch.Size)):
        return {"u": [_encode(v, packing) for v in value]}
    if isinstance(value, list):
        return {"l": [_encode(v, packing) for v in value]}
    if isinstance(value, dict):
        return {"d": [[str(k), _encode(v, packing)] for k, v in value.items()]}
    if isinstance(value, torch.dtype):
        return {"dtype": dtype_name(value)}
    if isinstance(value, torch.device):
        return {"device": value.type}
    if isinstance(value, (torch.memory_format, torch.layout)):
        return {"torch": str(value).removeprefix("torch.")}
    raise UnshippableCall(f"an argument of type {type(value).__name__}")


def _decode(node: dict[str, Any], tensors: list[torch.Tensor]) -> Any:
    ((kind, value),) = node.items()
    if kind == "t":
        return tensors[value]
    if kind == "v":
        return value
    if kind == "f":
        return float.fromhex(value)
    if kind == "c":
        return complex(float.fromhex(value[0]), float.fromhex(value[1]))
    if kind == "u":
        return tuple(_decode(v, tensors) for v in value)
    if kind == "l":
        return [_decode(v, tensors) for v in value]
    if kind == "d":
        return {k: _decode(v, tensors) for k, v in value}
    if kind == "dtype":
        return dtype_of(value)
    if kind == "device":
        return torch.device(value)
    if kind == "torch":
        return getattr(torch, value)
    raise ValueError(f"unknown kind of argument {kind!r}")
