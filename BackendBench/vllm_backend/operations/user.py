"""A user's own operation: one Python file, given as ``my_ops.py:name``.

The file defines

- ``name(...)``: the reference, in PyTorch. Its parameters are the candidate's.
- ``name_inputs(seed, device)``: yields the correctness cases, each ``(args, kwargs)`` (a tuple and a dict) or a
  ``Case``. Same seed, same values; other seeds, other values of the same shapes. Torch's generators are seeded
  before it runs, so that ``torch.randn(..., device=device)`` is enough.
- ``name_workloads(seed, device)``, optional: yields what is timed, in the same forms, or ``(label, args, kwargs)``.
  Without it the largest case is timed.

    def scaled_relu(x, scale):
        return torch.relu(x) * scale

    def scaled_relu_inputs(seed, device):
        for n in (1, 1023, 1 << 20):
            yield (torch.randn(n, device=device), 0.5), {}

- The file may import torch and anything installed; it travels to other machines as text, so no neighbours.
- It is the user's and trusted like the farm itself; candidates never see it.
- Every fault of the file is a BadOperationFile of one line.
"""

from __future__ import annotations

import inspect
import itertools
import keyword
import linecache
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from . import traffic, trees
from .cases import CaseMaker
from .edge_cases.naming import dtype_text, shape_text
from .errors import BadOperationFile
from .operation import Call, Case, Operation, Workload
from .seeding import seeded_everywhere

MOST_CASES = 200
"""Cases taken from a generator; guards against an endless one."""
MOST_WORKLOADS = 16


def is_file_name(wanted: str) -> bool:
    """Whether the text names a file rather than an operation."""
    file, _, name = wanted.rpartition(":")
    return wanted.endswith(".py") or (file.endswith(".py") and "/" not in name)


def split_name(wanted: str) -> tuple[str, str]:
    """``dir/my_ops.py:name`` -> (``dir/my_ops.py``, ``name``); the name may be ''."""
    if wanted.endswith(".py"):
        return wanted, ""
    file, _, name = wanted.rpartition(":")
    return file, name.strip()


def read(file: str | Path) -> str:
    """Its text. Raises BadOperationFile."""
    try:
        return Path(file).expanduser().read_text("utf-8")
    except OSError as error:
        raise BadOperationFile(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadOperationFile(f"{file} is no UTF-8 text: give a Python file") from None


def from_text(name: str, text: str) -> Operation:
    """The operation ``name`` of a file with this text. Raises BadOperationFile."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise BadOperationFile(f"{name!r} is no name of a Python function")
    module = load(f"operation_{name}", text)
    reference = _function(module, name)
    inputs = _function(module, f"{name}_inputs")
    workloads = getattr(module, f"{name}_workloads", None)
    for function in (inputs, *([workloads] if workloads is not None else [])):
        _check_generator(function)
    return Operation(
        name=name, overload="", signature=signature(reference), reference=reference,
        make_cases=CaseMaker(reference, lambda device, seed: make_cases(name, inputs, device, seed), on_device=True),
        make_workloads=lambda device: make_workloads(name, reference, workloads, inputs, device),
        description=inspect.cleandoc(reference.__doc__ or "") or f"The reference:\n{_source(text, reference)}",
        source=text,
    )  # fmt: skip


def load(name: str, text: str) -> ModuleType:
    """The text as a module of its own. Raises BadOperationFile."""
    module = ModuleType(name)
    module.__file__ = f"<{name}>"
    sys.modules[name] = module  # dataclasses and pickling of its classes look it up there
    # Triton reads the source of its kernels again, and tracebacks show it.
    linecache.cache[module.__file__] = (len(text), None, text.splitlines(keepends=True), module.__file__)
    try:
        exec(compile(text, module.__file__, "exec"), module.__dict__)
    except SyntaxError as error:
        raise BadOperationFile(f"operation file, line {error.lineno}: {error.msg}") from None
    except Exception as error:
        raise BadOperationFile(f"operation file{_where(error, module)}: {describe(error)}") from None
    return module


def describe(error: BaseException) -> str:
    """An exception in one short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _where(error: Exception, module: ModuleType) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == module.__file__]
    return f", line {frames[-1].lineno}" if frames else ""


