"""A KernelBench problem as an operation: ``problem.py`` with ``Model``, ``get_inputs()``, ``get_init_inputs()``.

- The reference is ``Model(*get_init_inputs()).forward``, in evaluation mode, its parameters drawn under
  ``PARAMETER_SEED`` on the CPU. It follows device and dtype of its inputs, so it has a float64 reference too.
- Inputs come from ``get_inputs()``, run with the judged device as default: random inputs of gigabytes are made
  where they are used.
- A candidate defines ``ModelNew`` with the same constructor, wherever it comes from: a file or a run. It is screened
  as it is; then the judge appends ``Operation.adapter``, which draws the same parameters and defines the
  ``{name}_kernel_impl`` that is called. So a layer keeps its place in the order of creation.
- Layers that are kept (``nn.Linear``) are library calls: refused, or labelled where they are allowed.
- Timed is the problem's own input; KernelBench names no model, so the origin is the problem itself.
"""

from __future__ import annotations

import ast
import copy
import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import traffic, trees
from .cases import CaseMaker
from .edge_cases.naming import dtype_text, shape_text
from .errors import BadOperationFile
from .names import identifier
from .operation import Call, Case, Operation, Workload
from .seeding import seeded_everywhere
from .user import describe, load, read, signature

PARAMETER_SEED = 42
TRIALS = 5
"""Correctness cases: KernelBench's number."""
MOST_CASE_BYTES = 1 << 30
"""Inputs of all cases together; larger problems get fewer cases, at least one, which the judge draws anew for every
trial."""
REQUIRED = ("Model", "get_inputs", "get_init_inputs")

ADAPTER = """

# Appended by the evaluator: the calling convention of every candidate over ModelNew.
import random as _random

import numpy as _numpy
import torch as _torch

_random.seed({seed})
_numpy.random.seed({seed})
with _torch.random.fork_rng(devices=[]):
    _torch.default_generator.manual_seed({seed})
    _MODEL = ModelNew(*{init!r}).eval()
_PLACED = set()


def {name}_kernel_impl(*inputs):
    tensors = [i for i in inputs if isinstance(i, _torch.Tensor)]
    if tensors:
        floating = [t.dtype for t in tensors if t.is_floating_point()]
        place = (tensors[0].device, floating[0] if floating else _torch.float32)
        if place not in _PLACED:
            _MODEL.to(device=place[0], dtype=place[1])
            _PLACED.clear()
            _PLACED.add(place)
    with _torch.no_grad():
        return _MODEL(*inputs)
"""
CANDIDATE = "ModelNew"


def is_problem(text: str) -> bool:
    """Whether a file's text defines what a problem defines. False for what does not parse."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    defined = {n.name for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))}
    return set(REQUIRED) <= defined


def from_problem(path: str | Path) -> Operation:
    """The problem in a file, named after the file. Raises BadOperationFile."""
    return from_text(identifier(Path(path).stem), read(path))


def from_text(name: str, text: str) -> Operation:
    """The problem with this text. Raises BadOperationFile."""
    module = load(f"problem_{name}", text)
    missing = [r for r in REQUIRED if not callable(getattr(module, r, None))]
    if missing:
        raise BadOperationFile(f"the problem file defines no {', '.join(missing)}")
    reference = _Reference(module.Model, module.get_init_inputs)
    inputs = _Inputs(name, module.get_inputs)
    return Operation(
        name=name, overload="", signature=_forward_signature(module.Model), reference=reference,
        make_cases=CaseMaker(reference, inputs.cases, on_device=True),
        make_workloads=lambda device: inputs.workloads(reference, device),
        description=inspect.cleandoc(module.Model.__doc__ or "") or f"KernelBench problem {name}.", source=text,
        adapter=_adapter(name, reference.init_inputs), entry=CANDIDATE,
    )  # fmt: skip


def _adapter(name: str, init: list[Any]) -> str:
    """What to append to a candidate's module that defines ``ModelNew``. Raises BadOperationFile.

    The arguments of the constructor stand in it as text, so only what Python can write down is allowed there.
    """
    try:
        ast.literal_eval(repr(init))
    except (ValueError, SyntaxError):
        raise BadOperationFile(
            "get_init_inputs() must return numbers, strings, lists, tuples and dicts"
        ) from None
    return ADAPTER.format(name=name, seed=PARAMETER_SEED, init=init)


def _forward_signature(model: type) -> str:
    full = signature(model.forward)  # type: ignore[attr-defined]
    inside = full[1:-1].split(",", 1)
    return f"({inside[1].strip()})" if len(inside) > 1 else "()"


class _Reference:
    """Eager's answer; keeps one copy of the model per device and dtype."""

    def __init__(self, model: Callable[..., Any], init: Callable[[], Any]) -> None:
        try:
            self.init_inputs = list(init())
            with seeded_everywhere(PARAMETER_SEED, torch.device("cpu")):
                self._model = model(*self.init_inputs).eval()
        except Exception as error:
            raise BadOperationFile(f"Model(*get_init_inputs()): {describe(error)}") from None
        self._copies: dict[tuple[torch.device, torch.dtype], Any] = {}
        self._lock = threading.Lock()

    def __call__(self, *inputs: Any) -> Any:
        with torch.no_grad():
            return self._for(inputs)(*inputs)

    def _for(self, inputs: tuple[Any, ...]) -> Any:
        found = trees.tensors(inputs)
        device = found[0].device if found else torch.device("cpu")
        dtype = next((t.dtype for t in found if t.is_floating_point()), torch.float32)
        with self._lock:
            if (device, dtype) not in self._copies:
                self._copies[device, dtype] = copy.deepcopy(self._model).to(device=device, dtype=dtype)
            return self._copies[device, dtype]


class _Inputs:
    """``get_inputs()`` as cases and workloads."""

    def __init__(self, name: str, get_inputs: Callable[[], Any]) -> None:
        self._name = name
        self._get_inputs = get_inputs

    def _call(self, device: torch.device, seed: int) -> Call:
        try:
            with seeded_everywhere(seed, device), torch.device(device):
                made = list(self._get_inputs())
        except Exception as error:
            raise BadOperationFile(f"get_inputs(): {describe(error)}") from None
        return trees.map_call(lambda t: t.detach().to(device), Call(tuple(made)))

    def cases(self, device: torch.device, seed: int) -> list[Case]:
        """As many trials as memory allows, each with a seed of its own."""
        first = self._call(device, seed)
        size = sum(t.numel() * t.element_size() for t in trees.tensors(first))
        count = max(1, min(TRIALS, MOST_CASE_BYTES // max(1, size)))
        # Trials of neighbouring seeds share nothing.
        calls = [first, *(self._call(device, seed * TRIALS + 7919 * (i + 1)) for i in range(count - 1))]
        return [Case(f"trial {i}: {_shapes(call)}", call) for i, call in enumerate(calls)]

    def workloads(self, reference: _Reference, device: torch.device) -> list[Workload]:
        """The problem's input."""
        example = self._call(device, 0)
        outputs = trees.leaves(reference(*example.args)) or []

        def make(where: torch.device, generator: torch.Generator) -> Call:
            seed = int(torch.randint(0, 2**31 - 1, (), generator=generator, device=generator.device))
            return self._call(torch.device(where), seed)

        moved = traffic.bytes_moved(example, outputs)
        return [Workload(f"{self._name} {_shapes(example)}", "KernelBench problem", make, moved)]


def _shapes(call: Call) -> str:
    found = trees.tensors(call)
    dtypes = "/".join(dict.fromkeys(dtype_text(t.dtype) for t in found))
    return f"{', '.join(map(shape_text, found))} {dtypes}"
