"""Train the model from nothing: corpus, tokenizer, weights, in minutes on one GPU.

    python -m models.kernel_lm.train --out DIRECTORY --seed 0

- Processes describe the operations, then write texts for the tokenizer, then rows for as long as the training takes.
- Muon and AdamW, weights and their averages in float32; the learning rate rises, stays and falls to zero. Its
  course follows the steps where ``--steps`` says how many, else the clock of ``--minutes``, all preparation included.
- ``DIRECTORY`` then holds what transformers and vLLM load, and ``training.json``, which says how it was made.
- On a GPU in bfloat16, which made the model that is shipped; without one in float32 (``ways.py``), and for an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import tokenizer
from .model import LanguageModel
from .operations import HELD_OUT, learned, written
from .shape import PADDING_ID, TURN_END_ID, Shape
from .shards import Corpus, Recipe
from .ways import OnCpu, OnGpu, Way

GPU_STEPS = 3200
"""Where neither steps nor minutes are said: of 65,536 tokens, six minutes of an H100, and two of preparation."""
CPU_MINUTES = 60.0
"""Likewise without a GPU: much less than the model could use."""
BATCHES = {True: 8, False: 4}
"""Rows on a GPU, documents without one."""
LEARNING_RATE = 6e-3
"""With Muon. After 120 steps of two documents the loss was 2.2 nats a token, with AdamW alone (at 3e-3) 3.7."""
FINAL_SHARE = 0.5
"""Of the course in which the learning rate falls to zero."""
WARM_UP_STEPS = 40
WEIGHT_DECAY = 0.1
CLIP = 1.0
BETAS = (0.9, 0.98)
TOKENIZER_SHARDS = 20
"""Some 2,500 prompts and 15,000 answers: more does not change the merges that matter."""
BATCHES_AHEAD = 8
LOG_STEPS = 20
TEMPERATURE = 1.2
"""Of the model's samples by default, without a top-p, which cuts every rare mistake away: see docs/kernel_lm.md."""
VALIDATION_SHARD = -10_000
"""The first of those that nothing is learned from."""


@dataclass
class Settings:
    """What the command line says."""

    out: Path
    minutes: float
    steps: int
    seed: int
    processes: int
    row_length: int = 8192
    batch: int = 8
    shape: Shape = field(default_factory=Shape)


class Course:
    """How far the training is, 0 to 1, and the learning rate there."""

    def __init__(self, steps: int, deadline: float) -> None:
        self._steps, self._deadline = steps, deadline
        self._started = time.monotonic()

    def progress(self, step: int) -> float:
        """By steps where their number is given, else by the clock."""
        if self._steps:
            return step / self._steps
        whole = max(1e-9, self._deadline - self._started)
        return min(1.0, (time.monotonic() - self._started) / whole)


def learning_rate(step: int, progress: float) -> float:
    """The course of the learning rate."""
    rising = min(1.0, (step + 1) / WARM_UP_STEPS)
    falling = min(1.0, (1.0 - progress) / FINAL_SHARE)
    return LEARNING_RATE * rising * max(0.0, falling)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    run(_parsed(arguments))


def run(settings: Settings) -> None:
    """Train and write the model."""
    started = time.monotonic()
    settings.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    corpus = Corpus(settings.processes)
    try:
        trainer = Trainer(settings, device)
        warming = threading.Thread(target=trainer.way.warm_up)  # compiles while the corpus is prepared
        warming.start()
        recipe, trained = prepare(corpus, settings)
        say(started, "tokenizer trained")
        warming.join()
        say(started, "model compiled")
        course = Course(settings.steps, started + 60 * settings.minutes)
        report = trainer.train(corpus, recipe, course, started)
        save(trainer, trained, report, settings)
        say(started, f"saved {settings.out}")
    finally:
        corpus.close()
    show_samples(settings.out, settings.seed)
    say(started, "done")


def prepare(corpus: Corpus, settings: Settings) -> tuple[Path, Any]:
    """The recipe file of the rows and the tokenizer."""
    names = learned_names()
    described = corpus.describe(sorted({name for some in names.values() for name in some}))
    recipe = Recipe(settings.seed, described, names, settings.row_length)
    texts = corpus.texts(recipe.save(settings.out / "recipe-texts.json"), TOKENIZER_SHARDS)
    trained = tokenizer.train(texts, settings.shape)
    whole = Recipe(settings.seed, described, names, settings.row_length, trained.to_str())
    (settings.out / "recipe-texts.json").unlink()
    return whole.save(settings.out / "recipe.json"), trained


def learned_names() -> dict[str, list[str]]:
    """DSL -> operations to learn."""
    return {"numba": learned("numba"), "triton": learned("triton")}


