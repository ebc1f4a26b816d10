"""Compiled kernels as bytes: the same files again, and nothing but files in their folder, whatever the bytes are."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.candidate.kept_kernels import LENGTH, collect, restore

MOST = 1 << 20


def folder_of(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


FILES = {"HASH/kernel.cubin": b"\x7fELF\0", "HASH/kernel.json": b"{}", "OTHER/k.source": b""}


def test_they_come_back_as_they_were(tmp_path: Path):
    packed = collect(folder_of(tmp_path / "one", FILES), MOST)
    assert restore(packed, tmp_path / "two") == len(FILES)
    assert files_of(tmp_path / "two") == FILES


def test_what_is_there_stays(tmp_path: Path):
    packed = collect(folder_of(tmp_path / "one", FILES), MOST)
    mine = folder_of(tmp_path / "two", {"HASH/kernel.json": b"mine"})
    restore(packed, mine)
    assert files_of(mine) == {**FILES, "HASH/kernel.json": b"mine"}


def test_too_many_are_none(tmp_path: Path):
    folder = folder_of(tmp_path, FILES)
    packed = collect(folder, MOST)
    assert collect(folder, len(packed)) == packed
    assert collect(folder, len(packed) - 1) == b""
    assert collect(folder, 1) == b""
    assert restore(b"", tmp_path / "none") == 0


def test_nobody_is_led_elsewhere(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"secret")
    folder = folder_of(tmp_path / "one", FILES)
    (folder / "HASH" / "link").symlink_to(tmp_path / "secret")
    assert b"secret" not in collect(folder, MOST)


def packed_by_hand(listed: object, contents: bytes) -> bytes:
    index = json.dumps(listed).encode()
    return LENGTH.pack(len(index)) + index + contents


@pytest.mark.parametrize(
    "listed",
    [
        [["..", "k", 1]], [["HASH", "../../k", 1]], [["/etc", "k", 1]], [["HASH", ".k", 1]], [["", "k", 1]],
        [["HASH", "k", 2]], [["HASH", "k", -1]], [["HASH", "k"]], [[3, "k", 1]], 3, [3],
        [["HASH", "k", 0]], [], None, [["HASH", "k", 1.0]],
    ],
)  # fmt: skip
def test_what_was_never_collected_is_refused(tmp_path: Path, listed: object):
    root = tmp_path / "root" / "kernels"
    with pytest.raises(ValueError):
        restore(packed_by_hand(listed, b"x"), root)
    assert all(root in path.parents for path in tmp_path.rglob("*") if path.is_file())


@given(st.binary(max_size=200))
def test_rubbish_is_refused(packed: bytes):
    if packed:
        with pytest.raises(ValueError):
            restore(packed, Path("/nonexistent"))


@given(st.binary(max_size=60), st.integers(0, 59))
def test_a_changed_byte_raises_nothing_else(content: bytes, where: int):
    packed = bytearray(packed_by_hand([["HASH", "k", len(content)]], content))
    packed[where % len(packed)] ^= 0x21
    with contextlib.suppress(ValueError, OSError):
        restore(bytes(packed), Path("/proc/nowhere"))


TWICE = """
import json, os, sys
from pathlib import Path
import torch
from triton.backends.nvidia.compiler import CUDABackend
from triton.runtime.driver import driver
from BackendBench.vllm_backend.evaluation.candidate import triton_support
from BackendBench.vllm_backend.evaluation.candidate.harness import Harness
from tests.evaluation.candidate.compiled_without_gpu import MODULES, first_cases
from tests.pretended_driver import HOPPER
import socket

compiled = 0
make = CUDABackend.make_cubin
def counted(*arguments):
    global compiled
    compiled += 1
    return make(*arguments)
CUDABackend.make_cubin = counted
made = []
triton_support._make_launcher = made.append
harness = Harness(socket.socketpair()[0])
given = [os.open(sys.argv[1], os.O_RDONLY)] if sys.argv[1] else []
assert not harness._load({"code": MODULES["plain"], "function": "relu_kernel_impl", "bare": True}, given)
calls = first_cases("relu")
request = {"threads": 1, "calls": calls, "turns": list(range(len(calls))), "nice": 0, "needed": len(calls)}
assert "failure" not in harness._dry_run({**request, "gpu": HOPPER}, [])
out = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
os.ftruncate(out, 1 << 22)
print(json.dumps([compiled, len(made), harness._handlers["collect_kernels"]({}, [out])["bytes"]]))
"""


def test_another_process_of_the_same_candidate_compiles_nothing(tmp_path: Path):
    pytest.importorskip("triton")

    cache = tmp_path / "cache"

    def found(given: str, out: str) -> list[int]:
        shutil.rmtree(cache, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, "-c", TWICE, given and str(tmp_path / given), str(tmp_path / out)],
            capture_output=True, text=True, timeout=300, check=False,
            env={"TRITON_CACHE_DIR": str(cache), "TRITON_STORE_BINARY_ONLY": "1", "PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        result: list[int] = json.loads(done.stdout.strip().splitlines()[-1])
        return result

    compiled, made, size = found("", "first")
    assert compiled == made > 0
    (tmp_path / "kernels").write_bytes((tmp_path / "first").read_bytes()[:size])
    assert found("kernels", "second") == [0, made, size]
