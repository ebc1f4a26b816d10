# operation: relu
# target: both
# expect: forbidden_code
# behind the screen: leftover_work
"""A thread that does nothing yet."""

import threading
import time

import torch


def relu_kernel_impl(x):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return torch.tensor([v if not v < 0 else 0 for v in x.reshape(-1).tolist()], dtype=x.dtype,
                        device=x.device).reshape(x.shape)  # fmt: skip
