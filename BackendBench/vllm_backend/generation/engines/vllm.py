"""vLLM in this process: the newest public engine, ``AsyncLLM``, whose workers are processes of its own.

- A group is one request with ``n`` samples: its prompt is computed once. vLLM hands a sample on with its first
  token and when it is finished (``stream_interval``), so each goes on at once and streaming costs nothing.
- Every argument of vLLM may be given under vLLM's own name (``engine_args``) and wins over what is chosen here:
  prefix caching, CUDA graphs, and the batch sizes of vLLM's offline generation, which is what this is.
- Samples carry no seeds of their own: one generator a sequence costs a tenth of the throughput, and what is
  sampled depends on the batch all the same.
- An engine that died, or made no step for HANG_SECONDS while it had work, fails every group with EngineError and
  the cause that its processes wrote; the worker starts it again.
- ``pause`` stops between two steps and keeps what is under way; ``resume`` goes on with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import multiprocessing
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any

import structlog

from ..settings import EngineSettings
from .base import (
    Engine,
    EngineConfigError,
    EngineError,
    Pressure,
    Prompt,
    PromptError,
    Sample,
    SamplingParameters,
    room_left,
)
from .model_check import cache_share
from .vllm_errors import StderrTail, advice
from .vllm_load import EngineLoad

HANG_SECONDS = 180.0
"""A step takes milliseconds; kernels that are compiled for the first batch of a shape may take a minute."""
WATCH_SECONDS = 5.0
PAUSE_SECONDS = 60.0
"""A pause ends with the step under way; a longest prefill takes seconds."""
WHOLE_SAMPLE = 1 << 30
"""``stream_interval`` in tokens: longer than any sample, so that only its end is handed on."""
UTILIZATION = 0.9
"""Share of a GPU's memory for the engine. vLLM's own 0.92 does not start beside a forgotten CUDA context or two."""
SHARED_UTILIZATION = 0.45
"""Where evaluation uses the GPU too: a candidate may take half of it."""
MODEL_DEFAULTS = ("top_k", "min_p", "repetition_penalty")
"""Taken from the model's generation_config.json, as vLLM's server does; the rest is the task's to say."""

log = structlog.get_logger()


def engine_arguments(settings: EngineSettings) -> dict[str, Any]:
    """What vLLM is started with; the user's ``engine_args`` win."""
    chosen: dict[str, Any] = {
        "model": settings.model,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "enable_prefix_caching": True,
        "enforce_eager": False,
        "stream_interval": WHOLE_SAMPLE,
        "disable_log_stats": True,  # of its own loggers; ours is asked all the same
        "seed": settings.seed % 2**31,
    }
    if settings.gpu_memory_bytes:
        chosen["gpu_memory_utilization"] = SHARED_UTILIZATION if settings.gpus_shared else UTILIZATION
    return {**chosen, **settings.engine_args}


