# operation: relu
# target: both
# needs: cgroup
# expect: forbidden_code
# behind the screen: runtime_error, leftover_work
"""Starts threads until something gives."""

import threading
import time


def relu_kernel_impl(x):
    for _ in range(100000):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return x.clone()
