"""The harness inside the candidate's process: loads the module, calls it, answers.

- Everything in this process is under the candidate's control once its module is loaded. The judge believes
  no word of it: outputs are compared in the judge's memory, times are held against the judge's own clock.
- One request, one reply with the request's id. A request never says what the right answer is.
- All outputs of a request are kept until its last call has returned and only then copied out, so that a buffer
  used twice shows itself.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..memory import arena, calls
from ..processes import wire
from . import block_clocks, described, kept_kernels, windows
from .block_clocks import GpuClock, TimedCalls
from .compute_watch import ComputeWatch
from .loading import describe, load_module
from .replaced import replaced
from .stepping_back import step_back

if TYPE_CHECKING:
    from .triton_support import Compiling, Suspended

OUTPUT_BYTES = 1 << 20
"""A kernel may print a little while it is debugged; what floods its output is broken."""

DRIVERS_SETTINGS = ("CUDA_", "NVIDIA_", "PYTORCH_")
"""Begin the names of what a GPU's driver, or torch's use of it, reads in the environment."""

POLL_SECONDS = 1e-4
"""Between two looks whether a GPU is done, short against the milliseconds of its turns."""


class Harness:
    """State of one candidate's process."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._function: Callable[..., Any] | None = None
        self._device = torch.device("cpu")
        self._arenas: dict[str, arena.Attached] = {}
        self._gpu_clock: GpuClock | None = None
        self._block_done: tuple[dict[str, Any], list[Any]] = ({"calls": []}, [])
        self._threads = _thread._count()
        """Python threads before there was a candidate."""
        self._environment = {n: value for n, value in os.environ.items() if n.startswith(DRIVERS_SETTINGS)}
        self._asked = False
        """Whether the candidate asked for a GPU of which there was no context."""
        self._room: mmap.mmap | None = None
        """Between the memory of a GPU and what an index gone astray must not meet."""
        self._handlers: dict[str, Callable[[dict[str, Any], list[int]], dict[str, Any]]] = {
            "setup": self._setup,
            "load": self._load,
            "load_reference": self._load_reference,
            "collect_kernels": self._collect_kernels,
            "attach": self._attach,
            "dry_run": self._dry_run,
            "run": self._run,
            "block": self._block,
            "deliver": self._deliver_block,
        }

    def serve(self) -> None:
        """Answer requests until the judge hangs up."""
        while True:
            try:
                request, descriptors = wire.receive(self._sock)
            except wire.WireClosed:
                return
            reply: dict[str, Any]
            try:
                reply = self._handlers[request["do"]](request, descriptors)
            except BaseException as error:  # SystemExit and KeyboardInterrupt are the candidate's too
                reply = {"failure": describe(error)}
            reply = _flooded() or reply
            reply["id"] = request["id"]
            wire.send(self._sock, reply)

    def _setup(self, request: dict[str, Any], _: list[int]) -> dict[str, Any]:
        """Device and threads: for a GPU this makes the context."""
        if request["target"] == "cpu":
            _limit_threads(request["threads"])
            return {}
        self._forget_settings()
        self._room = windows.keep_away()
        self._device = torch.device("cuda", request["device_index"])
        torch.cuda.set_device(self._device)
        torch.cuda.set_per_process_memory_fraction(request["memory_fraction"], self._device)
        torch.zeros(1, device=self._device)
        torch.cuda.synchronize()
        return {}

    def _forget_settings(self) -> None:
        """What a module sets for CUDA when it is loaded would hold only where the context is made later. (What is
        reported of a winner comes of a process in which it was made earlier.)"""
        for name in [name for name in os.environ if name.startswith(DRIVERS_SETTINGS)]:
            del os.environ[name]
        os.environ.update(self._environment)

    @contextlib.contextmanager
    def _without_context(self) -> Iterator[None]:
        """Within this context torch wakes no GPU. That somebody wanted it to is noted: what he made of the refusal, he
        would not have made with a context."""

        def refuse() -> None:
            self._asked = True
            raise RuntimeError("there is no context on the GPU yet")

        with contextlib.ExitStack() as stack:
            stack.enter_context(replaced(torch.cuda, "_lazy_init", refuse))
            stack.enter_context(replaced(torch.cuda.Stream, "__new__", lambda *_, **__: refuse()))
            # There is one GPU, so it is the current one.
            for name in ("_exchange_device", "_maybe_exchange_device"):
                stack.enter_context(replaced(torch.cuda, name, lambda index: 0))
            yield

    def _load(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """``bare``: there is no context yet. ``anew`` says then that the process is not to be used any more. The
        descriptor: kernels that an earlier process of the same candidate has compiled."""
        for descriptor in descriptors:
            with contextlib.suppress(ValueError, OSError), os.fdopen(descriptor, "rb") as kernels:
                kept_kernels.restore(kernels.read(), _kernels())
        if not request["bare"]:
            return self._loaded(request)
        try:
            with self._without_context():
                reply = self._loaded(request)
        except BaseException:
            if not self._asked:
                raise
        return {"anew": True} if self._asked else reply

    def _loaded(self, request: dict[str, Any]) -> dict[str, Any]:
        module = load_module(request["code"], "candidate")
        function = getattr(module, request["function"], None)
        if not callable(function):
            return {"failure": {"type": "MissingFunction", "message": f"no function {request['function']}"}}
        self._function = function
        return {}

    def _load_reference(self, request: dict[str, Any], _: list[int]) -> dict[str, Any]:
        """Trusted: this process runs eager, as the other side of the timing."""
        from ...operations import catalog

        self._function = catalog.reference_of(request["operation"], request["overload"], request["source"])
        return {}

    def _collect_kernels(self, _: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """Write what has been compiled to a file in memory, as large as it may be; nothing where that goes wrong."""
        (descriptor,) = descriptors
        with os.fdopen(descriptor, "r+b") as file, contextlib.suppress(Exception):
            return {"bytes": file.write(kept_kernels.collect(_kernels(), os.fstat(descriptor).st_size))}
        return {"bytes": 0}

    def _attach(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        if self._device.type == "cpu":
            _give_memory_back()
        for name, description in request["arenas"].items():
            count = 1 if description["kind"] == "cpu" else 0
            if name in self._arenas:
                self._arenas.pop(name).detach()
            self._arenas[name] = arena.attach(description, descriptors[:count], self._device)
            descriptors = descriptors[count:]
        return {}

    def _prepare(self, request: dict[str, Any]) -> list[calls.Call]:
        memory = self._arenas["in"].tensor
        return [
            calls.unpack(item["call"], [calls.view(memory, calls.Place.from_json(p)) for p in item["in"]])
            for item in request["calls"]
        ]

    def _dry_run(self, request: dict[str, Any], _: list[int]) -> dict[str, Any]:
        """Compile what the calls need without launching anything (Triton only), on empty tensors of this process.

        ``turns``: for each call the configuration of an autotuned kernel, or None for all of them. ``needed``: so many
        of the calls; where a kernel of these takes more than ``patience`` seconds of processor time, he is ``slow``,
        and the others are asked for ``ahead``, on so many ``threads`` more, which are as ``nice``, see
        ``Compiling.done_within`` and ``ahead``. ``gpu``: figures of a GPU of which there is no context yet, see
        absent_gpu.py; ``anew`` says then that something is left over, and that the process is not to be used any more,
        ``results`` what the needed calls returned. ``nice``: see ``step_back``.
        """
        with ThreadPoolExecutor(1, initializer=step_back, initargs=(request["nice"],)) as aside:
            return aside.submit(self._dry_run_aside, request).result()

    def _dry_run_aside(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["gpu"] is None:
            return self._compiled(request, self._device)
        from . import absent_gpu

        with self._without_context(), absent_gpu.absent(request["gpu"]) as pretended:
            reply = self._compiled(request, absent_gpu.DEVICE)
        if pretended.refused:  # what somebody made of it he would not have made of real tensors
            reply.pop("results", None)
        return {"anew": True} if self._asked or absent_gpu.some_kept() else reply

    def _compiled(self, request: dict[str, Any], device: torch.device) -> dict[str, Any]:
        from .triton_support import launches_suppressed

        needed = range(request["needed"])
        rest, slow = range(len(needed), len(request["calls"])), False
        try:
            with launches_suppressed(request["threads"], bool(rest)) as compiling:
                results = self._ask_for(needed, request, device, compiling)
                if rest and not compiling.done_within(request["patience"]):
                    slow = True
                    with compiling.ahead(**request["ahead"]):
                        self._ask_for(rest, request, device, compiling)
        except BaseException as error:
            return {"failure": describe(error), "failed_at": compiling.turn}
        reply: dict[str, Any] = {"slow": True} if slow else {}
        return {**reply, "results": results} if request["gpu"] is not None else reply

    def _ask_for(
        self, which: Iterable[int], request: dict[str, Any], device: torch.device, compiling: Compiling
    ) -> list[dict[str, Any] | None]:
        """Call the candidate with launches suppressed. Returns what can be said of the results."""
        results = []
        for index in which:
            compiling.turn = index
            results.append(self._asked_for(request["calls"][index], request["turns"][index], device))
        return results

    def _asked_for(
        self, item: dict[str, Any], turn: int | None, device: torch.device
    ) -> dict[str, Any] | None:
        """One call of it; nothing of its tensors is left afterwards."""
        from .triton_support import tuning_suspended

        inputs = [calls.blank(calls.Place.from_json(place), device) for place in item["in"]]
        with tuning_suspended(turn or 0, turn is None):
            result = self._call(calls.unpack(item["call"], inputs))
        return described.without_memory(result, len(item["out"]), inputs)

    def _untuned(self, turn: int) -> contextlib.AbstractContextManager[Suspended | None]:
        """While answers are checked nothing is tuned."""
        if self._device.type != "cuda":
            return contextlib.nullcontext()
        from .triton_support import tuning_suspended

        return tuning_suspended(turn)

    def _call(self, call: calls.Call) -> Any:
        assert self._function is not None
        return self._function(*call.args, **call.kwargs)

    def _run(self, request: dict[str, Any], _: list[int]) -> dict[str, Any]:
        """``settled``: after each call a GPU is waited for, so that an error of it has a case. Among others that use it
        as well, each such wait takes as long as their turns."""
        results: list[Any] = []
        watch = ComputeWatch(request["forbidden"])
        for index, (call, turn) in enumerate(zip(self._prepare(request), request["turns"], strict=True)):
            try:
                with watch, self._untuned(turn):
                    results.append(self._call(call))
                if request["settled"]:
                    self._sleep_until_done()
            except BaseException as error:
                failure = {"failure": describe(error), "results": []}
                return failure if self._an_earlier_ones(request) else {**failure, "failed_at": index}
        self._sleep_until_done()
        delivered = self._deliver(request, results)
        return {
            "results": delivered,
            "computed": sorted(watch.calls),
            "threads": _thread._count() - self._threads,
        }

    def _block(self, request: dict[str, Any], _: list[int]) -> dict[str, Any]:
        """Timed calls: the arguments are ready, the outputs are kept; the copies come after the last call, on a CPU
        at a request of their own, since they may take longer than the calls."""
        watch = ComputeWatch(request["forbidden"])

        def watched(call: calls.Call) -> Any:
            """The candidate's call alone: what the harness does around it is not its doing."""
            with watch:
                return self._call(call)

        turn = request["untuned"]
        with contextlib.nullcontext() if turn is None else self._untuned(turn) as tuning:
            timed = self._timed(request, watched if request["watch"] else self._call)
        reply: dict[str, Any] = {
            "times_us": timed.times_us, "queued_us": timed.queued_us, "late": timed.late,
            "threads": _thread._count() - self._threads, "computed": sorted(watch.calls),
            "tunes": tuning is not None and tuning.used,
        }  # fmt: skip
        self._block_done = (request, timed.results)
        return reply if request["deliver_later"] else {**reply, **self._deliver_block(request, _)}

    def _deliver_block(self, request: dict[str, Any], _: list[int]) -> dict[str, Any]:
        block, results = self._block_done
        self._block_done = ({"calls": []}, [])
        delivered = self._deliver(block, results)
        results.clear()  # what a result does when it goes is done, and waited for, before the reply
        self._synchronize()
        return {"results": delivered}

    def _timed(self, request: dict[str, Any], run: Callable[[calls.Call], Any]) -> TimedCalls:
        ready = [partial(run, call) for call in self._prepare(request)]
        if self._device.type == "cpu":
            return block_clocks.on_cpu(ready)
        if self._gpu_clock is None:
            self._gpu_clock = GpuClock(self._device)
        sizes = (calls.Place.from_json(place).size for item in request["calls"] for place in item["out"])
        return self._gpu_clock.block(ready, sizes, request["flush_bytes"], request["hold_us"])

    def _an_earlier_ones(self, request: dict[str, Any]) -> bool:
        """Whether an error may be that of an earlier call, for which a GPU was not waited."""
        if request["settled"]:
            return False
        try:
            self._synchronize()
        except BaseException:
            return True
        return False

    def _sleep_until_done(self) -> None:
        """Wait for a GPU that others use as well: by default who waits spins, on a core on which somebody could
        compile."""
        if self._device.type == "cuda":
            done = torch.cuda.Event()
            done.record()
            while not done.query():
                time.sleep(POLL_SECONDS)
            torch.cuda.synchronize()  # other streams as well

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def _deliver(self, request: dict[str, Any], results: list[Any]) -> list[dict[str, Any]]:
        """Copy what fits its place into the judge's memory; describe everything."""
        replies: list[dict[str, Any]] = []
        spans: list[tuple[int, int]] = []
        for item, result in zip(request["calls"], results, strict=True):
            reply, outputs = described.structure(result, len(item["out"]))
            replies.append(reply)
            for tensor, place in zip(outputs, item["out"][: len(outputs)], strict=True):
                self._copy_out(tensor, calls.Place.from_json(place))
                spans.append(described.memory(tensor))
                reply["outputs"].append(described.one(tensor, self._aliases_input(spans[-1])))
        shared = iter(described.shared(spans))
        for output in (output for reply in replies for output in reply["outputs"]):
            output["aliases_output"] = next(shared)
        self._synchronize()
        return replies

    def _copy_out(self, tensor: torch.Tensor, place: calls.Place) -> None:
        same_shape = tuple(tensor.shape) == place.shape
        if not same_shape or calls.dtype_name(tensor.dtype) != place.dtype or tensor.device != self._device:
            return
        mine = calls.view(self._arenas["out"].tensor, place)
        if self._device.type == "cpu" and tensor.is_contiguous() and type(tensor) is torch.Tensor:
            # On one thread: torch's pool and Numba's would fight for the cores, and the copy must cost both sides
            # of a timing the same.
            ctypes.memmove(mine.data_ptr(), tensor.data_ptr(), tensor.numel() * tensor.element_size())
        else:
            mine.copy_(tensor)

    def _aliases_input(self, span: tuple[int, int]) -> bool:
        start, end = described.memory(self._arenas["in"].tensor)
        return span[0] < end and span[1] > start and span[1] > span[0]


def _kernels() -> Path:
    """Where Triton keeps them."""
    return Path(os.environ["TRITON_CACHE_DIR"])


def _give_memory_back() -> None:
    """What was freed: glibc is told to keep it, and eager's process has had large tensors of other operations."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _flooded() -> dict[str, Any] | None:
    """A failure where the candidate's output, a file in memory, has grown out of all proportion."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    written = os.fstat(1).st_size
    if written <= OUTPUT_BYTES:
        return None
    return {
        "failure": {"type": "OutputFlood", "message": f"printed {written} bytes; a kernel prints nothing"}
    }


def _limit_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    try:
        from numba import get_num_threads, set_num_threads

        set_num_threads(min(threads, get_num_threads()))
    except ImportError:
        pass  # a machine without numba judges other DSLs


def main(descriptor: int) -> None:
    """Body of a candidate's process: never returns to the warm server's code."""
    sock = socket.socket(fileno=descriptor)
    # On an error the judge is gone, or the candidate broke its own channel: nobody is left to tell.
    with contextlib.suppress(wire.WireError, OSError):
        Harness(sock).serve()
    os._exit(0)
