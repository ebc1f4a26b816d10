# operation: relu
# target: both
# expect: library_call
# behind the screen: library_call
"""A module that holds a layer of the library."""

import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.ReLU()

    def forward(self, x):
        return self.layer(x)


MODEL = Model()


def relu_kernel_impl(x):
    return MODEL(x)
