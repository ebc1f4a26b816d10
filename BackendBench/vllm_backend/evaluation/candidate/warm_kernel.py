"""The kernels that the warm server compiles, so that no candidate pays for what a first compile sets up.

A file of its own: Triton reads the source of a kernel, and importing this needs Triton.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


@triton.jit
def scale(x_ptr, y_ptr, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # Triton reads the annotations
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) * 2.0, mask=mask)


@triton.jit
def functions(x_ptr, y_ptr):  # type: ignore[no-untyped-def]
    """What kernels commonly call of NVIDIA's library, of float and double."""
    offsets = tl.arange(0, 128)
    x, y = tl.load(x_ptr + offsets), tl.load(y_ptr + offsets)
    x = (
        tl.rsqrt(x)
        + tl.sqrt(x)
        + tl.sqrt_rn(x)
        + tl.erf(x)
        + tl.exp(x)
        + tl.log(x)
        + tl.floor(x)
        + tl.ceil(x)
    )
    y = tl.rsqrt(y) + tl.sqrt(y) + tl.erf(y) + tl.exp(y) + tl.log(y) + tl.floor(y) + tl.ceil(y)
    tl.store(x_ptr + offsets, x)
    tl.store(y_ptr + offsets, y)


def compile_once(capability: int) -> None:
    """Compile for ``capability`` (90 for Hopper) without touching a GPU."""
    signature = {"x_ptr": "*fp32", "y_ptr": "*fp32", "n": "i32", "BLOCK": "constexpr"}
    _compiled(scale, capability, signature, {"BLOCK": 128})


def compile_functions(capability: int) -> bytes:
    """The machine code of ``functions``."""
    code: bytes = _compiled(functions, capability, {"x_ptr": "*fp32", "y_ptr": "*fp64"}, {}).asm["cubin"]
    return code


def _compiled(kernel: Any, capability: int, signature: dict[str, str], constants: dict[str, int]) -> Any:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32))
