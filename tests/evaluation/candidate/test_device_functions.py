"""NVIDIA's mathematical functions in small pieces: the same machine code, and the whole library for what is rare."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from BackendBench.vllm_backend.evaluation.candidate.device_functions import Functions

pytest.importorskip("triton")

KERNELS = """
import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit
def common(x_ptr, y_ptr):
    i = tl.arange(0, 64)
    tl.store(x_ptr + i, tl.rsqrt(tl.load(x_ptr + i)) + tl.erf(tl.load(x_ptr + i)))
    tl.store(y_ptr + i, tl.exp(tl.load(y_ptr + i)))


@triton.jit
def rare(x_ptr, y_ptr):
    i = tl.arange(0, 64)
    tl.store(x_ptr + i, libdevice.j0(tl.load(x_ptr + i)) + tl.sin(tl.load(x_ptr + i)))
    tl.store(y_ptr + i, tl.exp(tl.load(y_ptr + i)))


@triton.jit
def none(x_ptr, y_ptr):
    i = tl.arange(0, 64)
    tl.store(x_ptr + i, tl.load(y_ptr + i).to(tl.float32))
"""
SCRIPT = """
import functools, hashlib, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import device_kernels as kernels
from triton._C.libtriton import llvm
from BackendBench.vllm_backend.evaluation.candidate import device_functions, triton_support, warm_kernel

types = {"x_ptr": "*fp32", "y_ptr": "*fp64"}

def codes():
    with triton_support.own_cache():
        return [
            hashlib.sha256(warm_kernel._compiled(k, 90, types, {}).asm["cubin"]).hexdigest()
            for k in (kernels.common, kernels.rare, kernels.none)
        ]

whole = llvm.link_extern_libs
usual, paths = codes(), []
def watched(module, given):
    paths.extend(given)
    whole(module, given)
llvm.link_extern_libs = watched
done = device_functions.install(functools.partial(triton_support._functions_afresh, 90))
paths.clear()
same = codes() == usual
print(json.dumps({"installed": done, "same": same, "linked": [Path(p).suffix for p in paths]}))
"""


def test_kernels_become_the_same_machine_code_with_small_libraries(tmp_path):
    (tmp_path / "device_kernels.py").write_text(KERNELS)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found == {"installed": True, "same": True, "linked": [".ll", ".bc"]}


REFUSED = """
from triton._C.libtriton import llvm
from BackendBench.vllm_backend.evaluation.candidate import device_functions

whole, codes = llvm.link_extern_libs, iter([b"one", b"another"])
assert not device_functions.install(lambda: next(codes))
assert llvm.link_extern_libs is whole
assert not device_functions.install(lambda: b"never linked anything")
assert llvm.link_extern_libs is whole
"""


def test_where_it_makes_a_difference_everything_stays_as_it_was():
    done = subprocess.run(
        [sys.executable, "-c", REFUSED], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


LINKED = """target datalayout = "e"
@table = internal global [1 x i32] zeroinitializer
define ptx_kernel void @kernel(ptr %0) {
  ret void
}

define internal float @__nv_one(float %a) #3 {
  %1 = call float @__nv_two(float %a)
  ret float %1
}

define internal float @__nv_two(float %a) #3 {
  ret float %a
}

define internal float @__nv_three(float %a) #3 {
  ret float %a
}

attributes #3 = { nounwind }
"""


def test_a_library_has_what_its_functions_call_and_no_more():
    functions = Functions(LINKED)
    assert functions.have(["__nv_one", "__nv_three"])
    assert not functions.have(["__nv_one", "__nv_four"])
    assert not functions.have(["kernel"])
    path = functions.library(["__nv_one"])
    assert functions.library(["__nv_one"]) == path
    text = Path(path).read_text()
    assert "define float @__nv_one" in text
    assert "define float @__nv_two" in text
    assert "__nv_three" not in text
    assert "@kernel" not in text
    assert "@table" in text
    assert "attributes #3" in text
    functions.forget()
    assert functions.library(["__nv_one"]) != path
    functions.forget()
