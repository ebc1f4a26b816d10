"""A candidate's source becomes a module, and what it raises becomes text."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

MESSAGE_LIMIT = 3000
"""Characters of an exception's text that are passed on, half from each end."""


def load_module(code: str, name: str) -> Any:
    """Execute ``code`` as a module with a file of its own: Triton and tracebacks read the source again."""
    path = Path(tempfile.mkdtemp(prefix="candidate-")) / f"{name}.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        raise LoadFailure(describe(error)) from None
    return module


class LoadFailure(Exception):
    """The module did not load; carries the description of what it raised."""

    def __init__(self, description: dict[str, Any]) -> None:
        super().__init__(description["message"])
        self.description = description


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as bounded text: its class, the end of its message, where in the candidate it was raised."""
    if isinstance(error, LoadFailure):
        return {**error.description, "at_load": True}
    kind = type(error)
    try:
        message = str(error)
    except BaseException:
        message = "<an exception that cannot be printed>"
    module = getattr(kind, "__module__", "") or ""
    return {
        "type": str(kind.__name__)[:200],
        "module": str(module)[:200],
        "message": clip(message, MESSAGE_LIMIT),
        "where": _where(error),
    }


def clip(text: str, limit: int) -> str:
    """The text, or its two ends where it is longer than ``limit`` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters ...]\n{text[-half:]}"


def _where(error: BaseException) -> str:
    try:
        frames = traceback.extract_tb(error.__traceback__)
    except BaseException:
        return ""
    mine = [f for f in frames if Path(f.filename).name == "candidate.py" and "candidate-" in f.filename]
    return clip(f"line {mine[-1].lineno}: {mine[-1].line}", 300) if mine else ""
