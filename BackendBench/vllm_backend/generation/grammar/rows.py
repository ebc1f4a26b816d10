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
