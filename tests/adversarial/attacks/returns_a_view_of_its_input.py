# operation: relu
# target: both
# expect: aliased_output
"""Returns a view that looks like a tensor of its own."""


def relu_kernel_impl(x):
    return x.reshape(-1).view(x.shape) if x.is_contiguous() else x.expand(x.shape)
