"""PyTorch's own database of operations (OpInfo), and which of them are exactly one aten overload.

- Found by tracing: every sample input of an OpInfo is run under a dispatch mode that writes down which overloads
  are called with which arguments. No list by hand.
- An OpInfo is *mapped* when every sample is one call, of one and the same overload, and that overload can be
  judged: it returns new tensors whose shapes follow from the arguments' metadata and whose values are determined.
- Everything else gets one ``Outcome`` that says why; an exception is an outcome too, never an exception.
- Tracing runs on the CPU with float32 or, where that is missing, the first supported dtype.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import islice
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from . import trees
from .operation import Call
from .seeding import seeded_everywhere

MOST_SAMPLES = 200
"""Samples traced per OpInfo; the largest set has fewer, so this only guards against an endless generator."""
CPU = torch.device("cpu")


class Outcome(str, Enum):
    """What became of one OpInfo."""

    MAPPED = "mapped"
    COMPOSITE = "composite"  # one call runs several overloads
    SEVERAL_OVERLOADS = "several overloads"  # different samples run different overloads
    NO_OVERLOAD = "no overload"  # nothing is dispatched, or the overload is not aten's
    NO_TENSORS = "no tensors"  # takes or returns no tensor, or returns something beside tensors
    VIEW = "view"  # returns its input's memory: nothing is computed
    IN_PLACE = "in-place or out"  # writes to an argument
    RANDOM = "random"
    UNDETERMINED = "undetermined"  # uninitialised memory, or vectors that are unique up to sign only
    DATA_DEPENDENT = "data-dependent shape"
    UNSUPPORTED_LAYOUT = "unsupported layout"  # sparse, quantized, nested
    ERROR = "error"  # no sample of it runs on this machine


@dataclass(frozen=True)
class Traced:
    """One OpInfo and what tracing found."""

    name: str
    """As in the database: ``nn.functional.relu``."""
    variant: str
    outcome: Outcome
    overload: str = ""
    """``relu.default`` when mapped."""
    dtype: str = ""
    reason: str = ""
    aliases: tuple[str, ...] = ()
    half: bool = False
    """Its overload takes bfloat16 on a GPU according to OpInfo."""


@dataclass(frozen=True)
class Dispatched:
    """One overload call."""

    overload: Any
    call: Call


class Recorder(TorchDispatchMode):
    """Writes down what is dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Dispatched] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(Dispatched(func, Call(tuple(args), dict(kwargs or {}))))
        return func(*args, **(kwargs or {}))


@cache
def database() -> dict[tuple[str, str], Any]:
    """OpInfos by (name, variant). The first use takes seconds: torch builds the database on import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {(info.name, info.variant_test_name): info for info in op_db}


def dtype_of(info: Any) -> torch.dtype | None:
    """float32, or the first dtype that the OpInfo supports on the CPU, floating-point ones first."""
    supported = info.supported_dtypes("cpu")
    if torch.float32 in supported:
        return torch.float32
    return min(supported, key=lambda d: (not d.is_floating_point, str(d)), default=None)


def samples(info: Any, seed: int, dtype: torch.dtype | None = None) -> list[Any]:
    """The OpInfo's sample inputs on the CPU: same seed, same values. May raise whatever the OpInfo raises."""
    with seeded_everywhere(seed):
        made = info.sample_inputs(CPU, dtype or dtype_of(info), requires_grad=False)
        return list(islice(made, MOST_SAMPLES))


def record(info: Any, sample: Any) -> list[Dispatched]:
    """The overload calls of one sample. May raise whatever the operation raises."""
    recorder = Recorder()
    with torch.no_grad(), recorder:
        info(sample.input, *sample.args, **sample.kwargs)
    return recorder.calls


def trace_all() -> list[Traced]:
    """Every OpInfo of the database, traced. Takes seconds; trace_cache.py keeps the result."""
    return [trace(info) for info in database().values()]


def trace(info: Any) -> Traced:
    """One OpInfo; never raises."""
    dtype = None
    try:
        dtype = dtype_of(info)
        if dtype is None:
            return _traced(info, dtype, Outcome.ERROR, "supports no dtype on the CPU")
        outcome, reason, overload = _examine(info, dtype)
        return _traced(info, dtype, outcome, reason, overload)
    except Exception as error:  # OpInfo's generators and operators may raise anything
        return _traced(info, dtype, Outcome.ERROR, _one_line(error))


