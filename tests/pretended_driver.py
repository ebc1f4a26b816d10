"""A Hopper that nobody has: Triton compiles for it on any machine."""

from __future__ import annotations

import torch

from BackendBench.vllm_backend.evaluation.candidate import absent_gpu

HOPPER = {
    "capability": 90, "max_shared_mem": 232448, "max_num_regs": 65536, "multiprocessor_count": 132, "warpSize": 32,
    "sm_clock_rate": 1980000, "mem_clock_rate": 2619000, "mem_bus_width": 5120,
}  # fmt: skip
"""Of an H100, as ``absent_gpu.figures`` would have them."""


class PretendedDriver(absent_gpu.Driver):
    """What the JIT asks before it compiles, and when it loads and launches what it has compiled."""

    def __init__(self) -> None:
        super().__init__(HOPPER)
        self.utils.load_binary = lambda *arguments: (0, 0, 0, 0, 1024)
        self.utils.unload_module = lambda *arguments: None

    @staticmethod
    def launcher_cls(source: object, metadata: object) -> None:
        """Nothing is launched."""

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_benchmarker(self) -> None:
        return None
