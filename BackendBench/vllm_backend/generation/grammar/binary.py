"""Formulas of the operations on two or three tensors. See facts.py for how to read them."""

from __future__ import annotations

from .facts import Facts, table

LERP_NUMBA = "a + weight * (b - a) if abs(weight) < C(0.5) else b - (b - a) * (C(1.0) - weight)"
LERP_TRITON = "tl.where(tl.abs(weight) < 0.5, a + weight * (b - a), b - (b - a) * (1.0 - weight))"

POW_TRITON = """tiny = 1.1754943508222875e-38
small = (b != 0) & (tl.abs(b) < tiny)
b = tl.where(small, tl.where(b < 0, -tiny, tiny), b)
y = libdevice.pow(a, b)"""
"""libdevice takes subnormals for zero, and x ** 0 is 1 even for NaN."""
ATAN2_TRITON = """small = (tl.abs(a) < 1e-30) & (tl.abs(b) < 1e-30)
scale = tl.where(small, 18446744073709551616.0, 1.0)
y = libdevice.atan2(a * scale, b * scale)"""

BINARY = table(
    Facts(
        "add",
        "binary",
        "(a, b, *, alpha=1)",
        operands=("a", "b"),
        options=("alpha",),
        integers=True,
        numba=("a + alpha * b", "a + b * alpha"),
        triton=("a + alpha * b", "a + b * alpha"),
        numba_bad={"option_ignored": "a + b"},
        triton_bad={"option_ignored": "a + b"},
    ),
    Facts(
        "sub",
        "binary",
        "(a, b, *, alpha=1)",
        operands=("a", "b"),
        options=("alpha",),
        integers=True,
        numba=("a - alpha * b", "a - b * alpha"),
        triton=("a - alpha * b", "a - b * alpha"),
        numba_bad={"option_ignored": "a - b", "wrong_formula": "b - alpha * a"},
        triton_bad={"option_ignored": "a - b", "wrong_formula": "b - alpha * a"},
    ),
    Facts(
        "mul",
        "binary",
        "(a, b)",
        operands=("a", "b"),
        integers=True,
        numba=("a * b", "b * a"),
        triton=("a * b", "b * a"),
        numba_bad={"wrong_formula": "a * b + C(0.0) * a if a > C(0.0) else a"},
        triton_bad={"wrong_formula": "a * tl.abs(b)"},
    ),
    Facts(
        "div",
        "binary",
        "(a, b)",
        operands=("a", "b"),
        numba=("a / b",),
        triton=("a / b", "tl.div_rn(a, b)"),
        numba_bad={"wrong_formula": "a / (b + C(1e-6))"},
        triton_bad={"wrong_formula": "a / (b + 1e-6)"},
    ),
    Facts(
        "maximum",
        "binary",
        "(a, b)",
        operands=("a", "b"),
        integers=True,
        numba=("a if (a > b or a != a) else b", "b if (b > a or b != b) else a"),
        triton=("tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)", "tl.where((a > b) | (a != a), a, b)"),
        numba_bad={"nan_lost": "a if a > b else b"},
        triton_bad={"nan_lost": "tl.maximum(a, b)"},
    ),
    Facts(
        "minimum",
        "binary",
        "(a, b)",
        operands=("a", "b"),
        integers=True,
        numba=("a if (a < b or a != a) else b", "b if (b < a or b != b) else a"),
        triton=("tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)", "tl.where((a < b) | (a != a), a, b)"),
        numba_bad={"nan_lost": "a if a < b else b"},
        triton_bad={"nan_lost": "tl.minimum(a, b)"},
    ),
    Facts(
        "pow",
        "binary",
        "(a, b)",
        operands=("a", "b"),
        numba=("math.pow(a, b)", "a ** b"),
        triton=(POW_TRITON,),
        numba_bad={"wrong_formula": "math.exp(b * math.log(a))"},
        triton_bad={"wrong_formula": "tl.exp(b * tl.log(a))"},
    ),
    Facts(
        "atan2",
        "binary",
        "(a, b)",
        operands=("a", "b"),
        numba=("math.atan2(a, b)",),
        triton=(ATAN2_TRITON,),
        numba_bad={"wrong_formula": "math.atan(a / b)"},
        triton_bad={"wrong_formula": "libdevice.atan(a / b)"},
    ),
    Facts(
        "where",
        "binary",
        "(condition, a, b)",
        operands=("condition", "a", "b"),
        integers=True,
        numba=("a if condition else b",),
        triton=("tl.where(condition, a, b)",),
        numba_bad={"wrong_formula": "b if condition else a"},
        triton_bad={"wrong_formula": "condition * a + (1 - condition) * b"},
    ),
    Facts(
        "lerp",
        "binary",
        "(a, b, weight)",
        operands=("a", "b", "weight"),
        numba=(LERP_NUMBA,),
        triton=(LERP_TRITON,),
        numba_bad={"wrong_formula": "b + weight * (a - b)"},
        triton_bad={"wrong_formula": "b + weight * (a - b)"},
    ),
    Facts(
        "addcmul",
        "binary",
        "(a, b, c, *, value=1)",
        operands=("a", "b", "c"),
        options=("value",),
        numba=("a + value * b * c",),
        triton=("a + value * b * c",),
        numba_bad={"option_ignored": "a + b * c"},
        triton_bad={"option_ignored": "a + b * c"},
    ),
)
