"""Honest kernels: every well-known operation in another order of arithmetic than eager's.

- What a plain loop computes: sums one term after the other, in the precision of the inputs (float32 for half
  precision), formulas as a textbook writes them, one rounding at the end.
- They must all be accepted: who refuses one of them refuses honest work.
- ``narrow``: a function applied to every floating-point operand first, which makes a dishonest kernel of it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from BackendBench.vllm_backend.operations.operation import Call

Array = Any
LONGEST = 10_000
"""Terms that one loop adds up; nobody sums a whole tensor with a single float32 variable."""
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def as_tf32(x: torch.Tensor) -> torch.Tensor:
    """float32 with ten bits of mantissa, rounded."""
    if x.dtype != torch.float32:
        return x
    bits = x.contiguous().view(torch.int32)
    rounded = ((bits.to(torch.int64) + 0x1000) & ~0x1FFF).to(torch.int32)
    return torch.where(x.isfinite(), rounded.view(torch.float32), x)


def as_half(dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    """Rounded to a half precision where the value has one."""

    def narrow(x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float32:
            return x
        fits = x.abs() < torch.finfo(dtype).max
        return torch.where(fits, x.to(dtype).float(), x)

    return narrow


def run(name: str, call: Call, narrow: Callable[[torch.Tensor], torch.Tensor] | None = None) -> torch.Tensor:
    """The plain loop of a well-known operation on one call; its dtype is that of the arithmetic."""

    def plain(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        narrowed = narrow(value) if narrow else value
        return (narrowed.float() if narrowed.dtype in (torch.float16, torch.bfloat16) else narrowed).numpy()

    with np.errstate(all="ignore"):
        result = LOOPS[name](*map(plain, call.args), **{k: plain(v) for k, v in call.kwargs.items()})
    return torch.from_numpy(np.asarray(result))


def total(x: Array, axis: int) -> Array:
    """Sum along one axis, term after term."""
    if x.shape[axis] == 0:
        return np.zeros_like(x, shape=x.shape[:axis] + x.shape[axis:][1:])
    if x.ndim == 1 and x.size > LONGEST:
        return total(np.asarray([total(part, 0) for part in np.array_split(x, x.size // LONGEST + 1)]), 0)
    return np.take(np.add.accumulate(x, axis=axis, dtype=x.dtype), -1, axis=axis)


def reduced(x: Array, dim: Any, keepdim: bool) -> tuple[Array, int, tuple[int, ...]]:
    """The reduced dimensions brought together at the end: (array, how many terms, shape of the result)."""
    dims = range(x.ndim) if dim is None or dim == () else [dim] if isinstance(dim, int) else dim
    chosen = sorted({d % max(1, x.ndim) for d in dims}) if x.ndim else []
    kept = [d for d in range(x.ndim) if d not in chosen]
    shape = tuple(1 if d in chosen else x.shape[d] for d in range(x.ndim) if keepdim or d not in chosen)
    terms = math.prod(x.shape[d] for d in chosen)
    return x.transpose(*kept, *chosen).reshape(*(x.shape[d] for d in kept), terms), terms, shape


def cast(x: Array, dtype: torch.dtype | None) -> Array:
    return x if dtype is None else x.astype(str(dtype).removeprefix("torch."))


def sum_(x: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    x = cast(x, dtype)
    x = x.astype(np.int64) if x.dtype.kind in "iub" else x
    rows, _, shape = reduced(x, dim, keepdim)
    return total(rows, -1).reshape(shape)


def mean(x: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    rows, terms, shape = reduced(cast(x, dtype), dim, keepdim)
    return (total(rows, -1) / rows.dtype.type(terms)).reshape(shape)


def var(x: Array, dim: Any = None, *, correction: int = 1, keepdim: bool = False) -> Array:
    rows, terms, shape = reduced(x, dim, keepdim)
    of = rows.dtype.type
    deviations = rows - (total(rows, -1) / of(terms))[..., None]
    return (total(deviations * deviations, -1) / of(max(0, terms - correction))).reshape(shape)


def logsumexp(x: Array, dim: Any, keepdim: bool = False) -> Array:
    x = x.astype(np.float32) if x.dtype.kind in "iub" else x
    rows, _, shape = reduced(x, dim, keepdim)
    largest = rows.max(-1, initial=-np.inf)
    shift = np.where(np.isfinite(largest), largest, 0).astype(rows.dtype)
    return (np.log(total(np.exp(rows - shift[..., None]), -1)) + shift).reshape(shape)


def extreme(choose: Any) -> Callable[..., Array]:
    def function(x: Array, dim: Any = (), keepdim: bool = False) -> Array:
        rows, _, shape = reduced(x, dim, keepdim)
        return choose(rows, -1).reshape(shape)

    return function


def argmax(x: Array, dim: Any = None, keepdim: bool = False) -> Array:
    rows, _, shape = reduced(x, dim, keepdim)
    return rows.argmax(-1).reshape(shape)


def cumsum(x: Array, dim: int, *, dtype: Any = None) -> Array:
    x = cast(x, dtype)
    x = x.astype(np.int64) if x.dtype.kind in "iub" else x
    return np.add.accumulate(x, axis=dim, dtype=x.dtype) if x.ndim else x


def vector_norm(
    x: Array, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Array:
    rows, _, shape = reduced(np.abs(cast(x, dtype)), dim, keepdim)
    of = rows.dtype.type
    if math.isinf(ord):
        return (rows.max(-1, initial=0) if ord > 0 else rows.min(-1)).reshape(shape)
    if ord == 0:
        return total((rows != 0).astype(rows.dtype), -1).reshape(shape)
    if ord == 2:
        return np.sqrt(total(rows * rows, -1)).reshape(shape)
    return (total(rows ** of(ord), -1) ** of(1 / ord)).reshape(shape)


def softmax(x: Array, dim: int, dtype: Any = None, *, log: bool = False) -> Array:
    x = cast(x, dtype)
    if not x.size:
        return x
    rows = np.moveaxis(x, dim, -1) if x.ndim else x.reshape(1)
    shifted = rows - rows.max(-1, keepdims=True)
    powers = np.exp(shifted)
    sums = total(powers, -1)[..., None]
    result = shifted - np.log(sums) if log else powers / sums
    return np.moveaxis(result, -1, dim) if x.ndim else result.reshape(())


def normalised(rows: Array, eps: float, centred: bool = True) -> Array:
    of, terms = rows.dtype.type, rows.shape[-1]
    if not rows.size:
        return rows
    rows = rows - (total(rows, -1) / of(terms))[..., None] if centred else rows
    squares = (total(rows * rows, -1) / of(terms))[..., None]
    return rows * (of(1) / np.sqrt(squares + of(eps)))


def layer_norm(x: Array, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    rows = x.reshape(*x.shape[: x.ndim - len(shape)], math.prod(shape))
    result = normalised(rows, eps).reshape(x.shape)
    result = result if weight is None else result * weight
    return result if bias is None else result + bias


def rms_norm(x: Array, shape: Any, weight: Any = None, eps: float | None = None) -> Array:
    rows = x.reshape(*x.shape[: x.ndim - len(shape)], math.prod(shape))
    result = normalised(rows, np.finfo(x.dtype).eps if eps is None else eps, centred=False).reshape(x.shape)
    return result if weight is None else result * weight


def channelwise(vector: Array, x: Array) -> Array:
    return vector.reshape(1, -1, *[1] * (x.ndim - 2))


def group_norm(x: Array, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    result = normalised(x.reshape(x.shape[0], groups, math.prod(x.shape[1:]) // groups), eps).reshape(x.shape)
    result = result if weight is None else result * channelwise(weight, x)
    return result if bias is None else result + channelwise(bias, x)


def batch_norm(
    x: Array, mean: Array, variance: Array, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Array:  # fmt: skip
    if x.ndim < 2:
        return x
    of = x.dtype.type
    result = (x - channelwise(mean, x)) / np.sqrt(channelwise(variance, x) + of(eps))
    result = result if weight is None else result * channelwise(weight, x)
    return result if bias is None else result + channelwise(bias, x)


def matmul(a: Array, b: Array) -> Array:
    """One term of every dot product after the other."""
    left, right = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    result = np.zeros((*lead, left.shape[-2], right.shape[-1]), a.dtype)
    for k in range(left.shape[-1]):
        result = result + left[..., :, k, None] * right[..., None, k, :]
    result = result[..., 0, :] if a.ndim == 1 else result
    return result[..., 0] if b.ndim == 1 else result


def added(c: Array, a: Array, b: Array, *, beta: float = 1, alpha: float = 1) -> Array:
    of = a.dtype.type
    product = of(alpha) * matmul(a, b)
    return product if beta == 0 else of(beta) * c + product


def linear(x: Array, weight: Array, bias: Any = None) -> Array:
    result = matmul(x, weight.T)
    return result if bias is None else result + bias


def attention(
    q: Array, k: Array, v: Array, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False, *,
    scale: Any = None, enable_gqa: bool = False,
) -> Array:  # fmt: skip
    of = q.dtype.type
    if enable_gqa:
        k, v = (np.repeat(t, q.shape[-3] // t.shape[-3], axis=-3) for t in (k, v))
    scores = matmul(q, k.swapaxes(-1, -2)) * of(1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = np.tril(np.ones(scores.shape[-2:], bool))
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, of(-np.inf)) if attn_mask.dtype == bool else scores + attn_mask
    return matmul(softmax(scores, -1), v)


def scaled(function: Callable[[Array, Array], Array], name: str = "alpha") -> Callable[..., Array]:
    def call(a: Array, b: Array, **kwargs: Any) -> Array:
        return function(a, b * a.dtype.type(kwargs.get(name, 1)))

    return call


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def erf(x: Array) -> Array:
    return torch.erf(torch.from_numpy(np.asarray(x))).numpy()  # numpy has none


def gelu(x: Array, approximate: str = "none") -> Array:
    of = x.dtype.type
    if approximate == "none":
        return of(0.5) * x * (1 + erf(x * of(math.sqrt(0.5))))
    return of(0.5) * x * (1 + np.tanh(of(math.sqrt(2 / math.pi)) * (x + of(0.044715) * x * x * x)))


def softplus(x: Array, beta: float = 1, threshold: float = 20) -> Array:
    of = x.dtype.type
    return np.where(x * of(beta) > threshold, x, np.log1p(np.exp(x * of(beta))) / of(beta))


def relu6(x: Array) -> Array:
    return np.minimum(np.maximum(x, x.dtype.type(0)), x.dtype.type(6))


def hardsigmoid(x: Array) -> Array:
    return relu6(x + x.dtype.type(3)) / x.dtype.type(6)


def clamp(x: Array, min: Any = None, max: Any = None) -> Array:
    of = x.dtype.type
    if x.dtype.kind in "iu" and any(isinstance(v, float) for v in (min, max)):
        x, of = x.astype(np.float32), np.float32
    x = x if min is None else np.maximum(x, of(min))
    return x if max is None else np.minimum(x, of(max))


def selu(x: Array) -> Array:
    of = x.dtype.type
    return np.where(x > 0, of(SELU_SCALE) * x, of(SELU_SCALE * SELU_ALPHA) * np.expm1(x))


def _relu(x: Array) -> Array:
    return np.maximum(x, x.dtype.type(0))


LOOPS: dict[str, Callable[..., Array]] = {
    "relu": _relu, "sigmoid": sigmoid, "tanh": np.tanh, "gelu": gelu, "silu": lambda x: x * sigmoid(x),
    "exp": lambda x: np.exp2(x * x.dtype.type(1 / math.log(2))),
    "log": lambda x: np.log2(x) * x.dtype.type(math.log(2)),
    "log1p": np.log1p, "expm1": np.expm1, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x, "abs": np.abs, "neg": np.negative, "sin": np.sin, "cos": np.cos, "erf": erf,
    "floor": np.floor, "hardswish": lambda x: x * hardsigmoid(x), "hardsigmoid": hardsigmoid,
    "mish": lambda x: x * np.tanh(softplus(x)), "selu": selu,
    "leaky_relu": lambda x, negative_slope=0.01: np.where(x > 0, x, x.dtype.type(negative_slope) * x),
    "softplus": softplus, "clamp": clamp,
    "add": scaled(np.add), "sub": scaled(np.subtract), "mul": np.multiply,
    "div": np.divide, "maximum": np.maximum, "minimum": np.minimum,
    "pow": lambda a, b: np.power(a, b), "atan2": np.arctan2,
    "where": np.where, "lerp": lambda a, b, w: np.where(np.abs(w) < 0.5, a + w * (b - a), b - (b - a) * (1 - w)),
    "addcmul": lambda a, b, c, value=1: a + a.dtype.type(value) * b * c,
    "sum": sum_, "mean": mean, "amax": extreme(functools.partial(np.max)), "amin": extreme(functools.partial(np.min)),
    "logsumexp": logsumexp, "var": var, "argmax": argmax, "cumsum": cumsum, "vector_norm": vector_norm,
    "softmax": softmax, "log_softmax": functools.partial(softmax, log=True), "layer_norm": layer_norm,
    "rms_norm": rms_norm, "group_norm": group_norm, "batch_norm": batch_norm,
    "matmul": matmul, "mm": matmul, "bmm": matmul, "mv": matmul, "addmm": added, "baddbmm": added, "linear": linear,
    "scaled_dot_product_attention": attention, "embedding": lambda weight, indices, *rest: weight[indices],
}  # fmt: skip
"""By canonical name; called as the candidate would be."""
