"""The operations that people ask for by name: a table, read by everything else in this folder.

- A row says what OpInfo cannot: the public calling convention, the family, the overload to export to, a sentence
  for the prompt, and the domain that random inputs have to stay in.
- No code per operation: edge cases follow from the family (edge_cases/), workloads from workload_shapes/*.json.
- Everything that is not in this table is found by tracing (opinfo.py) and follows its overload's schema.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class WellKnown:
    """One row of the table."""

    name: str
    family: str
    overload: str
    """The aten overload it is exported to; its parameters can all be passed on from ``signature``."""
    signature: str
    function: str
    """Dotted path below ``torch`` of the eager function."""
    description: str
    domain: str = "real"
    """Where random inputs lie: ``real``, ``positive`` or ``signed_nonzero`` (see edge_cases/values.py)."""
    integers: bool = False
    """Integer tensors give an integer answer and are worth a case."""
    flops: int = 1
    """Arithmetic operations and function calls per element of the largest input; matmul counts its own."""
    base: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of every case of an elementwise operation that cannot do without."""
    variants: tuple[dict[str, Any], ...] = ()
    """Keyword arguments worth cases of their own (elementwise and binary operations)."""
    arity: int = 1
    """Tensor operands of elementwise and binary operations."""
    opinfo: str = ""
    """``name/variant`` in OpInfo's database; '' tries ``name`` and ``nn.functional.name``, '-' uses none."""
    aliases: tuple[str, ...] = ()
    """Further names, most of all of overloads that torch lowers it to."""

    def reference(self) -> Callable[..., Any]:
        """The eager function."""
        found: Callable[..., Any] = operator.attrgetter(self.function)(torch)
        return found


def _unary(name: str, description: str, **given: Any) -> WellKnown:
    settings = {"signature": "(x)", "overload": f"{name}.default", "function": name, **given}
    return WellKnown(name=name, family="elementwise", description=description, **settings)


def _binary(name: str, overload: str, description: str, **given: Any) -> WellKnown:
    settings = {"signature": "(a, b)", "function": name, "arity": 2, **given}
    return WellKnown(name=name, family="binary", overload=overload, description=description, **settings)


def _reduction(name: str, overload: str, signature: str, description: str, **given: Any) -> WellKnown:
    return WellKnown(
        name, "reduction", overload, signature, given.pop("function", name), description, **given
    )


def _norm(name: str, overload: str, signature: str, description: str, **given: Any) -> WellKnown:
    return WellKnown(name, "normalisation", overload, signature, given.pop("function"), description, **given)


def _product(name: str, signature: str, description: str, **given: Any) -> WellKnown:
    function = given.pop("function", name)
    return WellKnown(name, "matmul", f"{name}.default", signature, function, description, **given)


DIM = "x, dim=None, keepdim=False"