def _function(module: ModuleType, name: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if not callable(found):
        raise BadOperationFile(f"the operation file defines no function {name}")
    return found


def _check_generator(function: Callable[..., Any]) -> None:
    try:
        inspect.signature(function).bind(0, torch.device("cpu"))
    except TypeError:
        raise BadOperationFile(f"{function.__name__} must take (seed, device)") from None
    except ValueError:
        return


def signature(function: Callable[..., Any]) -> str:
    """Its parameters without annotations."""
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        raise BadOperationFile(f"{function} has no signature: wrap it in a Python function") from None
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    return str(inspect.Signature(bare))


def _source(text: str, function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    lines = text.splitlines()[code.co_firstlineno - 1 :]
    return "\n".join(inspect.getblock([line + "\n" for line in lines])).replace("\n\n", "\n").rstrip()


def make_cases(name: str, inputs: Callable[..., Any], device: torch.device, seed: int) -> list[Case]:
    """All cases of the generator. Raises BadOperationFile."""
    made = [_case(item, f"{name}_inputs") for item in _generate(inputs, seed, device, MOST_CASES)]
    if not made:
        raise BadOperationFile(f"{name}_inputs yields nothing on {device.type}")
    return [c if c.name else Case(f"{i}: {_shapes(c.call)}", c.call) for i, c in enumerate(made)]


def _generate(function: Callable[..., Any], seed: int, device: torch.device, most: int) -> list[Any]:
    try:
        with seeded_everywhere(seed, device), torch.no_grad():
            return list(itertools.islice(iter(function(seed, device)), most))
    except Exception as error:
        raise BadOperationFile(f"{function.__name__}: {describe(error)}") from None


def _case(item: Any, where: str) -> Case:
    """A yielded item; the name is '' where it has none. Raises BadOperationFile."""
    if isinstance(item, Case):
        return item
    name = ""
    if isinstance(item, tuple) and len(item) == 3 and isinstance(item[0], str):
        name, item = item[0], item[1:]
    if (
        isinstance(item, tuple)
        and len(item) == 2
        and isinstance(item[1], dict)
        and isinstance(item[0], (tuple, list))
    ):
        return Case(name, Call(tuple(item[0]), dict(item[1])))
    raise BadOperationFile(
        f"{where} must yield (args, kwargs), a tuple and a dict, not {type(item).__name__}"
    )


def _shapes(call: Call) -> str:
    found = trees.tensors(call)
    dtypes = "/".join(dict.fromkeys(dtype_text(t.dtype) for t in found))
    return f"{', '.join(map(shape_text, found))} {dtypes}"


def make_workloads(
    name: str, reference: Callable[..., Any], workloads: Callable[..., Any] | None, inputs: Callable[..., Any],
    device: torch.device,
) -> list[Workload]:  # fmt: skip
    """The generator's workloads, or the largest case. Raises BadOperationFile."""
    function, where = (workloads, f"{name}_workloads") if workloads else (inputs, f"{name}_inputs")
    made = [_case(item, where) for item in _generate(function, 0, device, MOST_CASES)]
    chosen: Sequence[int] = range(min(len(made), MOST_WORKLOADS))
    if workloads is None:
        chosen = [max(range(len(made)), key=lambda i: sum(t.numel() for t in trees.tensors(made[i].call)))]
    return [_workload(name, reference, function, where, i, made[i]) for i in chosen]


def _workload(
    name: str,
    reference: Callable[..., Any],
    function: Callable[..., Any],
    where: str,
    index: int,
    example: Case,
) -> Workload:
    def make(device: torch.device, generator: torch.Generator) -> Call:
        seed = int(torch.randint(0, 2**31 - 1, (), generator=generator, device=generator.device))
        return _case(_generate(function, seed, torch.device(device), index + 1)[index], where).call

    try:
        with torch.no_grad():
            outputs = trees.leaves(reference(*example.call.args, **example.call.kwargs))
    except Exception as error:
        raise BadOperationFile(f"{name} fails on workload {index}: {describe(error)}") from None
    moved = traffic.bytes_moved(example.call, outputs or [])
    label = example.name or _shapes(example.call)
    return Workload(f"{name} {label}", f"the user's {where}", make, moved)


def items(values: Iterable[Any]) -> list[Any]:
    """A list of what a file's function returned."""
    return list(values)