def _traced(info: Any, dtype: Any, outcome: Outcome, reason: str, overload: str = "") -> Traced:
    aliases = tuple(a.name for a in info.aliases)
    mapped = outcome is Outcome.MAPPED
    half = mapped and torch.bfloat16 in (info.dtypesIfCUDA or ())
    name = str(dtype).removeprefix("torch.") if dtype else ""
    return Traced(
        info.name, info.variant_test_name, outcome, overload if mapped else "", name, reason, aliases, half
    )


def _examine(info: Any, dtype: torch.dtype) -> tuple[Outcome, str, str]:
    traces: list[list[Dispatched]] = []
    processed = False
    failure = ""
    with seeded_everywhere(0):
        for sample in islice(info.sample_inputs(CPU, dtype, requires_grad=False), MOST_SAMPLES):
            try:
                calls = record(info, sample)
            except Exception as error:
                failure = _one_line(error)
                continue
            traces.append(calls)
            if len(calls) > 1:
                break  # decided
            processed = processed or _is_processed(sample)
        if not traces:
            return Outcome.ERROR, failure or "has no sample inputs", ""
        outcome, reason = _one_overload(traces)
        if outcome is Outcome.MAPPED:
            outcome, reason = _judgeable([t[0] for t in traces], processed)
    return outcome, reason, _short(traces[0][0].overload) if traces[0] else ""


def _one_overload(traces: Sequence[Sequence[Dispatched]]) -> tuple[Outcome, str]:
    lengths = {len(t) for t in traces}
    names = list(dict.fromkeys(_short(d.overload) for t in traces for d in t))
    if lengths == {0}:
        return Outcome.NO_OVERLOAD, "dispatches nothing"
    if lengths != {1}:
        return Outcome.COMPOSITE, ", ".join(names[:6])
    if len(names) > 1:
        return Outcome.SEVERAL_OVERLOADS, ", ".join(names[:6])
    if not str(traces[0][0].overload).startswith("aten."):
        return Outcome.NO_OVERLOAD, f"{names[0]} is not aten's"
    return Outcome.MAPPED, ""


def _judgeable(calls: Sequence[Dispatched], processed: bool) -> tuple[Outcome, str]:
    """Whether the one overload gives determined new tensors; decided by its schema, its tags and by running it."""
    overload = calls[0].overload
    schema = overload._schema
    if schema.is_mutable:
        return Outcome.IN_PLACE, str(schema)
    if any(r.alias_info is not None for r in schema.returns):
        return Outcome.VIEW, ""
    if torch.Tag.nondeterministic_seeded in overload.tags:
        return Outcome.RANDOM, ""
    if torch.Tag.dynamic_output_shape in overload.tags:
        return Outcome.DATA_DEPENDENT, ""
    if "empty" in _short(overload):  # aten's word for uninitialised memory, in every such overload's name
        return Outcome.UNDETERMINED, "returns uninitialised memory"
    if processed:
        return Outcome.UNDETERMINED, "OpInfo compares only a function of its outputs (free signs or phases)"
    if not any(trees.tensors(d.call) for d in calls):
        return Outcome.NO_TENSORS, "takes no tensor"
    for dispatched in calls[:3]:
        outcome = _plain_tensors(dispatched)
        if outcome is not None:
            return outcome
    return Outcome.MAPPED, ""


def _is_processed(sample: Any) -> bool:
    """Whether the OpInfo hides a freedom of the outputs (the sign of an eigenvector) before it compares them."""
    default = getattr(type(sample)(sample.input).output_process_fn_grad, "__code__", None)
    return getattr(sample.output_process_fn_grad, "__code__", None) is not default


def _plain_tensors(dispatched: Dispatched) -> tuple[Outcome, str] | None:
    call = dispatched.call
    outputs = trees.leaves(dispatched.overload(*call.args, **call.kwargs))
    if outputs is None:
        return Outcome.NO_TENSORS, "does not return tensors alone"
    everything = [*trees.tensors(call), *outputs]
    if any(t.layout != torch.strided or t.is_quantized or t.is_nested for t in everything):
        return Outcome.UNSUPPORTED_LAYOUT, ""
    return None


def _short(overload: Any) -> str:
    return str(overload).removeprefix("aten.")


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0][:160]
