"""Kernels of test_triton_compiling.py: Triton reads their source from a file."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def scale(x_ptr, y_ptr, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) * 2.0, mask=mask)


@triton.jit
def broken(x_ptr, y_ptr, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    offsets = tl.program_id(0) * BLOCK + tl.no_such_function(0, BLOCK)
    tl.store(y_ptr + offsets, offsets)


@triton.autotune(configs=[triton.Config({"BLOCK": 256}), triton.Config({"BLOCK": 512})], key=["n"])
@triton.jit
def tuned(x_ptr, y_ptr, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=offsets < n), mask=offsets < n)


@triton.jit
def windows(found_ptr):  # type: ignore[no-untyped-def]
    """Where shared and local memory begin as addresses of global memory."""
    zero = tl.program_id(0)
    shared = tl.inline_asm_elementwise(
        "{ .reg .u64 t; cvt.u64.u32 t, $1; cvta.shared.u64 $0, t; }", "=l,r", [zero], tl.int64, True, 1
    )
    local = tl.inline_asm_elementwise(
        "{ .reg .u64 t; cvt.u64.u32 t, $1; cvta.local.u64 $0, t; }", "=l,r", [zero], tl.int64, True, 1
    )
    tl.store(found_ptr, shared)
    tl.store(found_ptr + 1, local)
