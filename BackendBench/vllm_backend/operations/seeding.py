"""Random numbers from a seed, for code that draws from the global generators (OpInfo, users' files).

- Python's, NumPy's and torch's generators are seeded, and put back as they were afterwards.
- On a GPU that GPU's generator too; other GPUs are left alone, they may belong to somebody else.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def seeded_everywhere(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """All generators seeded with ``seed`` (any int) for code that makes tensors on the CPU and on ``device``."""
    python, numpy = random.getstate(), np.random.get_state()
    gpus = _gpu_index(device)
    with torch.random.fork_rng(devices=gpus), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        for index in gpus:
            torch.cuda.default_generators[index].manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _gpu_index(device: torch.device | None) -> list[int]:
    if device is None or device.type != "cuda":
        return []
    return [torch.cuda.current_device() if device.index is None else device.index]
