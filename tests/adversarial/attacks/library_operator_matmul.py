# operation: matmul
# target: both
# expect: library_call
"""The standard library's name for torch's matrix product."""

import operator


def matmul_kernel_impl(a, b):
    return operator.matmul(a, b)