class VllmEngine(Engine):
    """See the module's docstring."""

    name = "vllm"

    def __init__(self, settings: EngineSettings) -> None:
        if not settings.model:
            raise EngineConfigError("engine vllm needs a model: give --model NAME_OR_DIRECTORY")
        self._settings = settings
        self.model = settings.model
        self.load = EngineLoad()
        self.max_model_len = 0
        """Tokens of prompt and sample together."""
        self._engine: Any = None
        self._tokenizer: Any = None
        self.sampling_defaults: dict[str, Any] = {}
        """Fields of vLLM's SamplingParams that every request gets; of the model's own once it is started."""
        self._stderr = StderrTail()
        self._groups: dict[str, asyncio.Future[None]] = {}
        """A group's future ends it: with None when it is aborted, with the error of a broken engine."""
        self._requests = 0
        self._watching: asyncio.Task[None] | None = None
        self._paused = False
        self._was_ready = False

    async def start(self) -> None:
        """Load the model; takes from seconds to minutes. Raises EngineConfigError, after a first start EngineError."""
        await self.close()
        self.load = EngineLoad()
        building = asyncio.ensure_future(asyncio.to_thread(self._build))
        try:
            self._engine = await asyncio.shield(building)
        except asyncio.CancelledError:
            _abandon(building)
            raise
        except Exception as error:
            raise self._start_error(error) from error
        try:
            await self._ask_engine()
        except Exception:
            await self.close()
            raise
        self._was_ready, self._paused = True, False
        self._watching = asyncio.ensure_future(self._watch())
        log.info("engine_ready", engine=self.name, model=self.model, max_model_len=self.max_model_len)

    async def sample(
        self, prompt: Prompt, n: int, parameters: SamplingParameters, group: str
    ) -> AsyncIterator[Sample]:
        """See Engine.sample. Raises PromptError or EngineError."""
        samples = self.sample_tokens(self.tokens(prompt), n, parameters, group)
        async with contextlib.aclosing(samples):
            async for sample in samples:
                yield sample

    def tokens(self, prompt: Prompt) -> list[int]:
        """The prompt as the model's chat template has it. Raises EngineError when the engine is closed."""
        if self._tokenizer is None:
            raise EngineError("the engine is closed")
        return list(
            self._tokenizer.encode(chat_text(self._tokenizer, prompt.messages()), add_special_tokens=False)
        )

    async def sample_tokens(
        self, prompt: Sequence[int], n: int, parameters: SamplingParameters, group: str
    ) -> AsyncGenerator[Sample, None]:
        """``sample`` for a prompt of token ids. Raises PromptError or EngineError."""
        if self._engine is None:
            raise EngineError("the engine is closed")
        if group in self._groups:
            raise ValueError(f"group {group} is under way already")
        request = self._sampling(len(prompt), n, parameters)
        self._requests += 1
        ended = self._groups[group] = asyncio.get_running_loop().create_future()
        stream = self._engine.generate(
            {"prompt_token_ids": list(prompt)}, request, f"{group}/{self._requests}"
        )
        drafts = _Drafts(n)
        try:
            while (output := await self._next(stream, ended)) is not None:
                for sample in drafts.add(output.outputs):
                    yield sample
                if output.finished:
                    return
        finally:
            self._groups.pop(group, None)
            if not ended.done():
                ended.cancel()
            with contextlib.suppress(Exception):  # a dead engine cannot be told to stop
                await stream.aclose()

    async def abort(self, group: str) -> None:
        """Its samples in flight are given up; the memory that they hold is free after the next step."""
        ended = self._groups.get(group)
        if ended is not None and not ended.done():
            ended.set_result(None)

    def pressure(self) -> Pressure:
        """As of the last step; nothing runs when no group is in flight."""
        last = self.load.pressure()
        return last if self._groups else Pressure(0, 0, last.kv_cache_usage, last.preemptions)

    async def pause(self) -> None:
        """See Engine.pause. Raises EngineError."""
        if self._engine is None or self._paused:
            return
        try:
            pausing = self._engine.pause_generation(mode="keep", clear_cache=False)
            await asyncio.wait_for(pausing, PAUSE_SECONDS)
        except Exception as error:
            raise self._broken(error) from error
        self._paused = True

    async def resume(self) -> None:
        """See Engine.resume. Raises EngineError."""
        if self._engine is None or not self._paused:
            return
        try:
            await self._engine.resume_generation()
        except Exception as error:
            raise self._broken(error) from error
        self._paused = False
        self.load.last_step = time.monotonic()

    async def close(self) -> None:
        """End the engine and its processes."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None
        self._fail(EngineError("the engine is closed"))
        engine, self._engine, self._tokenizer = self._engine, None, None
        if engine is not None:
            await asyncio.to_thread(engine.shutdown)
            multiprocessing.active_children()  # takes leave of those that ended
            # Its finaliser would do so once more while the interpreter ends, when vLLM's modules are gone.
            engine.shutdown = lambda *_, **__: None

    # -- starting ----------------------------------------------------------------------------------------
    def _build(self) -> Any:
        """Import vLLM and start it. Blocks; runs in a thread."""
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        # This process has threads: a forked child could wait for a lock that nobody in it holds.
        os.environ.setdefault("VLLM_WORKER_MULTIPROCESSING_METHOD", "spawn")
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = engine_arguments(self._settings)
        if self._settings.gpus_shared:
            # vLLM would measure what is left, while a judge's memory comes and goes: it fails, or finds nothing.
            arguments = {**cache_share(self._settings), **arguments}
        unknown = sorted(arguments.keys() - AsyncEngineArgs.__dataclass_fields__.keys())
        if unknown:
            raise EngineConfigError(f"--engine-args: this vLLM knows no argument {', '.join(unknown)}")
        with self._stderr.for_children():
            engine = AsyncLLM.from_engine_args(
                AsyncEngineArgs(**arguments),
                usage_context=UsageContext.LLM_CLASS,  # the batch sizes of offline generation
                stat_loggers=[self.load],
            )
        # A million objects of vLLM's and torch's that never die: nobody is to walk them again while samples wait.
        gc.collect()
        gc.freeze()
        return engine

    async def _ask_engine(self) -> None:
        """What is needed to talk to it. Raises EngineConfigError."""
        config = self._engine.vllm_config
        self.max_model_len = int(config.model_config.max_model_len)
        self.gpus = _gpus(config)
        self.sequences = int(config.scheduler_config.max_num_seqs)
        given = config.model_config.get_diff_sampling_param()
        self.sampling_defaults = {name: given[name] for name in MODEL_DEFAULTS if name in given}
        if not config.model_config.skip_tokenizer_init:
            tokenizer = self._engine.get_tokenizer()
            self._tokenizer = await tokenizer if inspect.isawaitable(tokenizer) else tokenizer
            chat_text(self._tokenizer, Prompt("a", "b").messages())

    def _start_error(self, error: Exception) -> EngineError:
        if isinstance(error, EngineError):
            return error
        if isinstance(error, ImportError):
            why = f"vLLM cannot be imported ({error}): pip install -r requirements-vllm.txt"
            return EngineConfigError(why)
        cause = self._stderr.cause() or _one_line(error)
        what = "; ".join(part for part in (f"vLLM did not start: {cause}", advice(cause)) if part)
        return EngineError(what) if self._was_ready else EngineConfigError(what)

    # -- sampling ----------------------------------------------------------------------------------------
    def _sampling(self, prompt_tokens: int, n: int, parameters: SamplingParameters) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        room = room_left(prompt_tokens, self.max_model_len)
        return SamplingParams(
            **self.sampling_defaults,
            n=n,
            temperature=parameters.temperature,
            top_p=parameters.top_p,
            max_tokens=min(parameters.max_tokens, room),
            output_kind=RequestOutputKind.DELTA,
            detokenize=self._tokenizer is not None,
        )

    async def _next(self, stream: Any, ended: asyncio.Future[None]) -> Any:
        """The next output; None at the end. Raises PromptError or EngineError."""
        step = asyncio.ensure_future(_following(stream))
        try:
            await asyncio.wait({step, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return ended.result()
            return step.result()
        except EngineError:
            raise
        except ValueError as error:
            raise PromptError(f"vLLM refuses the prompt: {_one_line(error)}") from error
        except Exception as error:
            raise self._broken(error) from error
        finally:
            if not step.done():
                step.cancel()
                await asyncio.wait({step})
            elif not step.cancelled():
                step.exception()  # seen: the group may have been ended in the same moment

    def _broken(self, error: BaseException) -> EngineError:
        cause = self._stderr.cause() or _one_line(error)
        return EngineError(
            "; ".join(part for part in (f"vLLM's engine failed: {cause}", advice(cause)) if part)
        )

    def _fail(self, error: EngineError) -> None:
        for ended in self._groups.values():
            if not ended.done():
                ended.set_exception(error)

    async def _watch(self) -> None:
        """Notice an engine that has work and makes no step."""
        was_busy = False
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            busy = bool(self._groups) and not self._paused
            if busy and not was_busy:
                self.load.last_step = time.monotonic()  # before that it had nothing to do
            was_busy = busy
            silent = time.monotonic() - self.load.last_step
            if busy and silent > HANG_SECONDS:
                self._fail(
                    EngineError(f"vLLM's engine hangs: it has work and made no step for {silent:.0f} s")
                )


async def _following(stream: AsyncIterator[Any]) -> Any:
    """The next output of a stream; None at its end."""
    async for output in stream:
        return output
    return None


class _Drafts:
    """The samples of a request, as far as they have come."""

    def __init__(self, n: int) -> None:
        self._texts = [""] * n
        self._tokens = [0] * n

    def add(self, outputs: Sequence[Any]) -> Iterator[Sample]:
        """Take what is new; yields what is finished by it."""
        for output in outputs:
            self._texts[output.index] += output.text
            self._tokens[output.index] += len(output.token_ids)
            if output.finish_reason is not None and output.finish_reason != "abort":
                yield Sample(
                    output.index, self._texts[output.index], self._tokens[output.index], output.finish_reason
                )


def chat_text(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """The text that the model continues. Raises EngineConfigError when the model has no chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise EngineConfigError(
            "the model has no chat template: use its instruction-tuned version, or add a chat_template.jinja"
        )
    try:
        return _templated(tokenizer, messages)
    except Exception:  # jinja2's; some templates know no system text
        whole = "\n\n".join(message["content"] for message in messages)
        return _templated(tokenizer, [{"role": "user", "content": whole}])


def _templated(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _gpus(config: Any) -> int:
    """GPUs of the engine; 0 on vLLM's CPU build."""
    from vllm.platforms import current_platform

    parallel = config.parallel_config
    return 0 if current_platform.is_cpu() else int(parallel.world_size * parallel.data_parallel_size)


def _abandon(building: asyncio.Future[Any]) -> None:
    """Nobody waits for the engine any more: end its processes, and it as soon as it is there."""

    def shut_down(done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and done.exception() is None:
            done.result().shutdown()

    building.add_done_callback(shut_down)
    for process in multiprocessing.active_children():
        process.terminate()


def _one_line(error: BaseException) -> str:
    """The part of an error that says why."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 400 else text[:396] + " ..."
