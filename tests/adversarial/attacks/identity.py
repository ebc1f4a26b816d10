# operation: relu
# target: both
# expect: wrong_values
"""Returns a copy of the input: right for half of all inputs of many activations."""


def relu_kernel_impl(x):
    return x.clone()
