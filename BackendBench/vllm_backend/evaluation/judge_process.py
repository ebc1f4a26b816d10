"""Body of the judge's process: requests in, verdicts out, until the client hangs up."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
from typing import Any

from ..state.task import EvaluationTask
from .failure import InfrastructureFault
from .judge import Judge
from .processes import wire
from .settings import JudgeSettings

PR_SET_PDEATHSIG = 1


async def serve(sock: socket.socket, settings: JudgeSettings) -> None:
    """Judge until the client hangs up; requests run side by side."""
    judge = Judge(settings)
    try:
        await judge.start()
    except InfrastructureFault as fault:
        await wire.send_async(sock, {"fault": str(fault)})
        await judge.close()
        return
    await wire.send_async(sock, {"concurrency": judge.concurrency})
    tasks: set[asyncio.Task[None]] = set()
    writing = asyncio.Lock()
    try:
        while True:
            request = await wire.receive_async(sock, wire.MAX_REQUEST_BYTES)
            task = asyncio.ensure_future(_answer(judge, sock, request, writing))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    except wire.WireClosed:
        for task in tasks:
            task.cancel()
    finally:
        await judge.close()


async def _answer(judge: Judge, sock: socket.socket, request: dict[str, Any], writing: asyncio.Lock) -> None:
    answer: dict[str, Any] = {"id": request["id"]}
    try:
        if "prepare" in request:
            await judge.prepare([(name, source) for name, source in request["prepare"]])
            answer["prepared"] = True
            gc.collect()
            gc.freeze()  # a later collection would hold up everybody while it walks over torch and all references
        elif "vouch" in request:
            await judge.vouch()
        else:
            verdict = await judge.evaluate(EvaluationTask.model_validate(request["task"]), request["source"])
            answer["verdict"] = verdict.model_dump(mode="json")
    except InfrastructureFault as fault:
        answer["fault"] = str(fault)
    except Exception as error:  # a fault of ours is never the kernel's
        logging.getLogger(__name__).exception("judging failed")
        answer["fault"] = f"{type(error).__name__}: {error}"[:1000]
    async with writing:
        await wire.send_async(sock, answer)
    if judge.broken:
        sock.shutdown(socket.SHUT_RDWR)  # ends this process: its client starts another one


async def _serve_and_end(sock: socket.socket, settings: JudgeSettings) -> None:
    """Nothing is left to tidy up then: threads that wait for a lost GPU, and the driver's own end, take seconds,
    and the next judge cannot begin."""
    await serve(sock, settings)
    os._exit(0)


def main() -> None:
    """``python -m ...evaluation.judge_process FD SETTINGS``"""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a judge without a worker judges for nobody
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to handle
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.setblocking(False)
    asyncio.run(_serve_and_end(sock, JudgeSettings.model_validate_json(sys.argv[2])))


if __name__ == "__main__":
    main()