class Trainer:
    """Model, optimisers and the way of this device."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        torch.set_float32_matmul_precision("high")
        self.settings, self.device = settings, device
        self.on_gpu = device.type == "cuda"
        self.model = LanguageModel(settings.shape).to(device)
        self.way: Way = (
            OnGpu(self.model, device, settings.batch, settings.row_length)
            if self.on_gpu
            else OnCpu(self.model)
        )
        self._optimisers = optimisers(self.model)

    def train(self, corpus: Corpus, recipe: Path, course: Course, started: float) -> dict[str, Any]:
        """Until the course is over; says how it went."""
        size, way = self.settings.batch, self.way
        batches = Batches(way, way.items(corpus, recipe), size)
        unseen = way.batch(list(islice(way.items(corpus, recipe, VALIDATION_SHARD), way.unseen_items)))
        losses: list[float] = []
        recent = torch.zeros((), device=self.device)
        step, tokens, began, waited = 0, 0, time.monotonic(), 0.0
        while (progress := course.progress(step)) < 1.0:
            asked = time.monotonic()
            batch = batches.next()
            waited += time.monotonic() - asked
            loss, read = self._step(batch, learning_rate(step, progress))
            recent += loss
            tokens += read
            step += 1
            if step % LOG_STEPS == 0:
                losses.append(recent.item() / LOG_STEPS)
                recent.zero_()
                rate = tokens / (time.monotonic() - began)
                text = f"step {step} loss {losses[-1]:.4f} {rate:,.0f} tokens/s, waited {waited:.1f} s for batches"
                say(started, text)
        with torch.no_grad():
            validation = way.loss(unseen).item()
        say(started, f"{step} steps; loss on unseen documents {validation:.4f} nats a token")
        batches.close()
        return {
            "steps": step, "loss": losses[-1] if losses else None, "validation_loss": validation, "tokens": tokens,
            "seconds": time.monotonic() - started, "training_seconds": time.monotonic() - began,
        }  # fmt: skip

    def _step(self, batch: Any, rate: float) -> tuple[Tensor, int]:
        for group in (group for one in self._optimisers for group in one.param_groups):
            group["lr"] = rate
        found = self.way.learn(batch)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        for one in self._optimisers:
            one.step()
            one.zero_grad(set_to_none=True)
        return found


def optimisers(model: LanguageModel) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, scaled so that AdamW's learning rate fits; AdamW for what else there is."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is one for one in matrices)]
    return [
        torch.optim.Muon(matrices, lr=0.0, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.0, betas=BETAS, weight_decay=0.0),
    ]


class Batches:
    """Batches ahead of their use, made by a thread."""

    def __init__(self, way: Way, items: Iterator[Any], count: int) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(BATCHES_AHEAD)
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fill, args=(way, items, count), daemon=True)
        self._thread.start()

    def next(self) -> Any:
        """The next batch. Raises what stopped the making of them."""
        while True:
            try:
                return self._queue.get(timeout=1.0)
            except queue.Empty:
                if self._error is not None:
                    raise RuntimeError("no more batches") from self._error

    def close(self) -> None:
        """No more batches."""
        self._ended.set()

    def _fill(self, way: Way, items: Iterator[Any], count: int) -> None:
        try:
            while not self._ended.is_set():
                made = way.batch(list(islice(items, count)))
                while not self._ended.is_set():
                    try:
                        self._queue.put(made, timeout=1.0)
                        break
                    except queue.Full:
                        continue
        except BaseException as error:  # handed to the reader
            self._error = error


def save(trainer: Trainer, trained: Any, report: dict[str, Any], settings: Settings) -> None:
    """All files of the model."""
    from safetensors.torch import save_file

    weights = {
        name: parameter.detach().to(torch.bfloat16).cpu().contiguous()
        for name, parameter in trainer.model.named_parameters()
    }
    save_file(weights, settings.out / "model.safetensors", metadata={"format": "pt"})
    (settings.out / "model.safetensors").chmod(0o644)
    tokenizer.save(trained, settings.out, settings.shape)
    write_json(settings.out / "config.json", settings.shape.config())
    generation = {
        "eos_token_id": TURN_END_ID,
        "pad_token_id": PADDING_ID,
        "do_sample": True,
        "temperature": TEMPERATURE,
        "top_p": 1.0,
    }
    write_json(settings.out / "generation_config.json", generation)
    report |= {
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "shape": asdict(settings.shape), "seed": settings.seed, "batch": settings.batch,
        "learned": learned_names(), "held_out": sorted(HELD_OUT & set(written("numba") + written("triton"))),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if trainer.on_gpu else platform.processor() or "CPU",
    }  # fmt: skip
    write_json(settings.out / "training.json", report)
    (settings.out / "recipe.json").unlink()


def write_json(file: Path, values: Any) -> None:
    """Readable JSON with a final newline."""
    file.write_text(json.dumps(values, indent=2) + "\n")


def say(started: float, text: str) -> None:
    """A line with the seconds since the start."""
    print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)


def show_samples(directory: Path, seed: int) -> None:
    """A few texts of the trained model, for the eye."""
    from .sampling import sample_texts

    for operation, dsl in (("relu", "triton"), ("softmax", "triton"), ("add", "numba"), ("minimum", "numba")):
        for text in sample_texts(directory, operation, dsl, count=1, seed=seed):  # type: ignore[arg-type]
            print(f"--- {operation}, {dsl}\n{text}\n", flush=True)


def _parsed(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(
        prog="python -m models.kernel_lm.train", description="Train the farm's own model."
    )
    parser.add_argument("--out", type=Path, required=True, help="directory for the model's files")
    parser.add_argument(
        "--minutes", type=float, help="whole time, all preparation included, instead of --steps"
    )
    parser.add_argument(
        "--steps",
        type=int,
        help=f"default: {GPU_STEPS} on a GPU, without one as many as --minutes {CPU_MINUTES:.0f} allow",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--processes", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="that write the corpus"
    )
    parser.add_argument("--row-length", type=int, default=8192, help="tokens of a row, on a GPU")
    parser.add_argument("--batch", type=int, help="of this many rows (GPU) or documents (without one)")
    return decided(vars(parser.parse_args(arguments)), on_gpu=torch.cuda.is_available())


def decided(given: dict[str, Any], *, on_gpu: bool) -> Settings:
    """What the command line says, and what it leaves to the device."""
    if not given["minutes"] and not given["steps"]:
        given |= {"steps": GPU_STEPS} if on_gpu else {"minutes": CPU_MINUTES}
    given["batch"] = given["batch"] or BATCHES[on_gpu]
    return Settings(**{**given, "minutes": given["minutes"] or 0.0, "steps": given["steps"] or 0})


if __name__ == "__main__":
    main()
