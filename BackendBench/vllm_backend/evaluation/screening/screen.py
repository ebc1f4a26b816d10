"""The first stage: reads the candidate's source and refuses what no kernel has business to contain.

- Pure and cheap (about a millisecond): most bad candidates never cost a process.
- It is a filter, not a wall. What it lets through still runs in the sandbox, watched (see compute_watch.py);
  but what it refuses (introspection, private names of torch, dynamic code) is what an attack on the watcher
  would need.
- What Python itself would refuse to load for a name that nothing binds needs no process to be found either.
- Torch may allocate, view, copy and convert; it may not compute. NumPy outside jitted functions likewise.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ...state.error_type import ErrorType
from ..failure import Failure, from_exception
from . import array_arithmetic
from .undefined_names import undefined_at_import

MODULES = {
    "__future__", "abc", "cmath", "collections", "contextlib", "copy", "dataclasses", "enum", "functools",
    "itertools", "logging", "math", "numba", "numpy", "operator", "os", "packaging", "torch", "triton", "typing",
    "warnings",
}  # fmt: skip
"""Importable top-level modules. ``os`` for reading nothing but ``os.cpu_count`` and ``os.environ.get``-free code."""
MODULE_ATTRIBUTES = {"os": {"cpu_count"}, "logging": {"getLogger", "Logger", "WARNING"}}
"""Modules of which only these attributes may be used."""
TORCH_SUBMODULES = {
    "torch", "torch.nn", "torch.utils", "torch.utils.cpp_extension", "torch.cuda", "torch.types", "torch.backends",
}  # fmt: skip
NUMBA_BLOCKED = {
    "objmode",
    "cffi_support",
    "carray",
    "farray",
    "from_dtype",
    "cfunc",
    "core",
    "misc",
    "extending",
}

BUILTINS_BLOCKED = {
    "__import__", "breakpoint", "compile", "delattr", "dir", "eval", "exec", "exit", "globals", "help",
    "locals", "memoryview", "open", "quit", "setattr", "vars", "__builtins__", "__loader__", "__spec__",
}  # fmt: skip
DUNDERS_ALLOWED = {
    "__init__", "__name__", "__doc__", "__version__", "__call__", "__len__", "__getitem__", "__main__", "__all__",
    "__setitem__", "__post_init__", "__enter__", "__exit__", "__repr__", "__annotations__", "__future__",
}  # fmt: skip

NAMES_BLOCKED = {
    "builtins", "ctypes", "environ", "importlib", "os", "putenv", "setenv", "subprocess", "sys",
}  # fmt: skip
"""Of any object: modules that others have imported, and through which they can be had, and the environment."""
WITHIN_BLOCKED = NAMES_BLOCKED | {
    "gc", "inspect", "multiprocessing", "pickle", "posix", "shutil", "signal", "socket", "tempfile", "threading",
}  # fmt: skip
"""Of a module: ``contextlib.os``."""
FUNCTIONS_BLOCKED = {"operator.attrgetter", "operator.methodcaller"}
"""That reach attributes by names which nobody reads here."""
METHODS_BLOCKED = NAMES_BLOCKED | {
    "f_back", "f_globals", "f_locals", "tb_frame", "gi_frame", "cr_frame", "storage", "_storage", "untyped_storage",
    "tofile", "dump", "dumps", "set_", "share_memory_", "register_hook",
}  # fmt: skip

TORCH_ALLOWED = {
    # types and metadata
    "Tensor", "dtype", "device", "Size", "Generator", "memory_format", "layout", "strided", "contiguous_format",
    "preserve_format", "channels_last", "channels_last_3d", "finfo", "iinfo", "is_tensor", "is_floating_point",
    "is_complex", "numel", "result_type", "promote_types", "can_cast", "get_default_dtype", "typename", "version",
    "broadcast_shapes", "jit", "inf", "nan", "pi", "e", "get_num_threads", "types", "_dynamo",
    # allocation
    "empty", "empty_like", "empty_strided", "empty_permuted", "zeros", "zeros_like", "ones", "ones_like", "full",
    "full_like", "tensor", "scalar_tensor", "as_tensor", "arange", "from_numpy", "as_strided",
    # views and layout
    "broadcast_to", "broadcast_tensors", "reshape", "transpose", "permute", "squeeze", "unsqueeze", "flatten",
    "t", "movedim", "swapaxes", "ravel", "unflatten", "atleast_1d", "atleast_2d", "view_as_real", "split", "chunk",
    "unbind", "narrow", "select", "expand_copy", "clone", "view_as_complex", "swapdims", "moveaxis",
    # modes
    "no_grad", "inference_mode", "enable_grad", "is_grad_enabled", "_assert", "compiler",
    # submodules that are checked further down
    "cuda", "nn", "utils", "backends", "autograd",
}  # fmt: skip
TORCH_DTYPES = {
    "float16", "float32", "float64", "bfloat16", "half", "float", "double", "int8", "int16", "int32", "int64", "short",
    "int", "long", "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128", "complex32", "cfloat",
    "cdouble", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
}  # fmt: skip
TORCH_PATHS_ALLOWED = {
    "torch.cuda": {
        "current_device", "get_device_properties", "is_available", "device", "get_device_capability",
        "current_stream", "device_of", "Stream", "stream", "device_count", "get_device_name", "Event",
    },
    "torch.nn": {"Module", "Parameter", "ParameterList", "ModuleList", "functional", "init"},
    "torch.utils": {"cpp_extension"},
    "torch.utils.cpp_extension": {"load_inline"},
    "torch.autograd": {"Function"},
    "torch.jit": {"ignore", "unused", "is_scripting", "export"},
    "torch.compiler": {"disable", "is_compiling"},
    "torch._dynamo": {"disable"},
    "torch.version": {"cuda", "hip"},
    "torch.backends": {"cuda"},
}  # fmt: skip
NUMPY_OUTSIDE_JIT = {
    "empty", "empty_like", "zeros", "zeros_like", "full", "full_like", "asarray", "ascontiguousarray", "array",
    "ndarray", "dtype", "prod", "broadcast_to", "broadcast_shapes", "reshape", "transpose", "moveaxis", "swapaxes",
    "expand_dims", "squeeze", "ravel", "require", "shares_memory", "may_share_memory", "result_type", "float32",
    "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool_", "intp",
    "inf", "nan", "pi", "e", "newaxis", "finfo", "iinfo", "issubdtype", "floating", "integer", "ones", "float_",
    "generic", "number", "ndindex", "isscalar", "atleast_1d", "atleast_2d", "arange", "log2", "ceil", "sqrt", "lib",
    "stride_tricks", "as_strided", "nditer", "copyto", "complex64", "complex128", "errstate", "random",
}  # fmt: skip
"""Allocation, layout, types; ``sqrt``, ``log2`` and ``ceil`` are used on Python numbers for block sizes."""
NUMPY_BLOCKED = {
    "ctypeslib", "f2py", "load", "save", "memmap", "fromfile", "core", "testing", "distutils",
}  # fmt: skip
JIT_MARKS = {"jit", "njit", "vectorize", "guvectorize", "stencil", "generated_jit", "overload"}


def screen(code: str, function: str, allow_library_calls: bool = False) -> Failure | None:
    """The reason to refuse ``code`` unread, or None. ``function`` is the name that it must define."""
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        return Failure(ErrorType.SYNTAX_ERROR, f"line {error.lineno}: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        return Failure(ErrorType.SYNTAX_ERROR, f"not Python source: {error}")
    if function not in set(_bound_names(tree)):
        return Failure(ErrorType.MISSING_FUNCTION, f"the module does not define {function}")
    visitor = _Visitor(allow_library_calls)
    try:
        visitor.visit(tree)
        if visitor.failure is None:
            visitor.check_arrays(tree)
        return visitor.failure or _undefined(code, tree)
    except RecursionError:
        return Failure(ErrorType.FORBIDDEN_CODE, "nested too deeply to be read")


def _undefined(code: str, tree: ast.Module) -> Failure | None:
    """As Python would say it when it loads the module."""
    name = undefined_at_import(code, tree)
    if name is None:
        return None
    line = code.splitlines()[name.lineno - 1].strip()
    return from_exception(
        {
            "type": "NameError", "message": f"name {name.id!r} is not defined",
            "where": f"line {name.lineno}: {line}", "at_load": True,
        }
    )  # fmt: skip


def _bound_names(tree: ast.Module) -> Iterator[str]:
    """Names that the module's top level binds (conditional definitions included)."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


