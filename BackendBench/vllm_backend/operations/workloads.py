"""What a kernel is timed on: inputs of real models at their real size.

- Well-known operations: shapes, dtypes and origins stand in workload_shapes/*.json; nothing about a model stands here.
- A GPU gets sizes whose launch takes far longer than launching; a CPU gets fewer tokens in float32.
- Operations known from tracing alone: a large synthetic tensor where the operation works element by element
  (which is tested, not assumed), otherwise the largest inputs that OpInfo has. ``origin`` says which.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import torch

from . import cases, traffic, trees
from .edge_cases.naming import dtype_text
from .operation import Call, Workload
from .wellknown import WellKnown

META = torch.device("meta")
SYNTHETIC_SHAPE = {"cpu": (512, 1024), "cuda": (8192, 4096)}
"""For operations without a model: half a million elements are milliseconds of a slow function on two cores; 134 MB
in float32 are far above a launch on a GPU."""
LARGEST_SAMPLES = 2


def for_wellknown(row: WellKnown) -> Callable[[torch.device], list[Workload]]:
    """Workloads of a row of the table, as its family's data file says."""

    def make(device: torch.device) -> list[Workload]:
        data = _data(row.family)
        settings = data["operations"].get(row.name, {})
        entries = data["groups"][settings.get("group", "*")]["cpu" if device.type == "cpu" else "cuda"]
        arguments = settings.get("arguments") or data["arguments"]
        return [_workload(row, arguments, _resolved(entry)) for entry in entries]

    return make


