"""Train the model from nothing: corpus, tokenizer, weights, in minutes on one GPU.

    python -m models.kernel_lm.train --out DIRECTORY --minutes 5 --seed 0

- Processes describe the operations, then write texts for the tokenizer, then rows for as long as the training takes.
- AdamW in bfloat16 (weights and their averages in float32); the learning rate rises, stays and falls to zero. Its
  course follows the steps where ``--steps`` says how many, else the clock of ``--minutes``, all preparation included.
- ``DIRECTORY`` then holds what transformers and vLLM load, and ``training.json``, which says how it was made.
- Without a GPU it runs too, in float32 and with short rows: to see that it works, not to get a model.
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

import numpy as np
import torch
from torch import Tensor

from . import masks, packing, tokenizer
from .model import LanguageModel
from .operations import HELD_OUT, learned, written
from .shape import PADDING_ID, TURN_END_ID, Shape
from .shards import Corpus, Recipe

LEARNING_RATE = 3e-3
"""Of a model this narrow; a third of it learns visibly slower, three times of it has spikes."""
FINAL_SHARE = 0.5
"""Of the course in which the learning rate falls to zero."""
WARM_UP_STEPS = 150
WEIGHT_DECAY = 0.1
CLIP = 1.0
BETAS = (0.9, 0.98)
TOKENIZER_SHARDS = 40
"""Some 5,000 prompts and 30,000 answers: more does not change the merges that matter."""
BATCHES_AHEAD = 8
LOG_STEPS = 100
ANSWER_SHARE = 0.9
"""Of a batch's tokens that may count in the loss; rows with more lose a few."""
VALIDATION_ROWS = 8


@dataclass
class Settings:
    """What the command line says."""

    out: Path
    minutes: float
    steps: int
    seed: int
    processes: int
    row_length: int = 8192
    rows: int = 8
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
        warming = threading.Thread(target=trainer.warm_up)  # compiles while the corpus is prepared
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
    """Model, optimiser and batches on one device."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        torch.set_float32_matmul_precision("high")
        self.settings, self.device = settings, device
        self.on_gpu = device.type == "cuda"
        self.model = LanguageModel(settings.shape).to(device)
        self._compiled: Any = torch.compile(self.model, dynamic=False) if self.on_gpu else self.model
        decayed = [p for p in self.model.parameters() if p.ndim >= 2]
        others = [p for p in self.model.parameters() if p.ndim < 2]
        self._optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}],
            lr=0.0, betas=BETAS, fused=self.on_gpu,
        )  # fmt: skip
        self._masks = (
            masks.BlockMasks(settings.rows, settings.row_length, device) if self.on_gpu else masks.dense
        )
        self.capacity = int(settings.rows * settings.row_length * ANSWER_SHARE) // 64 * 64

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Of a batch as ``packing.batch`` makes it, on the device."""
        tokens, positions, owners, chosen, targets = batch
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.on_gpu):
            found: Tensor = self._compiled(tokens, positions, self._masks(owners), chosen, targets)
        return found

    def warm_up(self) -> None:
        """Compile, with noise; leaves model and optimiser as they were."""
        rows, length = self.settings.rows, self.settings.row_length
        one = packing.Document(np.full(length // 8, 5, np.uint16), (np.full(length // 8, 7, np.uint16),) * 3)
        noise = packing.batch([packing.row([one, one], length)] * rows, self.capacity)
        self.loss(self.moved(noise)).backward()
        self._optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.loss(self.moved(noise))

    def moved(self, arrays: tuple[np.ndarray, ...]) -> tuple[Tensor, ...]:
        """NumPy arrays as tensors on the device."""
        tensors = [torch.from_numpy(array) for array in arrays]
        if self.on_gpu:
            return tuple(t.pin_memory().to(self.device, non_blocking=True) for t in tensors)
        return tuple(tensors)

    def train(self, corpus: Corpus, recipe: Path, course: Course, started: float) -> dict[str, Any]:
        """Until the course is over; says how it went."""
        batches = Batches(corpus, recipe, self.settings.rows, self.capacity)
        unseen = self.moved(
            packing.batch(list(islice(corpus.rows(recipe, -10_000), self.settings.rows)), self.capacity)
        )
        losses: list[float] = []
        recent = torch.zeros((), device=self.device)
        step, began, waited = 0, time.monotonic(), 0.0
        while (progress := course.progress(step)) < 1.0:
            asked = time.monotonic()
            batch = self.moved(batches.next())
            waited += time.monotonic() - asked
            loss = self._step(batch, learning_rate(step, progress))
            recent += loss
            step += 1
            if step % LOG_STEPS == 0:
                losses.append(recent.item() / LOG_STEPS)
                recent.zero_()
                rate = step * batch[0].numel() / (time.monotonic() - began)
                text = f"step {step} loss {losses[-1]:.4f} {rate / 1e6:.2f} Mtok/s, waited {waited:.1f} s for rows"
                say(started, text)
        with torch.no_grad():
            validation = self.loss(unseen).item()
        say(started, f"{step} steps; loss on unseen rows {validation:.4f} nats a token")
        batches.close()
        return {
            "steps": step, "loss": losses[-1] if losses else None, "validation_loss": validation,
            "tokens": step * self.settings.rows * self.settings.row_length,
            "seconds": time.monotonic() - started, "training_seconds": time.monotonic() - began,
        }  # fmt: skip

    def _step(self, batch: tuple[Tensor, ...], rate: float) -> Tensor:
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        loss = self.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return loss.detach()


class Batches:
    """Batches ahead of their use, made by a thread."""

    def __init__(self, corpus: Corpus, recipe: Path, rows: int, capacity: int) -> None:
        self._queue: queue.Queue[tuple[np.ndarray, ...]] = queue.Queue(BATCHES_AHEAD)
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._fill, args=(corpus.rows(recipe), rows, capacity), daemon=True
        )
        self._thread.start()

    def next(self) -> tuple[np.ndarray, ...]:
        """The next batch. Raises what stopped the making of them."""
        while True:
            try:
                return self._queue.get(timeout=1.0)
            except queue.Empty:
                if self._error is not None:
                    raise RuntimeError("no more rows") from self._error

    def close(self) -> None:
        """No more batches."""
        self._ended.set()

    def _fill(self, rows: Iterator[packing.Row], count: int, capacity: int) -> None:
        try:
            while not self._ended.is_set():
                made = packing.batch(list(islice(rows, count)), capacity)
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
        "temperature": 0.8,
        "top_p": 0.95,
    }
    write_json(settings.out / "generation_config.json", generation)
    report |= {
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "shape": asdict(settings.shape), "seed": settings.seed, "minutes": settings.minutes,
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
    parser.add_argument("--minutes", type=float, default=5.0, help="whole time, all preparation included")
    parser.add_argument(
        "--steps", type=int, default=0, help="number of steps; 0: as many as the minutes allow"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--processes", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="that write the corpus"
    )
    parser.add_argument("--row-length", type=int, default=8192, help="tokens of a row")
    parser.add_argument("--rows", type=int, default=8, help="rows of a batch")
    given = parser.parse_args(arguments)
    return Settings(**vars(given))


if __name__ == "__main__":
    main()
