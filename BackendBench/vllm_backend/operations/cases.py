"""The correctness cases of an operation: OpInfo's samples and the edge cases that OpInfo lacks.

- Edge cases come first: they tell more, and the evaluator's first request holds the first few.
- Values depend on the seed, names and shapes do not; all values are made on the CPU and then moved.
- No case on which eager itself raises: each case is tried once per device, by name, before it is handed out.
- CPU: float32 with some float64 and integers (Numba has no half precision). GPU: float32, float16, bfloat16.
"""

from __future__ import annotations

import inspect
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from . import opinfo, trees
from .edge_cases import attention, binary, elementwise, lookup, matmul, normalisation, reduction
from .edge_cases.naming import label
from .edge_cases.values import HALF, Draw, Dtypes
from .operation import Call, Case
from .seeding import seeded_everywhere
from .wellknown import WellKnown

MOST_SAMPLES = 16
"""OpInfo samples per operation, spread over all it has: enough for every kind of argument, cheap to judge."""
MOST_ELEMENTS = 1 << 17
"""Of all tensors of a sample; the few above it cost a CPU judge a minute."""
CPU = torch.device("cpu")

log = logging.getLogger(__name__)

_FAMILIES: dict[str, Callable[[WellKnown, Draw, Dtypes], Iterator[Case]]] = {
    "elementwise": elementwise.cases,
    "binary": binary.cases,
    "reduction": reduction.cases,
    "normalisation": normalisation.cases,
    "matmul": matmul.cases,
    "scaled_dot_product_attention": attention.cases,
    "embedding": lookup.cases,
}
"""By name where a row has its own, else by family."""


class CaseMaker:
    """``make_cases`` of one operation. Remembers per device which cases eager raises on."""

    def __init__(
        self,
        reference: Callable[..., Any],
        make: Callable[[torch.device, int], list[Case]],
        on_device: bool = False,
    ) -> None:
        """``on_device``: ``make`` puts its tensors on the device itself."""
        self._reference = reference
        self._make = make
        self._on_device = on_device
        self._lock = threading.Lock()
        self._refused: dict[str, frozenset[str]] = {}

    def __call__(self, device: torch.device, seed: int) -> list[Case]:
        """All cases for ``seed`` on ``device``."""
        device = torch.device(device)
        made = _uniquely_named(self._make(device, seed))
        if not self._on_device:
            made = [Case(c.name, trees.to_device(c.call, device)) for c in made]
        with self._lock:
            if device.type not in self._refused:
                self._refused[device.type] = frozenset(c.name for c in made if not self._runs(c))
        refused = self._refused[device.type]
        return [c for c in made if c.name not in refused]

    def _runs(self, case: Case) -> bool:
        """Whether eager answers with tensors."""
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = self._reference(*case.call.args, **case.call.kwargs)
        except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
            log.debug("case %s left out: %s", case.name, error)
            return False
        return trees.leaves(result) is not None


def _uniquely_named(cases: Sequence[Case]) -> list[Case]:
    seen: dict[str, int] = {}
    unique = []
    for case in cases:
        seen[case.name] = seen.get(case.name, 0) + 1
        number = seen[case.name]
        unique.append(case if number == 1 else Case(f"{case.name} #{number}", case.call))
    return unique


def for_wellknown(row: WellKnown) -> CaseMaker:
    """Cases in the public calling convention of a well-known operation."""
    make_edges = _FAMILIES.get(row.name) or _FAMILIES[row.family]

    def make(device: torch.device, seed: int) -> list[Case]:
        edges = list(make_edges(row, Draw(seed), Dtypes.of(device)))
        return edges + list(_public_samples(row, seed))

    return CaseMaker(row.reference(), make)


def _public_samples(row: WellKnown, seed: int) -> Iterator[Case]:
    """OpInfo's samples whose arguments fit the public signature."""
    found = opinfo.database()
    names = [row.opinfo] if row.opinfo else [row.name, f"nn.functional.{row.name}"]
    keys = [(name, variant) for name, _, variant in (n.partition("/") for n in names)]
    info = next((found[key] for key in keys if key in found), None)
    if info is None or opinfo.dtype_of(info) is None:
        return
    for number, sample in _spread(opinfo.samples(info, seed)):
        call = Call((sample.input, *sample.args), dict(sample.kwargs))
        if _fits(row.signature, call):
            yield Case(f"OpInfo {number}: {_describe(call)}", call)


