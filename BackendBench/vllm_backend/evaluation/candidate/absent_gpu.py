"""Compiling for a GPU of which this process has no context: tensors without memory, and a driver that asks nobody.

- The driver makes contexts under one lock, 0.1 s each, and whoever needs it waits meanwhile. Who does not compile needs
  none, and others need theirs only when they are to run.
- Tensors are torch's FakeTensor: shape, strides and dtype. Triton asks them for their address, to see whether it is a
  multiple of sixteen; they have one that is as aligned as a real one.
- What a candidate keeps of such tensors or of that driver, a workspace or a figure, must not meet real ones:
  ``some_kept``.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

from ..memory.calls import ALIGNMENT
from .replaced import replaced

DEVICE = torch.device("cuda", 0)
MOST_BYTES = 1 << 40
"""Of all tensors of a dry run, freed ones and views as well: the first cases have some megabytes each."""


def figures(device: torch.device) -> dict[str, int]:
    """What compiling needs to know of a GPU, for ``absent``; asked by a process that has a context."""
    from cuda.bindings import driver

    from .. import conditions

    number = device.index or 0
    capability = conditions.gpu_capability(number)
    known = driver.CUdevice_attribute
    asked = {
        "max_shared_mem": known.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        "max_num_regs": known.CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK,
        "multiprocessor_count": known.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
        "warpSize": known.CU_DEVICE_ATTRIBUTE_WARP_SIZE,
        "sm_clock_rate": known.CU_DEVICE_ATTRIBUTE_CLOCK_RATE,
        "mem_clock_rate": known.CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE,
        "mem_bus_width": known.CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH,
    }
    found = {name: int(driver.cuDeviceGetAttribute(which, number)[1]) for name, which in asked.items()}
    return {**found, "capability": capability}


class _Properties(dict[str, int]):
    """Of a GPU, as Triton has them. A class of its own, to be found again: see ``some_kept``."""


class _Utils:
    def __init__(self, properties: Mapping[str, int]) -> None:
        self._properties = properties

    def get_device_properties(self, device: int) -> _Properties:
        """As Triton's."""
        return _Properties(self._properties)


class Driver:
    """What Triton asks its driver before a launch. What else a candidate may ask needs the real one."""

    def __init__(self, gpu: Mapping[str, int]) -> None:
        self._gpu = gpu
        self.utils = _Utils({name: value for name, value in gpu.items() if name != "capability"})

    @property
    def launcher_cls(self) -> Any:
        """Makes the launcher of a compiled kernel, which is the same with and without a context."""
        from triton.backends.nvidia.driver import CudaLauncher

        return CudaLauncher

    def get_current_target(self) -> Any:
        """Of Triton's compiler."""
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self._gpu["capability"], self._gpu["warpSize"])

    def get_current_device(self) -> int:
        """Its number; a candidate sees no other."""
        return 0

    def get_current_stream(self, device: int | None = None) -> int:
        """The default one."""
        return 0

    def get_active_torch_device(self) -> torch.device:
        """As torch calls it."""
        return DEVICE


@contextlib.contextmanager
def absent(gpu: Mapping[str, int]) -> Iterator[Pretended]:
    """Within this context torch makes tensors without memory and Triton compiles for ``gpu`` (see ``figures``), which
    nobody touches. Kernels must not be launched."""
    from triton.runtime.driver import driver

    active = "_active" if "_active" in vars(driver) else "active"  # the latter before Triton 3.5
    before = vars(driver)[active]  # not by asking for it: whoever is the first to do so asks for a GPU
    driver.set_active(Driver(gpu))
    try:
        with _without_memory() as pretended:
            yield pretended
    finally:
        setattr(driver, active, before)


@contextlib.contextmanager
def _without_memory() -> Iterator[Pretended]:
    """Within this context torch makes FakeTensors, and asks no driver whether there is a GPU for them."""
    with (
        # It makes a context where there is a GPU, for a backward pass that nobody runs here.
        replaced(fake_tensor, "init_gpu_context", lambda device: None),
        replaced(torch._C, "_ensureCUDADeviceGuardSet", lambda: None),
        replaced(FakeTensor, "data_ptr", _address),
        Pretended() as pretended,
        _Mode(),
    ):
        yield pretended


class _Mode(FakeTensorMode):
    avoid_device_init = True  # torch's own property asks the driver


class Pretended(TorchFunctionMode):
    """Before it makes a tensor contiguous torch's Python side asks the driver which GPU is the current one. And who
    makes tensors until there is no memory left would never end."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0
        self.refused = False
        """Whether a call of torch's has failed: it asked for a value, say."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Sequence[Any] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        named = named or {}
        if function is torch.Tensor.contiguous:
            wanted = {"memory_format": torch.contiguous_format, **named}
            (tensor,) = arguments
            return tensor if tensor.is_contiguous(**wanted) else tensor.clone(**wanted)
        try:
            result = function(*arguments, **named)
        except BaseException:
            self.refused = True
            raise
        if type(result) is FakeTensor:
            self._bytes += result.numel() * result.element_size()
            if self._bytes > MOST_BYTES:
                self.refused = True
                raise torch.OutOfMemoryError("out of memory, if there were any")
        return result


def _address(tensor: FakeTensor) -> int:
    start = tensor.untyped_storage()._cdata * ALIGNMENT  # every storage has another
    return start + int(tensor.storage_offset()) * tensor.element_size()


def some_kept() -> bool:
    """Whether a tensor without memory, its storage, or something of the driver is alive."""
    if not _some_alive():
        return False
    gc.collect()
    return _some_alive()


def _some_alive() -> bool:
    return any(
        type(thing) in (FakeTensor, Driver, _Utils, _Properties)
        or (type(thing) is torch.UntypedStorage and thing.device.type == "meta")
        for thing in gc.get_objects()
    )
