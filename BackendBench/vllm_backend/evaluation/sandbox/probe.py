"""Which layers this machine has: each is tried in a throw-away process, none is assumed."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import filter, landlock
from .process import SandboxError, spawn
from .spec import LAYERS, STRONGEST, Layer, SandboxSpec

PROBE_SECONDS = 30.0
MENDS = {
    "namespaces": "allow user namespaces: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; in a container: "
    "--security-opt seccomp=unconfined --security-opt systempaths=unconfined",
    "seccomp": "apt-get install libseccomp2 && pip install pyseccomp",
    "landlock": "a Linux kernel of 5.13 or later with landlock among its LSMs",
    "cgroup": "run as root, or delegate a cgroup with the memory and pids controllers",
    "rlimits": "nothing: every Linux has them",
}  # fmt: skip


@dataclass(frozen=True)
class Layers:
    """What was found."""

    active: tuple[Layer, ...]
    missing: dict[str, str]
    """Layer to why it cannot be had."""

    @property
    def strong(self) -> bool:
        """Whether the layers that matter most are there."""
        return set(self.active) >= STRONGEST

    def __str__(self) -> str:
        text = ", ".join(self.active) or "none"
        return f"{text}; missing: {', '.join(self.missing)}" if self.missing else text

    def mend(self) -> str:
        """What to do about the missing layers."""
        return "; ".join(f"{name}: {MENDS[name]}" for name in self.missing)


@functools.cache
def probe() -> Layers:
    """The layers of this machine; about a second, in a process of its own, once."""
    package = __package__ or ""
    top = Path(__file__).resolve().parents[package.count(".") + 1]
    done = subprocess.run(
        [sys.executable, "-m", f"{package}.probe"], capture_output=True, text=True, timeout=PROBE_SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(top), *[p for p in sys.path if p]])}, check=False,
    )  # fmt: skip
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return Layers((), dict.fromkeys(LAYERS, f"the probe failed: {done.stderr[-200:]}"))
    return Layers(tuple(found["active"]), found["missing"])


def examine() -> Layers:
    """Try every layer here and now; forks."""
    missing: dict[str, str] = {}
    for layer in LAYERS:
        reason = _try(layer)
        if reason:
            missing[layer] = reason
    return Layers(tuple(layer for layer in LAYERS if layer not in missing), missing)


def _try(layer: Layer) -> str:
    """'' where the layer works, else why not."""
    if layer == "landlock" and not landlock.abi():
        return "the kernel has no Landlock"
    if layer == "seccomp" and filter.available():
        return filter.available()
    spec = SandboxSpec(memory_bytes=1 << 30, tmp_bytes=1 << 20, processes=64, target="cuda", layers=(layer,))
    try:
        child = spawn(spec, lambda: os._exit(0))
    except (SandboxError, OSError) as error:
        return str(error)
    status = child.wait()
    os.close(child.pidfd)
    return "" if status == 0 else f"a process behind it ended with status {status}"


if __name__ == "__main__":
    result = examine()
    print(json.dumps({"active": result.active, "missing": result.missing}))