class _Visitor(ast.NodeVisitor):
    """Stops at the first offence; keeps what names stand for (``import numpy as np``)."""

    def __init__(self, allow_library_calls: bool) -> None:
        self.failure: Failure | None = None
        self._allow_library_calls = allow_library_calls
        self._modules: dict[str, str] = {}
        self._jitted = 0
        self._jitted_names: set[str] = set()

    def _forbid(self, node: ast.AST, what: str) -> None:
        self._fail(ErrorType.FORBIDDEN_CODE, node, f"{what} is not allowed in a kernel")

    def _library(self, node: ast.AST, what: str) -> None:
        if not self._allow_library_calls:
            self._fail(
                ErrorType.LIBRARY_CALL,
                node,
                f"{what} lets a library compute; write the computation in the kernel",
            )

    def _fail(self, error: ErrorType, node: ast.AST, text: str) -> None:
        if self.failure is None:
            self.failure = Failure(error, f"line {getattr(node, 'lineno', '?')}: {text}")

    def visit(self, node: ast.AST) -> None:
        if self.failure is None:
            super().visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._check_module(node, alias.name)
            self._modules[alias.asname or alias.name.split(".")[0]] = (
                alias.name if alias.asname else alias.name.split(".")[0]
            )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            return self._forbid(node, "a relative import")
        module = node.module or ""
        if module == "torch.nn" or module.split(".")[0] != "torch" or module in TORCH_SUBMODULES:
            self._check_module(node, module)
        else:
            return self._library(node, f"from {module} import ...")
        for alias in node.names:
            if alias.name == "*":
                return self._forbid(node, "import *")
            path = f"{module}.{alias.name}"
            self._modules[alias.asname or alias.name] = path
            self._check_path(node, path)

    def _check_module(self, node: ast.AST, name: str) -> None:
        if name.split(".")[0] not in MODULES:
            self._forbid(node, f"import {name}")
        elif name.startswith("torch.") and name not in TORCH_SUBMODULES:
            self._library(node, f"import {name}") if name == "torch.nn.functional" else self._forbid(
                node, f"import {name}"
            )

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in BUILTINS_BLOCKED or (node.id.startswith("__") and node.id not in DUNDERS_ALLOWED):
            self._forbid(node, node.id)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id == "getattr":
            name = node.args[1] if len(node.args) > 1 else None
            constant = isinstance(name, ast.Constant) and isinstance(name.value, str)
            if not constant or str(name.value).startswith("_"):  # type: ignore[union-attr]
                self._forbid(node, "getattr of a computed or private name")
            elif name.value in METHODS_BLOCKED:  # type: ignore[union-attr]
                self._forbid(node, f".{name.value}")  # type: ignore[union-attr]
            else:
                self._check_path(node, f"{self._path(node.args[0])}.{name.value}")  # type: ignore[union-attr]
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr.startswith("__") and node.attr not in DUNDERS_ALLOWED:
            return self._forbid(node, f".{node.attr}")
        path = self._path(node)
        if path:
            self._check_path(node, path)
        else:
            self._check_method(node)
        self.generic_visit(node)

    def _check_method(self, node: ast.Attribute) -> None:
        if node.attr in METHODS_BLOCKED:
            self._forbid(node, f".{node.attr}")

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        for name in node.kwd_attrs:  # case object(os=...) reads an attribute
            if name in WITHIN_BLOCKED | METHODS_BLOCKED or self._private(name):
                return self._forbid(node, f".{name}")
        self.generic_visit(node)

    def _path(self, node: ast.AST) -> str:
        """``torch.cuda.Event`` for an attribute chain that starts at an imported module, else ''."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id in self._modules:
            return ".".join([self._modules[node.id], *reversed(parts)])
        return ""

    def _check_path(self, node: ast.AST, path: str) -> None:
        parts = path.split(".")
        root = parts[0]
        if isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del)):
            return self._forbid(node, f"assigning to {path}")
        if not WITHIN_BLOCKED.isdisjoint(parts[1:]) or path in FUNCTIONS_BLOCKED:
            return self._forbid(node, path)
        if root != "torch" and any(self._private(p) for p in parts[1:]):
            return self._forbid(node, path)
        if root in MODULE_ATTRIBUTES and len(parts) > 1 and parts[1] not in MODULE_ATTRIBUTES[root]:
            return self._forbid(node, path)
        if root == "torch":
            self._check_torch(node, parts)
        elif root == "numpy" and len(parts) > 1:
            self._check_numpy(node, parts)
        elif root == "numba" and len(parts) > 1 and parts[1] in NUMBA_BLOCKED:
            self._forbid(node, path)

    @staticmethod
    def _private(name: str) -> bool:
        return name.startswith("_") and name not in DUNDERS_ALLOWED

    def _check_torch(self, node: ast.AST, parts: list[str]) -> None:
        if len(parts) == 1 or parts[1] in TORCH_DTYPES:
            return
        path = ".".join(parts)
        if parts[1] not in TORCH_ALLOWED:
            if self._private(parts[1]):
                return self._forbid(node, path)
            return self._library(node, path)
        prefix = ".".join(parts[:2])
        if prefix == "torch.nn" and len(parts) > 2 and parts[2] not in TORCH_PATHS_ALLOWED["torch.nn"]:
            return self._library(node, path)
        if prefix == "torch.nn" and len(parts) > 3 and parts[2] == "functional":
            return self._library(node, path)
        if prefix == "torch.Tensor" and len(parts) > 2:
            return self._library(node, path)
        for depth in (2, 3):
            allowed = TORCH_PATHS_ALLOWED.get(".".join(parts[:depth]))
            if allowed is not None and len(parts) > depth and parts[depth] not in allowed:
                return self._forbid(node, path)

    def _check_numpy(self, node: ast.AST, parts: list[str]) -> None:
        if parts[1] in NUMPY_BLOCKED:
            self._forbid(node, ".".join(parts))
        elif not self._jitted and parts[1] not in NUMPY_OUTSIDE_JIT and isinstance(node, ast.Attribute):
            self._library(node, ".".join(parts))

    def check_arrays(self, tree: ast.Module) -> None:
        """Refuse operators and methods of NumPy's arrays outside jitted functions."""
        found = array_arithmetic.find(tree, self._jitted_names)
        if found is not None:
            self._library(*found)

    def visit_Module(self, node: ast.Module) -> None:
        for part in ast.walk(node):
            if isinstance(part, ast.FunctionDef) and any(self._is_jit(d) for d in part.decorator_list):
                self._jitted_names.add(part.name)
            elif isinstance(part, ast.Call) and self._is_jit(part.func):  # kernel = numba.njit(function)
                self._jitted_names.update(a.id for a in part.args if isinstance(a, ast.Name))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        jitted = node.name in self._jitted_names
        self._jitted += jitted
        self.generic_visit(node)
        self._jitted -= jitted

    def _is_jit(self, node: ast.AST) -> bool:
        target = node.func if isinstance(node, ast.Call) else node
        path = self._path(target)
        name = path.split(".")[-1] if path else getattr(target, "id", getattr(target, "attr", ""))
        return name in JIT_MARKS
