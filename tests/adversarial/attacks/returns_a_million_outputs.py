# operation: relu
# target: both
# expect: wrong_structure
"""An answer whose description would be larger than any message."""


def relu_kernel_impl(x):
    return (x.clone(),) * 1000000
