"""The kernel that the warm server compiles once, so that no candidate pays for what a first compile sets up.

A file of its own: Triton reads the source of a kernel, and importing this needs Triton.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def scale(x_ptr, y_ptr, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # Triton reads the annotations
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) * 2.0, mask=mask)


def compile_once(capability: int) -> None:
    """Compile for ``capability`` (90 for Hopper) without touching a GPU."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {"x_ptr": "*fp32", "y_ptr": "*fp32", "n": "i32", "BLOCK": "constexpr"}
    source = ASTSource(fn=scale, signature=signature, constexprs={"BLOCK": 128})
    triton.compile(source, target=GPUTarget("cuda", capability, 32))
