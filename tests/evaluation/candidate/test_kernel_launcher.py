"""The launcher for all kernels: every argument arrives in the bytes that a kernel reads. The driver only tells."""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from BackendBench.vllm_backend.evaluation.candidate import launcher_stubs

HERE = Path(__file__).parent
SCRATCH = "88"
"""Two pointers follow a kernel's own arguments."""
NONE = " 0000000000000000" * 2

Launch = Callable[[list[dict[str, Any]]], list[str]]


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """Launches in a process of their own: this one must not believe that it has a GPU."""
    triton = pytest.importorskip("triton")
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("launcher")
    headers = Path(triton.__file__).parent / "backends" / "nvidia" / "include"
    command = [compiler, "-shared", "-fPIC", "-O1", f"-I{headers}", f"-I{sysconfig.get_paths()['include']}"]
    source = Path(launcher_stubs.__file__).with_name("kernel_launcher.c")
    strict = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
    for text, to, flags in (
        (HERE / "pretended_cuda.c", "libcuda.so.1", ["-Wl,-soname,libcuda.so.1"]),
        (source, "kernel_launcher.so", strict),
    ):
        subprocess.run([*command, *flags, str(text), "-o", str(folder / to)], check=True)

    def run(asked: list[dict[str, Any]]) -> list[str]:
        done = subprocess.run(
            [sys.executable, str(HERE / "launch_pretended.py"), str(folder)],
            input=json.dumps(asked), capture_output=True, text=True, check=True,
        )  # fmt: skip
        answers: list[str] = json.loads(done.stdout)
        return answers

    return run


def _bfloat16(value: float) -> bytes:
    return struct.pack("<f", value)[2:]


def _integers(low: int, high: int) -> Callable[[random.Random], Any]:
    return lambda rng: rng.choice([low, high, rng.randint(low, high), 0])


def _float(rng: random.Random) -> Any:
    return rng.choice([0.0, -1.0, 1, rng.uniform(-100, 100)])


ARGUMENTS: dict[str, tuple[Callable[[random.Random], Any], Callable[[Any], bytes]]] = {
    "b": (_integers(0, 127), lambda v: struct.pack("<B", v)),
    "h": (_integers(-(1 << 15), (1 << 15) - 1), lambda v: struct.pack("<h", v)),
    "i": (_integers(-(1 << 31), (1 << 31) - 1), lambda v: struct.pack("<i", v)),
    "L": (_integers(-(1 << 63), (1 << 63) - 1), lambda v: struct.pack("<q", v)),
    "B": (_integers(0, 255), lambda v: struct.pack("<B", v)),
    "H": (_integers(0, (1 << 16) - 1), lambda v: struct.pack("<H", v)),
    "I": (_integers(0, (1 << 32) - 1), lambda v: struct.pack("<I", v)),
    "K": (_integers(0, (1 << 64) - 1), lambda v: struct.pack("<Q", v)),
    "e": (_float, lambda v: struct.pack("<e", v)),
    "y": (_float, _bfloat16),
    "f": (_float, lambda v: struct.pack("<f", v)),
    "d": (_float, lambda v: struct.pack("<d", v)),
    "P": (
        lambda rng: rng.choice([None, 1 << 40, {"tensor": 0}, {"tensor": rng.randint(4096, (1 << 48) - 1)}]),
        lambda v: struct.pack("<Q", (v["tensor"] if isinstance(v, dict) else v) or 0),
    ),
}
"""For each kind values that it takes, and the bytes that a kernel reads."""


def test_whatever_the_arguments_are_a_kernel_reads_their_bytes(launch: Launch):
    rng, asked, expected = random.Random(0), [], []
    for _ in range(200):
        kinds = "".join(rng.choice([*ARGUMENTS, "-"]) for _ in range(rng.randint(0, 40)))
        values = [ARGUMENTS[k][0](rng) if k != "-" else {"object": 0} for k in kinds]
        passed = [ARGUMENTS[k][1](v) for k, v in zip(kinds, values, strict=True) if k != "-"]
        sizes = "".join(str(len(p)) for p in passed) + SCRATCH
        asked.append({"kinds": kinds, "sizes": sizes, "arguments": values})
        expected.append("1,1,1 128,1,1 0 0" + "".join(f" {p.hex()}" for p in passed) + NONE)
    assert launch(asked) == expected


def test_every_kind_that_triton_names_is_known_here(launch: Launch):
    assert {*launcher_stubs.KINDS.values(), launcher_stubs.POINTER} == {*ARGUMENTS, "-"}


def test_grid_size_and_attributes_arrive(launch: Launch):
    one: dict[str, Any] = {"kinds": "", "sizes": SCRATCH, "arguments": []}
    asked = [
        {**one, "grid": [7, 5, 3], "metadata": [8, 1, 4096], "stream": 0x7F00},
        {**one, "grid": [7, 5, 3], "metadata": [4, 2, 0], "cooperative": 1, "dependent": 1},
        {**one, "metadata": [4, 16, 0]},
        {**one, "hooks": True, "profile": 1 << 33},
        {**one, "grid": [0, 5, 3], "hooks": True},
        {**one, "grid": [65536, 65536, 1]},
        {**one, "dependent": 1},
        {**one, "cooperative": 1},
    ]
    assert launch(asked) == [
        "7,5,3 256,1,1 4096 7f00" + NONE,
        "14,5,3 128,1,1 0 0 dependent=1 cooperative=1 cluster=2,1,1 spread=1" + NONE,
        "16,1,1 128,1,1 0 0 cluster=16,1,1 spread=1 allowed=1" + NONE,
        "1,1,1 128,1,1 0 0 0000000000000000 0000000002000000 hook hook",
        "nothing hook hook",
        "nothing",  # as Triton has it: the product does not fit an int
        "1,1,1 128,1,1 0 0 dependent=1" + NONE,
        "1,1,1 128,1,1 0 0 cooperative=1" + NONE,
    ]


@pytest.mark.parametrize(
    ("kinds", "arguments", "error"),
    [
        ("P", [{"tensor": 8}], "ValueError: Pointer argument (at 0) cannot be accessed from Triton (cpu tensor?)"),
        ("-P", [0, {"object": 0}], "TypeError: Pointer argument must be either uint64 or have data_ptr method"),
        ("P", [-1], "OverflowError: "),
        ("i", [1 << 31], "OverflowError: "),
        ("i", [None], "TypeError: "),
        ("f", ["1"], "TypeError: "),
        ("ii", [1], "TypeError: the kernel takes 2 arguments, 1 given"),
        ("i", [1, 1], "TypeError: the kernel takes 1 arguments, 2 given"),
        ("i" * 129, [1] * 129, "TypeError: "),
    ],
)  # fmt: skip
def test_what_cannot_be_passed_is_an_error_and_nothing_is_launched(
    launch: Launch, kinds: str, arguments: list[Any], error: str
):
    (answer,) = launch([{"kinds": kinds, "sizes": "", "arguments": arguments}])
    assert answer.startswith(f"nothing {error}")


def test_what_the_driver_refuses_is_an_error(launch: Launch):
    (answer,) = launch([{"kinds": "", "sizes": "fails", "arguments": []}])
    assert answer == "nothing RuntimeError: Triton Error [CUDA]: pretended"
