"""Formulas of the elementwise operations. See facts.py for how to read them."""

from __future__ import annotations

from .facts import Facts, table

GELU_NUMBA = """if tanh_form:
    u = C(0.7978845608028654) * (x + C(0.044715) * x * x * x)
    y = C(0.5) * x * (C(1.0) + math.tanh(u))
else:
    y = C(0.5) * x * (C(1.0) + math.erf(x * C(0.7071067811865476)))"""
GELU_FAST = """if tanh_form:
    u = T(1.5957691216057308) * (x + T(0.044715) * x * x * x)
    y = x / (T(1.0) + vec_exp(-u))
else:
    q = T(0.5) * x * vec_erfc(abs(x) * T(0.7071067811865476))
    y = x - q if x > T(0.0) else q"""
GELU_TRITON = """if TANH_FORM:
    u = 1.5957691216057308 * (x + 0.044715 * x * x * x)
    y = x / (1.0 + tl.exp(-u))
else:
    y = 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))"""
SOFTPLUS_NUMBA = """t = x * beta
if t > threshold:
    y = x
else:
    y = math.log1p(math.exp(t)) / beta"""
SOFTPLUS_FAST = """t = x * beta
s = vec_log1p(vec_exp(min(t, threshold))) / beta
y = x if t > threshold else (s if t == t else t)"""
MISH_NUMBA = """if x > C(20.0):
    y = x
else:
    e = math.exp(x)
    w = e * (e + C(2.0))
    y = x * (w / (w + C(2.0)))"""
MISH_FAST = """e = vec_exp(min(x, T(20.0)))
w = e * (e + T(2.0))
q = x * (w / (w + T(2.0)))
y = x if not (x <= T(20.0)) else q"""
MISH_TRITON = """e = tl.exp(tl.where(x > 20.0, 20.0, x))
w = e * (e + 2.0)
y = tl.where(x > 20.0, x, x * (w / (w + 2.0)))"""
SELU_NUMBA = """if x > C(0.0):
    y = C(1.0507009873554805) * x
else:
    y = C(1.7580993408473766) * math.expm1(x)"""
LOG_TRITON = """small = x < 1.1754943508222875e-38
z = tl.where(small, x * 16777216.0, x)
y = tl.log(z) - tl.where(small, 16.635532333438686, 0.0)"""
RSQRT_TRITON = """small = x < 1.1754943508222875e-38
z = tl.where(small, x * 16777216.0, x)
y = tl.rsqrt(z) * tl.where(small, 4096.0, 1.0)"""
FLOOR_TRITON = """y = tl.floor(x)
y = tl.where((x < 0) & (y == 0), -1.0, y)"""
"""The GPU's floor takes a negative subnormal for zero."""
EXPM1_TRITON = """e = tl.exp(x)
tail = 0.041666666666666664 + x * (0.008333333333333333 + x * (0.001388888888888889 + x * 0.0001984126984126984))
series = x + x * x * (0.5 + x * (0.16666666666666666 + x * tail))
y = tl.where(tl.abs(x) < 0.25, series, e - 1.0)"""

