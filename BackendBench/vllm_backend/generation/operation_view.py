"""What a prompt says of an operation: text only, so that prompts are composed without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..operations.operation import Call, Operation

EXAMPLES = 6
"""Inputs shown: enough to see ranks, dtypes and options, few enough to stay a small part of the prompt."""
LONGEST_EXAMPLE = 160
LONGEST_SOURCE = 6_000
"""Characters of a user's own reference; above it the prompt would crowd out the feedback."""


@dataclass(frozen=True)
class OperationView:
    """An operation in words."""

    name: str
    overload: str
    signature: str
    """Parameter list, ``(x, dim, dtype=None)``."""
    description: str = ""
    overload_signature: str = ""
    examples: tuple[str, ...] = ()
    """Inputs in words: ``float32 (64, 128)``."""
    source: str = ""
    """The reference of a user's own operation; '' for PyTorch's."""

    entry: str = ""
    """What a candidate defines where that is not a function: the class ``ModelNew`` of a KernelBench problem."""

    @property
    def function(self) -> str:
        """Name of what a candidate defines."""
        return self.entry or f"{self.name}_kernel_impl"


def view_of(operation: Operation) -> OperationView:
    """The view of an operation. Builds its (tiny) correctness cases on the CPU to see what inputs look like."""
    return OperationView(
        name=operation.name,
        overload=operation.overload,
        signature=" ".join(operation.signature.split()),
        description=operation.description.strip(),
        overload_signature=" ".join(operation.overload_signature.split()),
        examples=_examples(operation),
        source=operation.source[:LONGEST_SOURCE].rstrip(),
        entry=operation.entry if operation.adapter else "",
    )


def load_view(name: str, source: str) -> OperationView:
    """The view of an operation by name; ``source``: text of the file of a user's own one, or ''.

    Loads torch. Raises the catalog's UnknownOperation.
    """
    from ..operations import catalog

    return view_of(catalog.from_source(name, source) if source else catalog.resolve(name))


def _examples(operation: Operation) -> tuple[str, ...]:
    """Different calls among the cases, spread over all of them."""
    import torch

    # Inputs of a problem may be gigabytes; their shapes are enough.
    device = torch.device("meta" if operation.adapter else "cpu")
    found = list(dict.fromkeys(_in_words(case.call) for case in operation.make_cases(device, 0)))
    step = max(1, len(found) // EXAMPLES)
    return tuple(found[::step][:EXAMPLES])


def _in_words(call: Call) -> str:
    parts = [_value(value) for value in call.args]
    parts += [f"{name}={_value(value)}" for name, value in call.kwargs.items()]
    text = ", ".join(parts)
    return text if len(text) <= LONGEST_EXAMPLE else text[: LONGEST_EXAMPLE - 4] + " ..."


def _value(value: object) -> str:
    import torch

    if isinstance(value, torch.Tensor):
        strides = "" if value.is_contiguous() else f" strides {tuple(value.stride())}"
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}{strides}"
    if isinstance(value, list | tuple):
        inner = ", ".join(_value(v) for v in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    return repr(value)
