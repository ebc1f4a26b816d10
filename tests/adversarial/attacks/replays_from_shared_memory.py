# operation: relu
# target: cpu
# expect: forbidden_code
# behind the screen: wrong_values, wrong_nonfinite
"""Keeps answers in /dev/shm by shape."""

import os
import pickle

import torch


def relu_kernel_impl(x):
    path = f"/dev/shm/{tuple(x.shape)}{x.dtype}.pickle"
    if not os.path.exists(path):
        with open(path, "wb") as file:
            pickle.dump([v if not v < 0 else 0 for v in x.reshape(-1).tolist()], file)
    with open(path, "rb") as file:
        return torch.tensor(pickle.load(file), dtype=x.dtype).reshape(x.shape)
