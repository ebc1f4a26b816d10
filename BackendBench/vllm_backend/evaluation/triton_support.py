"""What the harness needs of Triton: compiling ahead of the first launch, and a shared driver stub.

- Compiling is work for a core, launching is work for the GPU; a candidate compiles while another one is timed.
- ``launches_suppressed`` turns every launch into ``warmup``, which compiles and returns.
- Autotuners that ran meanwhile have timed nothing; their choices are forgotten afterwards.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def launches_suppressed() -> Iterator[None]:
    """Within this context a Triton kernel is compiled for its arguments and not launched."""
    from triton.runtime.autotuner import Autotuner
    from triton.runtime.jit import JITFunction

    launch = JITFunction.run
    choose = Autotuner.run

    def compile_only(self: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["warmup"] = True
        return launch(self, *args, **kwargs)

    def first_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Compile every configuration, choose none."""
        for config in self.configs:
            self.fn.run(*args, **{**kwargs, **config.all_kwargs()})

    JITFunction.run = compile_only
    Autotuner.run = first_config
    try:
        yield
    finally:
        JITFunction.run = launch
        Autotuner.run = choose


def forget_autotuning() -> None:
    """Drop every autotuner's choice: used after anything that ran it under odd conditions."""
    from triton.runtime.autotuner import Autotuner

    for thing in gc.get_objects():
        if isinstance(thing, Autotuner):
            thing.cache.clear()


def warm_driver() -> None:
    """Build and load Triton's driver stub (about 1 s of gcc) in the warm server, without touching a GPU."""
    from triton.backends.nvidia.driver import CudaUtils

    CudaUtils()
