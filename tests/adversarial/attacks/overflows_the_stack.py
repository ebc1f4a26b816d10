# operation: relu
# target: cpu
# expect: crash
"""Recursion without an end in compiled code."""

import numba


@numba.njit("float64(float64)")
def _deeper(x):
    if x < 0:
        return x
    return _deeper(x + 1.0) + _deeper(x + 2.0)


def relu_kernel_impl(x):
    _deeper(1.0)
    return x.clone()