ELEMENTWISE = table(
    Facts(
        "relu",
        "elementwise",
        "(x)",
        integers=True,
        numba=(
            "C(0.0) if x < C(0.0) else x",
            "x if (x > C(0.0) or x != x) else C(0.0)",
            "x if not (x <= C(0.0)) else C(0.0)",
        ),
        triton=(
            "tl.where(x < 0, 0, x)",
            "tl.maximum(x, 0, propagate_nan=tl.PropagateNan.ALL)",
            "tl.where(x <= 0, 0, x)",
        ),
        numba_bad={"nan_lost": "x if x > C(0.0) else C(0.0)", "wrong_formula": "abs(x)"},
        triton_bad={"nan_lost": "tl.maximum(x, 0)", "wrong_formula": "x * (x > 0)"},
    ),
    Facts(
        "sigmoid",
        "elementwise",
        "(x)",
        numba=("C(1.0) / (C(1.0) + math.exp(-x))",),
        fast="T(1.0) / (T(1.0) + vec_exp(-x))",
        triton=("1.0 / (1.0 + tl.exp(-x))", "tl.sigmoid(x)"),
        numba_bad={
            "overflow": "math.exp(x) / (C(1.0) + math.exp(x))",
            "wrong_formula": "C(1.0) / (C(1.0) + math.exp(x))",
        },
        triton_bad={"overflow": "tl.exp(x) / (1.0 + tl.exp(x))", "wrong_formula": "1.0 / (1.0 + tl.exp(x))"},
    ),
    Facts(
        "tanh",
        "elementwise",
        "(x)",
        numba=("math.tanh(x)",),
        fast="vec_tanh(x)",
        triton=("libdevice.tanh(x)",),
        numba_bad={
            "overflow": "(math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x))",
            "cancellation": "C(1.0) - C(2.0) / (math.exp(C(2.0) * x) + C(1.0))",
        },
        triton_bad={
            "overflow": "(tl.exp(x) - tl.exp(-x)) / (tl.exp(x) + tl.exp(-x))",
            "cancellation": "2.0 * tl.sigmoid(2.0 * x) - 1.0",
        },
    ),
    Facts(
        "gelu",
        "elementwise",
        "(input, approximate='none')",
        options=("approximate",),
        numba=(GELU_NUMBA,),
        fast=GELU_FAST,
        triton=(GELU_TRITON,),
        numba_bad={
            "option_ignored": "C(0.5) * x * (C(1.0) + math.erf(x * C(0.7071067811865476)))",
            "wrong_formula": "x / (C(1.0) + math.exp(C(-1.702) * x))",
        },
        triton_bad={
            "option_ignored": "0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))",
            "wrong_formula": "x * tl.sigmoid(1.702 * x)",
        },
    ),
    Facts(
        "silu",
        "elementwise",
        "(x)",
        numba=("x / (C(1.0) + math.exp(-x))",),
        fast="x / (T(1.0) + vec_exp(-x))",
        triton=("x / (1.0 + tl.exp(-x))", "x * tl.sigmoid(x)"),
        numba_bad={
            "overflow": "x * math.exp(x) / (C(1.0) + math.exp(x))",
            "wrong_formula": "C(1.0) / (C(1.0) + math.exp(-x))",
        },
        triton_bad={"overflow": "x * tl.exp(x) / (1.0 + tl.exp(x))", "wrong_formula": "tl.sigmoid(x)"},
    ),
    Facts(
        "exp",
        "elementwise",
        "(x)",
        numba=("math.exp(x)",),
        fast="vec_exp(x)",
        triton=("tl.exp(x)", "tl.exp2(x * 1.4426950408889634)"),
        numba_bad={"wrong_formula": "C(2.0) ** x"},
        triton_bad={"wrong_formula": "tl.exp2(x)"},
    ),
    Facts(
        "log",
        "elementwise",
        "(x)",
        numba=("math.log(x)",),
        triton=(LOG_TRITON,),
        numba_bad={"wrong_formula": "math.log(x + C(1e-6))"},
        triton_bad={"wrong_formula": "tl.log(x + 1e-6)"},
    ),
    Facts(
        "log1p",
        "elementwise",
        "(x)",
        numba=("math.log1p(x)",),
        triton=("libdevice.log1p(x)",),
        numba_bad={"cancellation": "math.log(C(1.0) + x)"},
        triton_bad={"cancellation": "tl.log(1.0 + x)"},
    ),
    Facts(
        "expm1",
        "elementwise",
        "(x)",
        numba=("math.expm1(x)",),
        triton=("libdevice.expm1(x)", EXPM1_TRITON),
        numba_bad={"cancellation": "math.exp(x) - C(1.0)"},
        triton_bad={"cancellation": "tl.exp(x) - 1.0"},
    ),
    Facts(
        "sqrt",
        "elementwise",
        "(x)",
        numba=("math.sqrt(x)", "np.sqrt(x)"),
        triton=("tl.sqrt(x)", "tl.sqrt_rn(x)"),
        numba_bad={"wrong_formula": "math.sqrt(abs(x))"},
        triton_bad={"wrong_formula": "tl.sqrt(tl.abs(x))"},
    ),
    Facts(
        "rsqrt",
        "elementwise",
        "(x)",
        numba=("C(1.0) / math.sqrt(x)",),
        triton=(RSQRT_TRITON, "1.0 / tl.sqrt_rn(x)"),
        numba_bad={"wrong_formula": "C(1.0) / math.sqrt(x + C(1e-5))"},
        triton_bad={"wrong_formula": "tl.rsqrt(x + 1e-5)"},
    ),
    Facts(
        "reciprocal",
        "elementwise",
        "(x)",
        numba=("C(1.0) / x",),
        triton=("1.0 / x", "tl.div_rn(tl.full(x.shape, 1.0, COMPUTE), x)"),
        numba_bad={"wrong_formula": "C(1.0) / (x + C(1e-6))"},
        triton_bad={"wrong_formula": "1.0 / (x + 1e-6)"},
    ),
    Facts(
        "abs",
        "elementwise",
        "(x)",
        integers=True,
        numba=("abs(x)", "-x if x < C(0.0) else abs(x)"),
        triton=("tl.abs(x)", "tl.where(x < 0, -x, x)"),
        numba_bad={"wrong_formula": "x"},
        triton_bad={"wrong_formula": "tl.maximum(x, 0)"},
    ),
    Facts(
        "neg",
        "elementwise",
        "(x)",
        integers=True,
        numba=("-x", "C(-1.0) * x"),
        triton=("-x", "x * -1"),
        numba_bad={"wrong_formula": "C(0.0) - abs(x)"},
        triton_bad={"wrong_formula": "-tl.abs(x)"},
    ),
    Facts(
        "sin",
        "elementwise",
        "(x)",
        numba=("math.sin(x)",),
        triton=("tl.sin(x)",),
        numba_bad={"wrong_formula": "x - x * x * x / C(6.0)"},
        triton_bad={"wrong_formula": "x - x * x * x / 6.0"},
    ),
    Facts(
        "cos",
        "elementwise",
        "(x)",
        numba=("math.cos(x)",),
        triton=("tl.cos(x)",),
        numba_bad={"wrong_formula": "C(1.0) - x * x / C(2.0)"},
        triton_bad={"wrong_formula": "1.0 - x * x / 2.0"},
    ),
    Facts(
        "erf",
        "elementwise",
        "(x)",
        numba=("math.erf(x)",),
        fast="vec_erf(x)",
        triton=("tl.erf(x)",),
        numba_bad={"wrong_formula": "math.tanh(C(1.1283791670955126) * x)"},
        triton_bad={"wrong_formula": "2.0 * tl.sigmoid(2.2567583341910251 * x) - 1.0"},
    ),
    Facts(
        "floor",
        "elementwise",
        "(x)",
        numba=("np.floor(x)",),
        triton=(FLOOR_TRITON,),
        numba_bad={"wrong_formula": "np.trunc(x)", "nonfinite_cast": "math.floor(x)"},
        triton_bad={"wrong_formula": "x.to(tl.int32).to(tl.float32)"},
    ),
    Facts(
        "hardswish",
        "elementwise",
        "(x)",
        numba=(
            "x * min(max(x + C(3.0), C(0.0)), C(6.0)) / C(6.0)",
            "x * min(max(x + C(3.0), C(0.0)), C(6.0)) * C(0.16666666666666666)",
        ),
        triton=(
            "x * tl.minimum(tl.maximum(x + 3.0, 0.0), 6.0) / 6.0",
            "x * tl.clamp(x + 3.0, 0.0, 6.0) * 0.16666666666666666",
        ),
        numba_bad={"wrong_formula": "x * min(max(x + C(3.0), C(0.0)), C(6.0))"},
        triton_bad={"wrong_formula": "x * tl.minimum(tl.maximum(x + 3.0, 0.0), 6.0)"},
    ),
    Facts(
        "hardsigmoid",
        "elementwise",
        "(x)",
        numba=(
            "t = x + C(3.0)\nt = C(0.0) if t < C(0.0) else t\nt = C(6.0) if t > C(6.0) else t\ny = t / C(6.0)",
        ),
        triton=("t = x + 3.0\nt = tl.where(t < 0.0, 0.0, t)\ny = tl.where(t > 6.0, 6.0, t) / 6.0",),
        numba_bad={
            "nan_lost": "min(max(C(0.0), x + C(3.0)), C(6.0)) / C(6.0)",
            "wrong_formula": "min(max(C(0.2) * x + C(0.5), C(0.0)), C(1.0))",
        },
        triton_bad={
            "nan_lost": "tl.minimum(tl.maximum(x + 3.0, 0.0), 6.0) / 6.0",
            "wrong_formula": "tl.minimum(tl.maximum(0.2 * x + 0.5, 0.0), 1.0)",
        },
    ),
    Facts(
        "mish",
        "elementwise",
        "(x)",
        numba=(MISH_NUMBA, "x * math.tanh(math.log1p(math.exp(x)))"),
        fast=MISH_FAST,
        triton=(MISH_TRITON,),
        numba_bad={"wrong_formula": "x * math.tanh(math.exp(x))"},
        triton_bad={"wrong_formula": "x * tl.log(1.0 + tl.exp(x))"},
    ),
    Facts(
        "selu",
        "elementwise",
        "(x)",
        numba=(SELU_NUMBA,),
        fast="e = T(1.7580993408473766) * vec_expm1(x)\ny = T(1.0507009873554805) * x if x > T(0.0) else e",
        triton=(
            EXPM1_TRITON.replace("y = ", "n = ")
            + "\ny = tl.where(x > 0.0, 1.0507009873554805 * x, 1.7580993408473766 * n)",
            "y = tl.where(x > 0.0, 1.0507009873554805 * x, 1.7580993408473766 * libdevice.expm1(x))",
        ),
        numba_bad={"wrong_formula": "x if x > C(0.0) else C(1.6732632423543772) * (math.exp(x) - C(1.0))"},
        triton_bad={"wrong_formula": "tl.where(x > 0.0, x, 1.6732632423543772 * (tl.exp(x) - 1.0))"},
    ),
    Facts(
        "leaky_relu",
        "elementwise",
        "(x, negative_slope=0.01)",
        options=("negative_slope",),
        numba=("x if x > C(0.0) else x * negative_slope",),
        triton=("tl.where(x > 0.0, x, x * negative_slope)",),
        numba_bad={
            "option_ignored": "x if x > C(0.0) else x * C(0.01)",
            "wrong_formula": "max(x, x * negative_slope)",
        },
        triton_bad={
            "option_ignored": "tl.where(x > 0.0, x, x * 0.01)",
            "wrong_formula": "tl.maximum(x, x * negative_slope)",
        },
    ),
    Facts(
        "softplus",
        "elementwise",
        "(x, beta=1, threshold=20)",
        options=("beta", "threshold"),
        numba=(SOFTPLUS_NUMBA,),
        fast=SOFTPLUS_FAST,
        triton=(
            "t = x * beta\nlow = tl.where(t > threshold, threshold, t)\n"
            "y = tl.where(t > threshold, x, libdevice.log1p(tl.exp(low)) / beta)",
        ),
        numba_bad={
            "option_ignored": "x if x > C(20.0) else math.log1p(math.exp(x))",
            "overflow": "math.log1p(math.exp(x * beta)) / beta",
        },
        triton_bad={
            "option_ignored": "tl.where(x > 20.0, x, libdevice.log1p(tl.exp(x)))",
            "overflow": "tl.log(1.0 + tl.exp(x * beta)) / beta",
        },
    ),
    Facts(
        "clamp",
        "elementwise",
        "(x, min=None, max=None)",
        options=("low", "high"),
        integers=True,
        numba=("t = low if x < low else x\ny = high if t > high else t",),
        triton=("t = tl.where(x < low, low, x)\ny = tl.where(t > high, high, t)",),
        numba_bad={
            "nan_lost": "t = x if x > low else low\ny = t if t < high else high",
            "option_ignored": "t = low if x < low else x\ny = t",
            "wrong_formula": "t = high if x > high else x\ny = low if t < low else t",
        },
        triton_bad={
            "nan_lost": "tl.minimum(tl.maximum(x, low), high)",
            "option_ignored": "tl.where(x < low, low, x)",
            "wrong_formula": "t = tl.where(x > high, high, x)\ny = tl.where(t < low, low, t)",
        },
    ),
)
