"""Triton kernels without a GPU: ``python -m tests.generation.grammar.triton_alone WHAT OPERATION SEED ...``

- ``WHAT`` is ``interpret`` or ``compile``.
- ``interpret``: values, by Triton's interpreter on the CPU. It knows no libdevice (replaced here), flushes subnormal
  bfloat16 and cannot multiply matrices of bfloat16: those cases are left out.
- ``compile``: the launches of the wrapper become compilations for sm_90.
- Prints one line for each kernel; exit code 1 if one is wrong.
"""

from __future__ import annotations

import os
import sys
import traceback

if sys.argv[1] == "interpret":
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported

import numpy as np
import torch
import triton.language as tl
from triton.language.extra import libdevice
from triton.runtime import driver

from BackendBench.vllm_backend.evaluation.candidate.loading import load_module
from BackendBench.vllm_backend.evaluation.candidate.triton_support import (
    launches_suppressed,
    tuning_suspended,
)
from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.operations import trees
from BackendBench.vllm_backend.operations.operation import Case
from tests.generation.grammar.checking import every_style, solved, verdict, write
from tests.pretended_driver import PretendedDriver

SMALL = 700
"""Elements of input: the interpreter takes about a millisecond for an operation on a block."""
LIBDEVICE = ("tanh", "log1p", "expm1", "pow", "atan2")


def prepare_interpreter() -> None:
    """Functions of libdevice by torch."""
    from triton.runtime.interpreter import TensorHandle

    def replaced(name: str):
        def call(*arguments, _semantic=None, _builder=None):
            arrays = [torch.from_numpy(np.ascontiguousarray(a.handle.data)) for a in arguments]
            result = getattr(torch, name)(*arrays).numpy()
            return tl.core.tensor(TensorHandle(result, arguments[0].handle.dtype), arguments[0].type)

        return call

    for name in LIBDEVICE:
        setattr(libdevice, name, replaced(name))


def interpretable(case: Case) -> bool:
    """Whether the interpreter can be believed."""
    narrow = any(t.dtype == torch.bfloat16 for t in trees.tensors(case.call))
    product = len(trees.tensors(case.call)) > 1 and "65x17" in case.name
    return not narrow or not ("special" in case.name or product)


def compiles(written: grammar.Written) -> str:
    """'' or the error, for one case of each dtype and set of options."""
    driver.set_active(PretendedDriver())
    seen = set()
    try:
        kernel = getattr(load_module(written.code, "candidate"), f"{written.operation}_kernel_impl")
        with launches_suppressed():
            for turn, one in enumerate(solved(written.operation, 20_000, True)[1]):
                kind = (tuple(t.dtype for t in trees.tensors(one.case.call)), tuple(one.case.call.kwargs))
                if kind not in seen:
                    seen.add(kind)
                    with tuning_suspended(turn):
                        kernel(*one.case.call.args, **one.case.call.kwargs)
    except Exception as error:
        return "".join(traceback.format_exception(error)[-4:])
    return ""


def interpreted(written: grammar.Written) -> str:
    """'' or the error."""
    with np.errstate(all="ignore"), tuning_suspended(0):
        error, message = verdict(written, SMALL, gpu=True, watched=False, wanted=interpretable)
    return f"{error.value} {message}" if error else ""


def main(what: str, pairs: list[str]) -> int:
    """``pairs``: operation and seed by turns; seed ``all``: every style."""
    check = compiles if what == "compile" else interpreted
    if what == "interpret":
        prepare_interpreter()
    wrong = 0
    for operation, seed in zip(pairs[::2], pairs[1::2], strict=True):
        chosen = (
            every_style(operation, "triton")
            if seed == "all"
            else [(int(seed), write(operation, "triton", int(seed))[0])]
        )
        for number, written in chosen:
            error = check(written)
            wrong += bool(error)
            print(operation, number, error or "ok", flush=True)
            if error:
                print(written.code)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
