"""How much of vLLM's own offline throughput the generating worker reaches. Prints a table, writes JSON.

Both sides run the same engine arguments, prompts (the worker's own, as token ids), sampling parameters and numbers of
samples, each in a process of its own, in turn: *offline* is one call of ``vllm.LLM.generate``; *worker* is the real
worker on a real Redis: it claims groups, samples them, extracts the kernels and submits every sample.
Every sample has ``--max-tokens`` tokens (``ignore_eos``), so that both sides do the same work.

On one H200 at the shape of a 7B model, with weights of no meaning, and with a model of your own:

    VLLM_USE_FLASHINFER_SAMPLER=0 HF_HUB_OFFLINE=1 python benchmarks/generation_throughput.py \
        --shape 7b --candidates 4096 --group-size 16 --max-tokens 600 --rounds 2 --out generation_7b.json
    VLLM_USE_FLASHINFER_SAMPLER=0 HF_HUB_OFFLINE=1 python benchmarks/generation_throughput.py \
        --model DIRECTORY --candidates 8192 --group-size 16 --max-tokens 400 --rounds 2 --out generation_small.json

On a CPU, with vLLM's CPU build (``VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1``):

    python benchmarks/generation_throughput.py --model DIRECTORY --candidates 128 --group-size 8 --max-tokens 100 \
        --engine-args '{"enforce_eager": true, "dtype": "bfloat16", "distributed_executor_backend": "uni"}'
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SHAPES: dict[str, dict[str, Any]] = {
    "7b": {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 3584,
        "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
        "vocab_size": 152064, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "bos_token_id": 151643, "eos_token_id": 151645,
        "initializer_range": 0.02, "attention_dropout": 0.0, "use_cache": True, "use_sliding_window": False,
    },
}  # fmt: skip
"""Qwen2.5-7B as its config.json has it."""
SHAPES["tiny"] = {
    **SHAPES["7b"],
    **{"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "vocab_size": 4096, "bos_token_id": None, "eos_token_id": 2},
}
"""The same on a CPU in seconds, to see that everything works."""
SHAPE_ARGS = {"load_format": "dummy", "skip_tokenizer_init": True, "max_model_len": 4096}
WARM_UP = 64
"""Candidates before the clock starts: kernels are compiled and graphs touched for the first time."""
OPERATIONS = ("relu", "sigmoid", "softmax", "add", "mul", "layer_norm", "gelu", "matmul")
"""One prompt each, as in a run over as many operations."""


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", help="directory or name of a model")
    which.add_argument(
        "--shape", choices=sorted(SHAPES), help="a model of this shape with weights of no meaning"
    )
    parser.add_argument("--candidates", type=int, default=4096)
    parser.add_argument("--group-size", type=int, default=16)
    parser.add_argument(
        "--prompt-tokens", type=int, default=1500, help="with --shape, which has no tokenizer"
    )
    parser.add_argument("--max-tokens", type=int, default=600)
    parser.add_argument("--tensor-parallel-size", type=int, default=1)
    parser.add_argument("--engine-args", type=json.loads, default={}, metavar="JSON")
    parser.add_argument("--rounds", type=int, default=2, help="of both sides, in turn")
    parser.add_argument("--out", type=Path, metavar="FILE")
    parser.add_argument("--side", choices=("offline", "worker"), help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prompts", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def settings_of(options: argparse.Namespace) -> Any:
    """What the engine of both sides is told."""
    from BackendBench.vllm_backend.generation.settings import EngineSettings

    arguments = {**(SHAPE_ARGS if options.shape else {}), **options.engine_args}
    return EngineSettings(
        name="vllm",
        model=options.model,
        tensor_parallel_size=options.tensor_parallel_size,
        engine_args=arguments,
    )


# -- the worker ---------------------------------------------------------------------------------------------
def worker_side(options: argparse.Namespace) -> dict[str, Any]:
    """Throughput of a real worker on a real Redis."""
    from BackendBench.vllm_backend.state.server import PrivateServer

    with tempfile.TemporaryDirectory() as folder, PrivateServer(Path(folder)) as server:
        return asyncio.run(_work(options, server.url))


async def _work(options: argparse.Namespace, url: str) -> dict[str, Any]:
    from BackendBench.vllm_backend.generation.operation_view import OperationView
    from BackendBench.vllm_backend.generation.settings import GenerationSettings
    from BackendBench.vllm_backend.generation.worker import GenerationWorker
    from BackendBench.vllm_backend.state.connection import connect, connect_async
    from BackendBench.vllm_backend.state.store import KernelStore

    settings = GenerationSettings(worker_id="benchmark", redis_url=url, engine=settings_of(options))
    engine = recording_engine(settings.engine, options)
    client = connect_async(url)
    worker = GenerationWorker(
        settings,
        client,
        KernelStore(client=connect(url)),
        engine,
        lambda name, source: OperationView(name, f"{name}.default", "(x)"),
    )
    running = asyncio.ensure_future(worker.run())
    consuming = asyncio.ensure_future(_consume(client))
    try:
        while engine.max_model_len == 0 and not running.done():
            await asyncio.sleep(0.1)
        engine.sampling_defaults["ignore_eos"] = True
        await _sample(client, running, "warm", WARM_UP, options)
        load = engine.load
        queries, hits, preempted = load.prefix_queries, load.prefix_hits, load.pressure().preemptions
        seconds, tokens = await _sample(client, running, "timed", options.candidates, options)
        options.prompts.write_text(json.dumps(engine.seen))
        looked_up = load.prefix_queries - queries
        return {
            "seconds": seconds,
            "tokens": tokens,
            "prefix_hit_rate": (load.prefix_hits - hits) / looked_up if looked_up else 0.0,
            "preemptions": (load.pressure().preemptions or 0) - (preempted or 0),
        }
    finally:
        worker.stop()
        worker.stop()
        consuming.cancel()
        await asyncio.wait([running, consuming])
        await client.aclose()


async def _sample(
    client: Any, running: asyncio.Future[None], run: str, count: int, options: argparse.Namespace
) -> tuple[float, int]:
    """Seconds and tokens of ``count`` candidates, from the first group queued to the last sample submitted."""
    from BackendBench.vllm_backend.state import scripts
    from BackendBench.vllm_backend.state.intake import request_group
    from BackendBench.vllm_backend.state.keys import Keys
    from BackendBench.vllm_backend.state.task import GenerationTask

    groups = [
        GenerationTask(
            id=f"{run}/{number}", run=run, operation=OPERATIONS[number % len(OPERATIONS)],
            n=options.group_size, dsl="triton", target="cuda", policy="rejection",
            temperature=0.8, top_p=0.95, max_tokens=options.max_tokens,
        )
        for number in range(max(1, count // options.group_size))
    ]  # fmt: skip
    started = time.perf_counter()
    for group in groups:
        await scripts.run_async(client, request_group(group))
    wanted = len(groups) * options.group_size
    while True:
        counts = [await client.hgetall(Keys.run_stats(run, name)) for name in OPERATIONS]
        done = sum(int(one.get("generated", 0)) for one in counts)
        if done >= wanted:
            tokens = sum(int(one.get("tokens", 0)) for one in counts)
            return time.perf_counter() - started, tokens
        if running.done():
            running.result()
            raise RuntimeError("the worker left")
        await asyncio.sleep(0.02)


async def _consume(client: Any) -> None:
    """In the place of evaluators that keep up."""
    from BackendBench.vllm_backend.state.keys import Keys

    while True:
        await client.delete(Keys.EVAL_QUEUE)
        await asyncio.sleep(0.2)


def recording_engine(settings: Any, options: argparse.Namespace) -> Any:
    """The engine; it keeps the token ids of its prompts, and makes some up for a shape without a tokenizer."""
    from BackendBench.vllm_backend.generation.engines.vllm import VllmEngine

    class Recording(VllmEngine):
        def __init__(self) -> None:
            super().__init__(settings)
            self.seen: dict[str, list[int]] = {}

        def tokens(self, prompt: Any) -> list[int]:
            if prompt.user not in self.seen:
                if options.shape:
                    words = Random(prompt.user).choices(
                        range(10, SHAPES[options.shape]["vocab_size"]), k=options.prompt_tokens
                    )
                    self.seen[prompt.user] = words
                else:
                    self.seen[prompt.user] = super().tokens(prompt)
            return self.seen[prompt.user]

    return Recording()


# -- vLLM alone ---------------------------------------------------------------------------------------------
def offline_side(options: argparse.Namespace) -> dict[str, Any]:
    """Throughput of ``vllm.LLM.generate`` on the prompts that the worker had."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    from vllm import LLM, SamplingParams

    from BackendBench.vllm_backend.generation.engines.base import SamplingParameters
    from BackendBench.vllm_backend.generation.engines.vllm import MODEL_DEFAULTS, engine_arguments

    arguments = engine_arguments(settings_of(options))
    del arguments["stream_interval"]  # there is no stream
    llm = LLM(**arguments)
    config = llm.llm_engine.model_config
    given = config.get_diff_sampling_param()
    task = SamplingParameters()
    sampling = SamplingParams(
        **{name: given[name] for name in MODEL_DEFAULTS if name in given},
        n=options.group_size, temperature=task.temperature, top_p=task.top_p, max_tokens=options.max_tokens,
        ignore_eos=True, detokenize=not options.shape,
    )  # fmt: skip
    prompts = list(json.loads(options.prompts.read_text()).values())

    def run(count: int) -> tuple[float, int]:
        groups = max(1, count // options.group_size)
        requests = [{"prompt_token_ids": prompts[i % len(prompts)]} for i in range(groups)]
        started = time.perf_counter()
        outputs = llm.generate(requests, sampling, use_tqdm=False)
        seconds = time.perf_counter() - started
        return seconds, sum(len(one.token_ids) for output in outputs for one in output.outputs)

    run(WARM_UP)
    seconds, tokens = run(options.candidates)
    return {"seconds": seconds, "tokens": tokens}


# -- both ---------------------------------------------------------------------------------------------------
def hardware() -> str:
    """What this was measured on, in words."""
    from BackendBench.vllm_backend.fleet.devices import driver_version, visible_gpus

    names = [gpu.name for gpu in visible_gpus()]
    cores = len(os.sched_getaffinity(0))
    return (
        f"{len(names)}x {names[0]}, driver {driver_version()}, {cores} cores"
        if names
        else f"CPU, {cores} cores"
    )


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds. The worker goes first: vLLM alone gets its prompts."""
    found: dict[str, list[dict[str, Any]]] = {"worker": [], "offline": []}
    prompts = folder / "prompts.json"
    for round_ in range(options.rounds):
        for side in ("worker", "offline"):
            result = folder / f"{side}-{round_}.json"
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
            subprocess.run([*command, "--result", str(result), "--prompts", str(prompts)], check=True)
            one = json.loads(result.read_text())
            print(f"round {round_ + 1}: {side:8s} {one['tokens'] / one['seconds']:10,.0f} tok/s", flush=True)
            found[side].append(one)
            # Whoever is ended half way has what was measured until then.
            write(options, {"unfinished": True, "device": hardware(), "rounds": found})
    lengths = [len(ids) for ids in json.loads(prompts.read_text()).values()]
    return summary(options, found, lengths)


def summary(
    options: argparse.Namespace, found: dict[str, list[dict[str, Any]]], lengths: list[int]
) -> dict[str, Any]:
    """What is printed and written."""
    import torch
    import vllm

    rates = {side: [one["tokens"] / one["seconds"] for one in rounds] for side, rounds in found.items()}
    medians = {side: statistics.median(values) for side, values in rates.items()}
    candidates = [options.candidates // options.group_size * options.group_size / one["seconds"] * 60
                  for one in found["worker"]]  # fmt: skip
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join(["python", *sys.argv]),
        "device": hardware(),
        "versions": {"vllm": vllm.__version__, "torch": torch.__version__},
        "model": f"shape {options.shape}, dummy weights" if options.shape else options.model,
        "candidates": options.candidates,
        "group_size": options.group_size,
        "max_tokens": options.max_tokens,
        "prompt_tokens": lengths,
        "engine_args": options.engine_args,
        "tensor_parallel_size": options.tensor_parallel_size,
        "tokens_per_second": rates,
        "worker_tokens_per_second": medians["worker"],
        "offline_tokens_per_second": medians["offline"],
        "ratio": medians["worker"] / medians["offline"],
        "candidates_per_minute": statistics.median(candidates),
        "prefix_hit_rate": statistics.median(one["prefix_hit_rate"] for one in found["worker"]),
        "preemptions": [one["preemptions"] for one in found["worker"]],
    }


def write(options: argparse.Namespace, document: dict[str, Any]) -> None:
    """To ``--out``, where it is given."""
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(document, indent=1) + "\n")


def table(result: dict[str, Any]) -> str:
    """The figures as lines."""
    spread = {side: f"{min(v):,.0f} to {max(v):,.0f}" for side, v in result["tokens_per_second"].items()}
    lengths = result["prompt_tokens"]
    rows = [
        ("hardware", result["device"]),
        ("vLLM", result["versions"]["vllm"]),
        ("model", result["model"]),
        ("prompts", f"{len(lengths)}, {min(lengths)} to {max(lengths)} tokens"),
        ("vLLM offline", f"{result['offline_tokens_per_second']:,.0f} tok/s ({spread['offline']})"),
        ("worker", f"{result['worker_tokens_per_second']:,.0f} tok/s ({spread['worker']})"),
        ("worker of offline", f"{100 * result['ratio']:.1f} %"),
        ("candidates", f"{result['candidates_per_minute']:,.0f} a minute"),
        ("prefix cache", f"{100 * result['prefix_hit_rate']:.1f} % of prompt tokens found"),
        ("preemptions", str(result["preemptions"])),
    ]  # fmt: skip
    return "\n".join(f"{name:18s} {value}" for name, value in rows)


def main() -> int:
    """Exit code: 0."""
    options = parse()
    with contextlib.ExitStack() as stack:
        if options.side is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            folder = options.prompts.parent
        if options.shape:
            options.model = str(folder / f"shape-{options.shape}")
            Path(options.model).mkdir(exist_ok=True)
            (Path(options.model) / "config.json").write_text(json.dumps(SHAPES[options.shape]))
        if options.side:
            side = worker_side if options.side == "worker" else offline_side
            options.result.write_text(json.dumps(side(options)))
            return 0
        result = measure(options, folder)
    print(table(result))
    write(options, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