def _spread(samples: Sequence[Any], most: int = MOST_SAMPLES) -> list[tuple[int, Any]]:
    """At most ``most`` of them with their numbers, evenly spread; which ones depends on their count alone."""
    if len(samples) <= most:
        return list(enumerate(samples))
    step = len(samples) / most
    return [(int(i * step), samples[int(i * step)]) for i in range(most)]


def parameters(signature: str) -> inspect.Signature:
    """The signature as an object."""
    function = eval(f"lambda {_as_lambda(signature)}: None")
    return inspect.signature(function)


def _as_lambda(signature: str) -> str:
    return signature.strip()[1:-1]


def _fits(signature: str, call: Call) -> bool:
    try:
        bound = parameters(signature).bind(*call.args, **call.kwargs)
    except TypeError:
        return False
    if bound.arguments.get("training") or bound.arguments.get("dropout_p"):
        return False
    defaults = {k: p.default for k, p in bound.signature.parameters.items()}
    if any(v is None and defaults[k] is not None for k, v in bound.arguments.items()):
        return False  # None for what has another default
    first = next(iter(bound.arguments.values()), None)
    operands = [v for k, v in bound.arguments.items() if k in ("a", "b", "c", "condition", "weight")]
    return isinstance(first, torch.Tensor) and not any(isinstance(o, (int, float, complex)) for o in operands)


def _describe(call: Call) -> str:
    """Tensors by shape, other arguments by value, for a case's name."""
    found = trees.tensors(call)
    others = [repr(a)[:30] for a in call.args if not trees.tensors([a])]
    named = {k: v for k, v in call.kwargs.items() if not trees.tensors([v])}
    return label(found, " ".join(others).replace("\n", ""), **named)[:120]


def for_overload(
    overload: Any, infos: Sequence[tuple[str, str]], half: bool
) -> Callable[[torch.device, int], list[Case]]:
    """Cases of an operation known from tracing alone: the overload calls of its OpInfos' samples.

    ``half``: the overload takes half precision on a GPU; the floating-point samples are converted.
    """

    def make(device: torch.device, seed: int) -> list[Case]:
        made: list[Case] = []
        for name, variant in infos:
            prefix = f"{name} {variant}".strip()
            for number, call in captured(overload, name, variant, seed, MOST_SAMPLES // len(infos) or 1):
                made.append(Case(f"{prefix} {number}: {_describe(call)}", call))
        made.sort(key=lambda c: -min(64, max((t.numel() for t in trees.tensors(c.call)), default=0)))
        return made + (_in_half(made, overload) if half and device.type == "cuda" else [])

    return CaseMaker(overload, make)


def captured(overload: Any, name: str, variant: str, seed: int, most: int) -> Iterator[tuple[int, Call]]:
    """Calls of ``overload`` that the samples of one OpInfo amount to, with the samples' numbers."""
    info = opinfo.database()[name, variant]
    for number, sample in _spread(opinfo.samples(info, seed), most):
        if _elements(sample) > MOST_ELEMENTS:
            continue
        with seeded_everywhere(seed):
            calls = opinfo.record(info, sample)
        if len(calls) == 1 and calls[0].overload is overload:
            yield number, _own_memory(calls[0].call)


def _elements(sample: Any) -> int:
    return sum(t.numel() for t in trees.tensors((sample.input, sample.args, sample.kwargs)))


def _own_memory(call: Call) -> Call:
    """Without gradients; sample inputs of one OpInfo may share memory."""
    return trees.map_call(lambda t: trees.through_storage(t, torch.clone), call)


def _in_half(cases: Sequence[Case], overload: Any) -> list[Case]:
    """Every other case in bfloat16 and float16 by turns. Not where indices are returned: rounding makes ties."""
    if any(
        "int64" in str(t.dtype)
        for c in cases[:1]
        for t in trees.leaves(overload(*c.call.args, **c.call.kwargs)) or []
    ):
        return []
    made = []
    for index, case in enumerate(cases[::2]):
        dtype = HALF[index % 2]
        if any(t.is_floating_point() for t in trees.tensors(case.call)):
            call = trees.map_call(partial(trees.to_dtype, dtype=dtype), case.call)
            made.append(Case(f"{case.name} as {str(dtype).removeprefix('torch.')}", call))
    return made