TABLE: tuple[WellKnown, ...] = (
    # elementwise
    _unary("relu", "max(x, 0) for every element; NaN stays NaN.", integers=True),
    _unary("sigmoid", "1 / (1 + exp(-x)) for every element.", flops=4, aliases=("special.expit", "expit")),
    _unary("tanh", "Hyperbolic tangent of every element.", flops=5),
    _unary(
        "gelu",
        "x * Phi(x) with Phi the normal distribution function; approximate='tanh' uses the tanh formula.",
        signature="(input, approximate='none')", function="nn.functional.gelu", flops=5,
        variants=({"approximate": "tanh"},),
    ),
    _unary("silu", "x * sigmoid(x) for every element.", function="nn.functional.silu", flops=5,
           aliases=("swish",)),
    _unary("exp", "e to the power of every element."),
    _unary("log", "Natural logarithm of every element; NaN below zero, -inf at zero.", domain="positive"),
    _unary("log1p", "log(1 + x), accurate for small x.", domain="positive", flops=2,
           aliases=("special.log1p",)),
    _unary("expm1", "exp(x) - 1, accurate for small x.", flops=2, aliases=("special.expm1",)),
    _unary("sqrt", "Square root of every element; NaN below zero.", domain="positive"),
    _unary("rsqrt", "1 / sqrt(x) for every element.", domain="positive", flops=2),
    _unary("reciprocal", "1 / x for every element.", domain="signed_nonzero"),
    _unary("abs", "Absolute value of every element.", integers=True, aliases=("absolute",)),
    _unary("neg", "-x for every element.", integers=True, aliases=("negative",)),
    _unary("sin", "Sine of every element (radians)."),
    _unary("cos", "Cosine of every element (radians)."),
    _unary("erf", "Error function of every element.", aliases=("special.erf",)),
    _unary("floor", "Largest integer not above each element."),
    _unary("hardswish", "x * clamp(x + 3, 0, 6) / 6 for every element.", function="nn.functional.hardswish",
           flops=5),
    _unary("hardsigmoid", "clamp(x + 3, 0, 6) / 6 for every element.", function="nn.functional.hardsigmoid",
           flops=4),
    _unary("mish", "x * tanh(log(1 + exp(x))) for every element.", function="nn.functional.mish", flops=5),
    _unary("selu", "scale * (x if x > 0 else alpha * (exp(x) - 1)), scale 1.0507009873554805, "
           "alpha 1.6732632423543772.", function="nn.functional.selu", flops=4),
    _unary("leaky_relu", "x if x > 0 else negative_slope * x, for every element.",
           signature="(x, negative_slope=0.01)", function="nn.functional.leaky_relu", flops=2,
           variants=({"negative_slope": 0.2}, {"negative_slope": -0.5})),
    _unary("softplus", "log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold.",
           signature="(x, beta=1, threshold=20)", function="nn.functional.softplus", flops=5,
           variants=({"beta": 2.0, "threshold": 5.0}, {"beta": 0.5})),
    _unary("clamp", "min(max(x, min), max) for every element; a bound that is None does not bind; "
           "NaN stays NaN.", signature="(x, min=None, max=None)", integers=True, flops=2, aliases=("clip",),
           base={"min": -0.75, "max": 1.5},
           variants=({"min": -0.5, "max": 0.5}, {"min": 0.0}, {"max": 1.0}, {"min": 1.0, "max": -1.0})),
    # binary and ternary, with broadcasting
    _binary("add", "add.Tensor", "a + alpha * b with broadcasting.", signature="(a, b, *, alpha=1)",
            integers=True, variants=({"alpha": 2}, {"alpha": -0.5})),
    _binary("sub", "sub.Tensor", "a - alpha * b with broadcasting.", signature="(a, b, *, alpha=1)",
            integers=True, variants=({"alpha": 2}, {"alpha": -0.5}), aliases=("subtract",)),
    _binary("mul", "mul.Tensor", "a * b with broadcasting.", integers=True, aliases=("multiply",)),
    _binary("div", "div.Tensor", "a / b with broadcasting.", domain="signed_nonzero",
            opinfo="div/no_rounding_mode", aliases=("divide", "true_divide")),
    _binary("maximum", "maximum.default", "Larger of a and b with broadcasting; NaN if either is NaN.",
            integers=True),
    _binary("minimum", "minimum.default", "Smaller of a and b with broadcasting; NaN if either is NaN.",
            integers=True),
    _binary("pow", "pow.Tensor_Tensor", "a to the power of b with broadcasting.", domain="positive"),
    _binary("atan2", "atan2.default", "Angle of the point (b, a) with broadcasting.", aliases=("arctan2",)),
    _binary("where", "where.self", "a where condition is true, else b, with broadcasting.", arity=3,
            signature="(condition, a, b)", integers=True, opinfo="-"),
    _binary("lerp", "lerp.Tensor", "a + weight * (b - a) where |weight| < 0.5, else "
            "b - (b - a) * (1 - weight), with broadcasting.", arity=3,
            signature="(a, b, weight)", flops=3),
    _binary("addcmul", "addcmul.default", "a + value * b * c with broadcasting.", arity=3,
            signature="(a, b, c, *, value=1)", flops=3, variants=({"value": -0.5},)),
    # reduction
    _reduction("sum", "sum.dim_IntList", f"({DIM}, *, dtype=None)", "Sum over dim (an int, a list, or None "
               "for all).", integers=True, aliases=("sum.default",)),
    _reduction("mean", "mean.dim", f"({DIM}, *, dtype=None)", "Mean over dim (an int, a list, or None for "
               "all).", aliases=("mean.default",)),
    _reduction("amax", "amax.default", "(x, dim=(), keepdim=False)", "Largest element over dim (an int or a "
               "list, empty for all); NaN if there is one.", integers=True),
    _reduction("amin", "amin.default", "(x, dim=(), keepdim=False)", "Smallest element over dim (an int or a "
               "list, empty for all); NaN if there is one.", integers=True),
    _reduction("logsumexp", "logsumexp.default", "(x, dim, keepdim=False)",
               "log(sum(exp(x))) over dim (an int or a list), computed without overflow.", flops=3,
               aliases=("special.logsumexp",)),
    _reduction("var", "var.correction", "(x, dim=None, *, correction=1, keepdim=False)",
               "Variance over dim (an int, a list, or None for all), divided by max(0, n - correction).",
               flops=4),
    _reduction("argmax", "argmax.default", f"({DIM})", "Index (int64) of the largest element over dim, of the "
               "flattened tensor for None; the first one of equals; NaN counts as largest.", integers=True),
    _reduction("cumsum", "cumsum.default", "(x, dim, *, dtype=None)", "Running sum along dim.", integers=True),
    _reduction("vector_norm", "linalg_vector_norm.default", "(x, ord=2, dim=None, keepdim=False, *, dtype=None)",
               "(sum(abs(x)**ord))**(1/ord) over dim; ord inf is the largest and -inf the smallest absolute "
               "value, 0 counts nonzeros.", function="linalg.vector_norm", flops=2,
               opinfo="linalg.vector_norm", aliases=("linalg.vector_norm",)),
    # normalisation
    _norm("softmax", "softmax.int", "(x, dim, dtype=None)", "exp(x - max) / sum(exp(x - max)) along dim; dtype, "
          "if given, is what x is converted to first.", function="softmax", flops=5,
          aliases=("nn.functional.softmax", "_softmax", "special.softmax")),
    _norm("log_softmax", "log_softmax.int", "(x, dim, dtype=None)", "x - max - log(sum(exp(x - max))) along "
          "dim; dtype, if given, is what x is converted to first.", function="log_softmax", flops=5,
          aliases=("nn.functional.log_softmax", "_log_softmax", "special.log_softmax")),
    _norm("layer_norm", "layer_norm.default",
          "(input, normalized_shape, weight=None, bias=None, eps=1e-05)",
          "(x - mean) / sqrt(var + eps) * weight + bias over the last len(normalized_shape) dimensions; var is "
          "the mean of squared deviations; weight and bias have shape normalized_shape or are None.",
          function="nn.functional.layer_norm", flops=8, aliases=("native_layer_norm",)),
    _norm("rms_norm", "rms_norm.default", "(input, normalized_shape, weight=None, eps=None)",
          "x / sqrt(mean(x**2) + eps) * weight over the last len(normalized_shape) dimensions; eps None means "
          "the machine epsilon of the dtype the mean is computed in (float32 for half precision, else the "
          "input's).", function="nn.functional.rms_norm", flops=5, aliases=("_fused_rms_norm",)),
    _norm("group_norm", "group_norm.default", "(input, num_groups, weight=None, bias=None, eps=1e-05)",
          "input (N, C, *): (x - mean) / sqrt(var + eps) over each sample's group of C / num_groups channels, "
          "then times weight[c] plus bias[c].", function="nn.functional.group_norm", flops=8,
          aliases=("native_group_norm",)),
    _norm("batch_norm", "batch_norm.default", "(input, running_mean, running_var, weight=None, bias=None, "
          "training=False, momentum=0.1, eps=1e-05)",
          "input (N, C, *), inference only (training is always False): (x - running_mean[c]) / "
          "sqrt(running_var[c] + eps) * weight[c] + bias[c].", function="nn.functional.batch_norm", flops=4),
    # matmul
    _product("matmul", "(a, b)", "Matrix product a @ b; 1-d arguments are vectors, leading dimensions "
             "broadcast as batches.", aliases=("__matmul__", "linalg.matmul")),
    _product("mm", "(a, b)", "Matrix product of a (m, k) and b (k, n)."),
    _product("bmm", "(a, b)", "Batch of matrix products: (b, m, k) times (b, k, n)."),
    _product("mv", "(a, v)", "Matrix times vector: (m, k) times (k,)."),
    _product("addmm", "(c, a, b, *, beta=1, alpha=1)", "beta * c + alpha * (a @ b); c is broadcast to (m, n) "
             "and ignored (NaN too) where beta is 0."),
    _product("baddbmm", "(c, a, b, *, beta=1, alpha=1)", "beta * c + alpha * bmm(a, b); c is broadcast to "
             "(b, m, n) and ignored (NaN too) where beta is 0."),
    _product("linear", "(input, weight, bias=None)", "input @ weight.T + bias; weight (out, in), bias (out,).",
             function="nn.functional.linear"),
    _product("scaled_dot_product_attention",
             "(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, "
             "enable_gqa=False)",
             "softmax(query @ key.T * scale + mask) @ value over the last two dimensions; scale None is "
             "1 / sqrt(head_dim); is_causal hides keys after the query's index; a boolean attn_mask keeps what "
             "is True, a float one is added; dropout_p is always 0; enable_gqa repeats the heads of key and "
             "value.", function="nn.functional.scaled_dot_product_attention", aliases=("sdpa", "attention")),
    # other
    WellKnown("embedding", "other", "embedding.default",
              "(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False)", "ops.aten.embedding",
              "Rows of weight (rows, width) chosen by the int64 tensor indices; the other arguments only "
              "matter for gradients.", flops=0, opinfo="-", aliases=("nn.functional.embedding",)),
)  # fmt: skip


@functools.cache
def by_name() -> dict[str, WellKnown]:
    """Rows by canonical name."""
    return {row.name: row for row in TABLE}
