"""Compiles Triton files of this folder for sm_90 without a GPU.

``python -m tests.adversarial.triton_compiles compile [NAME...]``
A few kinds of cases each; prints the names of those that do not compile, with the error.
"""

from __future__ import annotations

import sys
import traceback

import torch
from triton.runtime import driver
from triton.runtime.autotuner import Autotuner

from BackendBench.vllm_backend.evaluation.candidate.loading import load_module
from BackendBench.vllm_backend.evaluation.candidate.triton_support import launches_suppressed
from BackendBench.vllm_backend.operations import catalog, trees
from tests.adversarial.candidate_files import CandidateFile, load
from tests.pretended_driver import PretendedDriver

KINDS = 2
"""Of cases; each compiles for its own dtype and for bfloat16."""


class Unwaited:
    """A stream that is not there."""

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def wait_stream(self, _: object) -> None: ...


def failure(file: CandidateFile) -> str:
    """'' or the error of the first case that does not compile."""
    seen = set()
    for case in catalog.resolve(file.operation).make_cases(torch.device("cpu"), 1):
        tensors = trees.tensors(case.call)
        kind = tuple((t.dtype, t.dim()) for t in tensors)
        if kind in seen or len(seen) == KINDS or any(t.dtype == torch.float64 for t in tensors):
            continue
        seen.add(kind)
        for call in (case.call, trees.map_call(_halved, case.call)):
            try:
                function = getattr(load_module(file.code, "candidate"), f"{file.operation}_kernel_impl")
                with launches_suppressed():
                    function(*call.args, **call.kwargs)
            except Exception as error:
                return f"{case.name}: " + "".join(traceback.format_exception(error)[-3:])
    return ""


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.bfloat16) if tensor.dtype == torch.float32 else tensor


def main(names: list[str]) -> int:
    """Exit code: 1 if something does not compile."""
    driver.set_active(PretendedDriver())
    Autotuner.run = lambda self, *args, **kwargs: self.fn.run(  # type: ignore[method-assign]
        *args, **{**kwargs, **self.configs[0].all_kwargs()}
    )
    torch.cuda.Stream = torch.cuda.stream = torch.cuda.current_stream = Unwaited  # type: ignore[assignment,misc]
    triton = [f for f in load("controls", "cuda") if f.header.get("dsl") != "cuda"]
    found = {f.name: failure(f) for f in triton if f.name in names or not names}
    for name, text in found.items():
        if text:
            print(name, text)
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))  # the first says what, to triton_alone as well
