"""Operations whose kernels are written row by row: normalisation, reduction, matmul. Their formulas are in templates.

``numba``/``triton`` hold one empty formula where there is a template; ``*_bad`` name the wrong formulas that it knows.
"""

from __future__ import annotations

from .facts import Facts, table

PLAIN = ("",)


def _norm(name: str, signature: str, *bad: str) -> Facts:
    return Facts(
        name, "normalisation", signature, PLAIN, PLAIN, dict.fromkeys(bad, ""), dict.fromkeys(bad, "")
    )


NORMALISATION = table(
    _norm("softmax", "(x, dim, dtype=None)", "overflow", "option_ignored"),
    _norm("log_softmax", "(x, dim, dtype=None)", "overflow", "option_ignored", "cancellation"),
    _norm("layer_norm", "(input, normalized_shape, weight=None, bias=None, eps=1e-05)",
          "wrong_formula", "cancellation", "option_ignored"),
    _norm("rms_norm", "(input, normalized_shape, weight=None, eps=None)", "wrong_formula", "option_ignored"),
    _norm("group_norm", "(input, num_groups, weight=None, bias=None, eps=1e-05)",
          "wrong_formula", "cancellation", "option_ignored"),
    _norm("batch_norm", "(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, "
          "eps=1e-05)", "wrong_formula", "option_ignored"),
)  # fmt: skip


def _product(name: str, signature: str, *bad: str) -> Facts:
    return Facts(name, "matmul", signature, PLAIN, PLAIN, dict.fromkeys(bad, ""), dict.fromkeys(bad, ""))


MATMUL = table(
    _product("matmul", "(a, b)", "wrong_formula"),
    _product("mm", "(a, b)", "wrong_formula"),
    _product("bmm", "(a, b)", "wrong_formula"),
    _product("mv", "(a, v)", "wrong_formula"),
    _product("addmm", "(c, a, b, *, beta=1, alpha=1)", "wrong_formula"),
    _product("baddbmm", "(c, a, b, *, beta=1, alpha=1)", "wrong_formula"),
    _product("linear", "(input, weight, bias=None)", "wrong_formula"),
)

DIM = "x, dim=None, keepdim=False"


def _reduction(name: str, signature: str, *bad: str, integers: bool = False) -> Facts:
    wrong = dict.fromkeys(bad, "")
    return Facts(name, "reduction", signature, PLAIN, PLAIN, wrong, wrong, integers=integers)


REDUCTION = table(
    _reduction("sum", f"({DIM}, *, dtype=None)", "option_ignored", integers=True),
    _reduction("mean", f"({DIM}, *, dtype=None)", "option_ignored"),
    _reduction("amax", "(x, dim=(), keepdim=False)", "nan_lost", integers=True),
    _reduction("amin", "(x, dim=(), keepdim=False)", "nan_lost", integers=True),
    _reduction("logsumexp", "(x, dim, keepdim=False)", "overflow"),
    _reduction(
        "var",
        "(x, dim=None, *, correction=1, keepdim=False)",
        "wrong_formula",
        "option_ignored",
        "cancellation",
    ),
    _reduction("argmax", f"({DIM})", "nan_lost", "wrong_formula", integers=True),
    _reduction("cumsum", "(x, dim, *, dtype=None)", "wrong_formula", "option_ignored", integers=True),
    _reduction(
        "vector_norm", "(x, ord=2, dim=None, keepdim=False, *, dtype=None)", "option_ignored", "nan_lost"
    ),
)
