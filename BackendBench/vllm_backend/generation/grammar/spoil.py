"""Mistakes of the text as a whole, made in a module that is otherwise right."""

from __future__ import annotations

import re

from .choices import Choices
from .facts import Facts

TORCH_CALLS = {
    "gelu": "torch.nn.functional.gelu", "silu": "torch.nn.functional.silu", "mish": "torch.nn.functional.mish",
    "hardswish": "torch.nn.functional.hardswish", "hardsigmoid": "torch.nn.functional.hardsigmoid",
    "selu": "torch.nn.functional.selu", "leaky_relu": "torch.nn.functional.leaky_relu",
    "softplus": "torch.nn.functional.softplus", "layer_norm": "torch.nn.functional.layer_norm",
    "rms_norm": "torch.nn.functional.rms_norm", "group_norm": "torch.nn.functional.group_norm",
    "batch_norm": "torch.nn.functional.batch_norm", "linear": "torch.nn.functional.linear",
    "vector_norm": "torch.linalg.vector_norm",
}  # fmt: skip
"""Where torch keeps it; all others are ``torch.NAME``."""
UNKNOWN = {
    "numba": ("numba.prange", ("numba.parallel_range", "numba.pfor", "numba.thread_range")),
    "triton": ("tl.program_id(", ("tl.block_id(", "tl.thread_id(", "tl.get_program_id(")),
}
"""A function of the DSL, and names that models invent in its place."""


def spoil(code: str, function: str, facts: Facts, mistake: str, choices: Choices) -> str:
    """The code with the mistake, if it is one of the text; otherwise as it is."""
    made = _MAKERS.get(mistake)
    return made(code, function, facts, choices) if made else code


def _syntax_error(code: str, function: str, facts: Facts, choices: Choices) -> str:
    kind = choices.pick("syntax", ("colon", "bracket", "indent"))
    head, mark, tail = code.partition(f"def {function}")
    if kind == "colon":
        return head + mark + tail.replace("):\n", ")\n", 1)
    body, _, value = tail.rpartition("\n    return ")
    opened = "\n    return (" if kind == "bracket" else "\n  return "
    return head + mark + body + opened + value


def _cut_off(code: str, function: str, facts: Facts, choices: Choices) -> str:
    part = choices.pick("cut", (60, 75, 90))
    cut = code[: len(code) * part // 100].rstrip()
    return f"{cut[: cut.rfind('(') + 1] or cut}\n"


def _wrong_name(code: str, function: str, facts: Facts, choices: Choices) -> str:
    name = choices.pick(
        "function name",
        (facts.name, f"{facts.name}_forward", f"{facts.name}_optimized", f"triton_{facts.name}"),
    )
    code = re.sub(rf"\b{function}\b", name, code)
    return f"{code}\n\ndef check_{facts.name}(*args):\n    return {name}(*args)\n"


def _torch_computes(code: str, function: str, facts: Facts, choices: Choices) -> str:
    head, _, _ = code.partition(f"def {function}")
    call = f"{TORCH_CALLS.get(facts.name, f'torch.{facts.name}')}({_passed(facts.signature)})"
    return (
        f"{head}def {function}{facts.signature}:\n    # the library is hard to beat here\n    return {call}\n"
    )


def _torch_fallback(code: str, function: str, facts: Facts, choices: Choices) -> str:
    call = f"{TORCH_CALLS.get(facts.name, f'torch.{facts.name}')}({_passed(facts.signature)})"
    inner = f"_{facts.name}_custom"
    code = re.sub(rf"\b{function}\b", inner, code)
    passed = _passed(facts.signature)
    return (
        f"{code}\n\ndef {function}{facts.signature}:\n    try:\n        return {inner}({passed})\n"
        f"    except Exception:\n        return {call}\n"
    )


def _unknown_function(code: str, function: str, facts: Facts, choices: Choices) -> str:
    dsl = "triton" if "triton" in code else "numba"
    known, invented = UNKNOWN[dsl]
    name = choices.pick("invented", invented)
    if known in code:
        return code.replace(known, name)
    return code.replace("numba.njit", "numba.compile_fast", 1)


def _import_missing_name(code: str, function: str, facts: Facts, choices: Choices) -> str:
    line = "from triton.language import fast_math" if "triton" in code else "from numba import fast_parallel"
    return code.replace("import torch\n", f"import torch\n{line}\n", 1)


def _passed(signature: str) -> str:
    """The arguments of a call that hands all parameters on."""
    parts, keyword = [], False
    for part in signature.strip("()").split(","):
        name, default, _ = part.strip().partition("=")
        if name == "*":
            keyword = True
        else:
            parts.append(f"{name}={name}" if keyword or default else name)
    return ", ".join(parts)


_MAKERS = {
    "syntax_error": _syntax_error,
    "cut_off": _cut_off,
    "wrong_name": _wrong_name,
    "torch_computes": _torch_computes,
    "torch_fallback": _torch_fallback,
    "unknown_function": _unknown_function,
    "import_missing_name": _import_missing_name,
}
