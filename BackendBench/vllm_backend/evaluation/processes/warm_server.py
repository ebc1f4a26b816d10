"""The warm server: a process that has imported everything slow and forks one sandboxed child per candidate.

- It has no GPU context, no Redis connection, no secret and an empty environment: a child inherits nothing.
- It is single-threaded and runs no candidate code itself. So nothing here asks NVIDIA's libraries for anything, NVML
  included: CUDA's driver starts a thread then, which makes pipes while processes are forked, and once filled the table
  of open files.
- The judge sends ``spawn`` with the child's end of a socket pair and ``kill``; the server reports ``spawned``
  and ``exited`` with the wait status. It ends when the judge hangs up: it kills every child then, and waits for them.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import faulthandler
import gc
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from ..failure import PASSING
from ..sandbox import SandboxedChild, SandboxSpec, kill_tree, limits, spawn
from ..sandbox.process import MOST_DESCRIPTORS
from . import wire

CHANNEL = 3
"""A candidate's descriptor of its channel to the judge."""

PTXAS_TUNABLES = "glibc.malloc.hugetlb=1"
"""For what a candidate starts: half of the 10 ms that ptxas needs to begin are page faults, and huge pages take most of
them away. Not with the rest of the environment (warm_pool.py), where it would hold for this process as well, whose
memory every candidate copies page by page. Other C libraries know no such variable."""


END_SECONDS = 3.0
"""How long it waits for its children when it ends: a context takes up to a second to go, and they go one after the
other. What a GPU does not let go is left to the kernel."""


def preload(target: str, capability: int) -> None:
    """Import what candidates import, so that children get it for nothing. ``capability``: of their GPU."""
    import torch

    from ..candidate import harness as candidate  # noqa: F401
    from ..candidate.compute_watch import ComputeWatch
    from ..memory import arena, calls  # noqa: F401

    with (
        ComputeWatch()
    ):  # torch imports 900 modules when the first such mode is entered: 2 s of every candidate
        torch.empty(1).clone()
    from ..sandbox import filter

    filter.available()  # imports what a child behind its walls could not find any more

    if target == "cuda":
        import triton.language  # noqa: F401

        from ..candidate import absent_gpu  # noqa: F401
        from ..candidate.triton_support import warm

        warm(capability)
        os.environ["GLIBC_TUNABLES"] = PTXAS_TUNABLES
        import cuda.bindings.driver  # noqa: F401

    with contextlib.suppress(ImportError):
        warm_numba()


def warm_numba() -> None:
    """Compile one tiny kernel: sets up Numba's typing machinery, about 1 s of every first compile."""
    import numba
    import numpy as np

    @numba.njit
    def first(x: Any, y: Any) -> None:
        for i in range(x.size):
            y[i] = x[i] + 1.0

    first(np.zeros(4, np.float32), np.zeros(4, np.float32))


class WarmServer:
    """Event loop of the warm server."""

    def __init__(self, control: socket.socket, spec: SandboxSpec) -> None:
        self._control = control
        self._spec = spec
        self._children: dict[str, SandboxedChild] = {}
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._tokens: dict[int, str] = {}

    def serve(self) -> None:
        """Until the judge hangs up."""
        try:
            while True:
                for descriptor, _ in self._poll.poll():
                    if descriptor == self._control.fileno():
                        self._handle(*wire.receive(self._control))
                    else:
                        self._reap(self._tokens[descriptor])
        except (wire.WireClosed, ConnectionError):
            pass
        finally:
            self._end()

    def _end(self) -> None:
        for child in self._children.values():
            kill_tree(child)
        last = time.monotonic() + END_SECONDS
        for child in self._children.values():
            dead = select.poll()
            dead.register(child.pidfd, select.POLLIN)
            if dead.poll(1e3 * max(0.0, last - time.monotonic())):
                child.wait()  # its group can be deleted then

    def _handle(self, request: dict[str, Any], descriptors: list[int]) -> None:
        if request["do"] == "spawn":
            self._spawn(request["token"], descriptors)
        elif request["do"] == "kill" and request["token"] in self._children:
            kill_tree(self._children[request["token"]])

    def _spawn(self, token: str, descriptors: list[int]) -> None:
        try:
            if not descriptors:  # none was free for it
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            child = spawn(self._spec, lambda: self._child_main(descriptors[0]), descriptors)
        except Exception as error:
            self._failed(token, f"{error}"[:500])
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._children[token] = child
        self._tokens[child.pidfd] = token
        self._poll.register(child.pidfd, select.POLLIN)
        wire.send(self._control, {"event": "spawned", "token": token, "pid": child.pid})

    def _failed(self, token: str, text: str) -> None:
        if f"[Errno {errno.EMFILE}]" in text:
            text += f" ({_open_files()} for {len(self._children)} children)"
        passing = any(f"[Errno {number}]" in text for number in PASSING)
        wire.send(self._control, {"event": "failed", "token": token, "error": text, "passing": passing})

    def _child_main(self, descriptor: int) -> None:
        """Runs in the child, which has no other descriptor of the server's."""
        from ..candidate import harness as candidate

        faulthandler.unregister(signal.SIGUSR1)
        self._control.detach()  # it is closed; its number is somebody else's soon
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        output = os.memfd_create("output")  # counted as its memory, never read, and its length is a symptom
        for stream, target in ((0, null), (1, output), (2, output)):
            os.dup2(target, stream)
        os.close(null)
        os.close(output)
        candidate.main(_renumbered(descriptor))

    def _reap(self, token: str) -> None:
        child = self._children.pop(token)
        self._poll.unregister(child.pidfd)
        del self._tokens[child.pidfd]
        status = child.wait()
        kill_tree(child)  # whatever it left behind goes with it
        os.close(child.pidfd)
        wire.send(self._control, {"event": "exited", "token": token, "status": status})


def _renumbered(descriptor: int) -> int:
    """The same for every child: its number would tell how many others there are."""
    if descriptor != CHANNEL:
        os.dup2(descriptor, CHANNEL, inheritable=False)
        os.close(descriptor)
    return CHANNEL


def _open_files() -> str:
    """How many descriptors are open, and what most of them are."""
    kinds: Counter[str] = Counter()
    for number in range(MOST_DESCRIPTORS):  # listing the folder would take a descriptor
        with contextlib.suppress(OSError):
            kinds[str(Path(f"/proc/self/fd/{number}").readlink()).partition(":[")[0]] += 1
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))


def main() -> None:
    """``python -m ...evaluation.processes.warm_server --control FD --spec JSON --target cpu|cuda --capability 90``"""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--capability", type=int, required=True, help="of the GPU; 0 for a CPU")
    parser.add_argument("--spec", required=True)
    arguments = parser.parse_args()
    control = socket.socket(fileno=arguments.control)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(most, MOST_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the supervisor's to handle
    faulthandler.register(signal.SIGUSR1)  # who waits for it in vain asks where it is
    preload(arguments.target, arguments.capability)
    # A collection walks over all that was imported, 0.25 s of every candidate's compiling, and copies its pages.
    gc.collect()
    gc.freeze()
    spec = SandboxSpec.model_validate_json(arguments.spec)
    if "cgroup" in spec.layers:
        limits.sweep()
    wire.send(control, {"event": "ready", "pid": os.getpid()})
    status = 1
    try:
        WarmServer(control, spec).serve()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:  # libraries have much to say of an interpreter's end, and drown what was said of its reason
        os._exit(status)


if __name__ == "__main__":
    main()
