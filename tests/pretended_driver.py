"""A Hopper that nobody has: Triton compiles for it on any machine."""

from __future__ import annotations

import torch
from triton.backends.compiler import GPUTarget


class PretendedDriver:
    """What the JIT asks before it compiles."""

    class utils:
        """Limits of an H100."""

        @staticmethod
        def get_device_properties(device: int) -> dict[str, int]:
            return {
                "max_shared_mem": 232448,
                "multiprocessor_count": 132,
                "warpSize": 32,
                "max_num_regs": 65536,
            }

        @staticmethod
        def load_binary(*args: object) -> tuple[int, int, int, int, int]:
            return 0, 0, 0, 0, 1024

        @staticmethod
        def unload_module(*args: object) -> None:
            """Nothing was loaded."""

    @staticmethod
    def launcher_cls(source: object, metadata: object) -> None:
        """Nothing is launched."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_benchmarker(self) -> None:
        return None
