# operation: linear
# target: cuda
"""Reads the weight as it lies and adds the bias in a second small kernel."""

import torch
import triton
import triton.language as tl


@triton.jit
def _product(
    a_ptr, b_ptr, c_ptr, m, n, k, ab, am, ak, bb, bk, bn, cb,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(2).to(tl.int64)
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, k, BK):
        inner = start + tl.arange(0, BK)
        a = tl.load(
            a_ptr + batch * ab + rows[:, None] * am + inner[None, :] * ak,
            mask=(rows[:, None] < m) & (inner[None, :] < k), other=0,
        )  # fmt: skip
        b = tl.load(
            b_ptr + batch * bb + inner[:, None] * bk + columns[None, :] * bn,
            mask=(inner[:, None] < k) & (columns[None, :] < n), other=0,
        )  # fmt: skip
        total += tl.dot(a, b, input_precision="ieee")
    tl.store(
        c_ptr + batch * cb + rows[:, None] * n + columns[None, :], total.to(c_ptr.dtype.element_ty),
        mask=(rows[:, None] < m) & (columns[None, :] < n),
    )  # fmt: skip


def _launch(a, b, c):
    """Batches of matrices, strided as they are, into a contiguous result."""
    count, m, k = a.shape
    n = b.shape[2]
    if c.numel():
        _product[(triton.cdiv(m, 64), triton.cdiv(n, 64), count)](
            a, b, c, m, n, k, *a.stride(), *b.stride(), m * n, BM=64, BN=64, BK=32
        )


@triton.jit
def _add_bias(y_ptr, product_ptr, bias_ptr, n, width, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(product_ptr + i, mask=i < n, other=0)
    v += tl.load(bias_ptr + i % width, mask=i < n, other=0).to(tl.float32)
    tl.store(y_ptr + i, v.to(y_ptr.dtype.element_ty), mask=i < n)


def linear_kernel_impl(input, weight, bias=None):
    w = weight.reshape(1, -1) if weight.dim() == 1 else weight
    x = (
        input.reshape(1, -1, input.shape[-1])
        if input.shape[-1]
        else input.reshape(1, input.shape[:-1].numel(), 0)
    )
    y = torch.empty(x.shape[1], w.shape[0], dtype=input.dtype, device=input.device)
    product = y if bias is None else torch.empty(y.shape, dtype=torch.float32, device=y.device)
    _launch(x, w.transpose(0, 1).unsqueeze(0), product.unsqueeze(0))
    if bias is not None and y.numel():
        bias = bias.reshape(-1).expand(w.shape[0]).contiguous()
        _add_bias[(triton.cdiv(y.numel(), 1024),)](y, product, bias, y.numel(), y.shape[1], BLOCK=1024)
    return y.reshape(*input.shape[:-1], *([] if weight.dim() == 1 else [w.shape[0]]))