@functools.cache
def _data(name: str) -> dict[str, Any]:
    text = (files(__package__) / "workload_shapes" / f"{name}.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _resolved(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with its model's fields beside its own, and every list of dimensions in numbers."""
    model = _data("models")["models"][entry["model"]]
    names = {**model, **entry}

    def size(name: int | str) -> int:
        return name if isinstance(name, int) else int(names[name])

    numbers = {k: [size(n) for n in v] for k, v in entry.items() if isinstance(v, list)}
    return {**names, **numbers}


def _workload(row: WellKnown, arguments: Sequence[Any], entry: dict[str, Any]) -> Workload:
    dtype = getattr(torch, entry["dtype"])
    kwargs = dict(entry.get("kwargs") or row.base)

    def make(device: torch.device, generator: torch.Generator | None) -> Call:
        drawn = [_argument(a, entry, dtype, row.domain, torch.device(device), generator) for a in arguments]
        return Call(tuple(drawn), dict(kwargs))

    call = make(META, None)
    outputs = trees.leaves(row.reference()(*call.args, **call.kwargs)) or []
    shapes = " ".join("x".join(map(str, t.shape)) for t in _distinct_shapes(call))
    options = " ".join(f"{k}={v}" for k, v in kwargs.items())
    name = " ".join(w for w in (entry["model"], entry["layer"], shapes, entry["dtype"], options) if w)
    return Workload(
        name, f"{entry['model']}: {entry['layer']} ({entry['source']})", make,
        traffic.bytes_moved(call, outputs, row), traffic.flops(row, call, outputs),
    )  # fmt: skip


def _distinct_shapes(call: Call) -> list[torch.Tensor]:
    return list({t.shape: t for t in trees.tensors(call) if t.dim() > 0}.values())[:2]


def _argument(
    wanted: Any, entry: dict[str, Any], dtype: torch.dtype, domain: str, device: torch.device,
    generator: torch.Generator | None,
) -> Any:  # fmt: skip
    if not isinstance(wanted, dict):
        return wanted
    if "sizes" in wanted:
        return list(entry[wanted["sizes"]])
    if "size" in wanted:
        return int(entry[wanted["size"]])
    shape = entry[wanted["tensor"]]
    values = wanted.get("values", domain)
    if values == "index":
        return torch.randint(0, int(entry[wanted["below"]]), shape, device=device, generator=generator)
    return random_values(values, shape, dtype, device, generator)


def random_values(
    kind: str,
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Random values made on ``device``: of a domain (wellknown.py), ``bool``, ``weight`` or ``probability``."""
    if kind in ("bool", "positive", "probability"):
        uniform = torch.rand(tuple(shape), generator=generator, device=device, dtype=torch.float32)
        if kind == "bool":
            return uniform < 0.5
        return uniform.add_(0.1).to(dtype) if kind == "positive" else uniform.mul_(2 / shape[-1]).to(dtype)
    normal = torch.randn(tuple(shape), generator=generator, device=device, dtype=torch.float32)
    if kind == "weight":  # products keep the size of their inputs
        normal.mul_(shape[-2] ** -0.5)
    if kind == "signed_nonzero":
        normal.add_(torch.where(normal < 0, -0.1, 0.1))
    return normal.to(dtype)


def for_overload(
    overload: Any, infos: Sequence[tuple[str, str]], half: bool
) -> Callable[[torch.device], list[Workload]]:
    """Workloads of an operation known from tracing alone."""

    def make(device: torch.device) -> list[Workload]:
        found = list(_calls(overload, infos, 0))
        by_size = sorted(found, key=lambda item: -_elements(item[1]))
        scalable = next((call for _, call in by_size if works_by_element(overload, call)), None)
        if scalable is None:
            return [_sampled(overload, key, call) for key, call in by_size[:LARGEST_SAMPLES]]
        dtypes = [torch.float32, torch.bfloat16] if half and device.type == "cuda" else [torch.float32]
        made = [_synthetic(overload, scalable, SYNTHETIC_SHAPE[device.type], dtype) for dtype in dtypes]
        return [w for w in made if w is not None]

    return make


def _elements(call: Call) -> int:
    return sum(t.numel() for t in trees.tensors(call))


def _calls(overload: Any, infos: Sequence[tuple[str, str]], seed: int) -> Any:
    for name, variant in infos:
        for number, call in cases.captured(overload, name, variant, seed, cases.MOST_SAMPLES):
            yield (name, variant, number), call


def works_by_element(overload: Any, call: Call) -> bool:
    """Whether the call treats every element alone: flattened inputs, crossed and straight after each other, give
    its outputs so."""
    inputs = trees.tensors(call)
    if not 1 <= len(inputs) <= 3 or inputs[0].numel() < 2 or not inputs[0].is_floating_point():
        return False
    if any(t.shape != inputs[0].shape or t.dtype != inputs[0].dtype for t in inputs):
        return False
    permuted = trees.map_call(_crossed, call)
    try:
        straight = trees.leaves(overload(*call.args, **call.kwargs)) or []
        crossed = trees.leaves(overload(*permuted.args, **permuted.kwargs)) or []
    except (RuntimeError, TypeError, ValueError, IndexError):
        return False
    if len(straight) != 1 or len(crossed) != 1 or straight[0].shape != inputs[0].shape:
        return False
    expected = _crossed(straight[0])
    return crossed[0].shape == expected.shape and torch.allclose(expected, crossed[0], equal_nan=True)


def _crossed(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.reshape(-1)
    return torch.cat([flat.flip(0), flat])


def _synthetic(overload: Any, call: Call, shape: tuple[int, ...], dtype: torch.dtype) -> Workload | None:
    """The call at ``shape``, with values drawn from those that OpInfo chose: they are of the right domain."""
    pools = {id(t): t.reshape(-1) for t in trees.tensors(call)}

    def make(device: torch.device, generator: torch.Generator) -> Call:
        def scaled(t: torch.Tensor) -> torch.Tensor:
            pool = pools[id(t)].to(device)
            chosen = torch.randint(0, pool.numel(), shape, device=device, generator=generator)
            return pool[chosen].to(dtype)

        return trees.map_call(scaled, call)

    output = (trees.leaves(overload(*call.args, **call.kwargs)) or [])[0]
    elements = math.prod(shape)
    size = dtype.itemsize if output.is_floating_point() else output.element_size()
    text = "x".join(map(str, shape))
    bytes_moved = elements * (dtype.itemsize * len(pools) + size)
    return Workload(f"synthetic {text} {dtype_text(dtype)}", "synthetic", make, bytes_moved, elements)


def _sampled(overload: Any, key: tuple[str, str, int], call: Call) -> Workload:
    name, variant, number = key

    def make(device: torch.device, generator: torch.Generator) -> Call:
        seed = int(torch.randint(0, 2**31 - 1, (), generator=generator, device=generator.device))
        found = dict(cases.captured(overload, name, variant, seed, cases.MOST_SAMPLES))
        return trees.to_device(found[number], torch.device(device))

    outputs = trees.leaves(overload(*call.args, **call.kwargs)) or []
    label = f"OpInfo {name} {variant}".strip()
    shapes = " ".join("x".join(map(str, t.shape)) for t in trees.tensors(call)[:3])
    return Workload(f"{label} {number}: {shapes}", "OpInfo", make, traffic.bytes_moved(call, outputs))
