"""From what a candidate's process said or did to one ``ErrorType`` and a message that a model can learn from.

- Pure: descriptions and wait statuses in, failures out.
- What the process says chooses only between kinds of *failure*; nothing that it says makes it accepted.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from dataclasses import dataclass
from typing import Any

from ..state.error_type import ErrorType

MESSAGE_CHARACTERS = 1500
"""Kept of a message in a verdict: enough for a compiler's complaint, little enough for a prompt."""

PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS)
"""What a process could not be made for and may be later, when others have ended."""


@dataclass(frozen=True)
class Failure:
    """Why a candidate is rejected. The message is shortened, whoever wrote it: much of it is the candidate's text."""

    error_type: ErrorType
    message: str
    case: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", shorten(self.message))


class CandidateFailed(Exception):
    """Raised by a stage; carries the failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class InfrastructureFault(Exception):
    """Something that is not the candidate's doing; the task is judged again, elsewhere if need be."""


_OUT_OF_MEMORY = re.compile(
    r"out of memory|cannot allocate memory|can't allocate memory|not enough memory", re.I
)
_ILLEGAL_ACCESS = re.compile(
    r"illegal memory access|misaligned address|invalid address space|shared address space|unspecified launch",
    re.I,
)
_MEMORY_ERRORS = {"MemoryError", "OutOfMemoryError"}
_COMPILE_ERRORS = {
    "CompilationError",
    "CompileTimeAssertionFailure",
    "UnsupportedLanguageConstruct",
    "OutOfResources",
    "PTXASError",
}
_IMPORT_STAGE = {"ImportError", "ModuleNotFoundError"}


def from_exception(description: dict[str, Any], case: str = "") -> Failure:
    """Classify an exception as the harness described it."""
    kind = str(description.get("type", ""))
    module = str(description.get("module", ""))
    message = str(description.get("message", ""))
    text = _sentence(kind, message, str(description.get("where", "")))
    if kind == "MissingFunction":
        return Failure(ErrorType.MISSING_FUNCTION, message, case)
    if kind in _MEMORY_ERRORS or _OUT_OF_MEMORY.search(message):
        return Failure(ErrorType.OUT_OF_MEMORY, text, case)
    if _ILLEGAL_ACCESS.search(message):
        return Failure(ErrorType.ILLEGAL_MEMORY_ACCESS, text, case)
    if kind == "SyntaxError" or kind == "IndentationError":
        return Failure(ErrorType.SYNTAX_ERROR, text, case)
    if _is_compile_error(kind, module):
        return Failure(ErrorType.COMPILE_ERROR, text, case)
    if description.get("at_load"):
        return Failure(ErrorType.IMPORT_ERROR, text, case)
    return Failure(ErrorType.RUNTIME_ERROR, text, case)


def _is_compile_error(kind: str, module: str) -> bool:
    return (
        kind in _COMPILE_ERRORS
        or module.startswith(("numba.core.errors", "triton.compiler", "triton.runtime.errors"))
        or (module.startswith("numba") and kind.endswith("Error"))
        or (kind == "RuntimeError" and module.startswith("torch.utils.cpp_extension"))
    )


def _sentence(kind: str, message: str, where: str) -> str:
    text = f"{kind}: {message.strip()}" if message.strip() else kind
    return shorten(f"{text}\n  at {where}" if where else text)


def shorten(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """The two ends of a long text; control characters, which could forge log lines, are made visible."""
    visible = "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text[: 8 * limit])
    if len(visible) <= limit:
        return visible
    half = limit // 2 - 3
    return f"{visible[:half]}\n...\n{visible[-half:]}"


def from_exit(status: int, stage: str, case: str = "") -> Failure:
    """Classify the wait status of a process that died without answering."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return Failure(ErrorType.TIMEOUT, f"used up its processor time during {stage}", case)
        if number == signal.SIGKILL:
            return Failure(
                ErrorType.OUT_OF_MEMORY, f"killed during {stage}: it went over its memory limit", case
            )
        return Failure(ErrorType.CRASH, f"died of {_signal_name(number)} during {stage}", case)
    code = os.WEXITSTATUS(status)
    return Failure(
        ErrorType.CRASH, f"the process left with exit code {code} during {stage}, without answering", case
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def from_timeout(stage: str, seconds: float, case: str = "") -> Failure:
    """The candidate did not answer in time."""
    return Failure(ErrorType.TIMEOUT, f"no answer within {seconds:g} s during {stage}", case)
