"""Which worker runs on which GPU or core. Pure: counts and wishes in, a layout and its reasons in words out.

- Eight GPUs, nothing said: 0-3 generate with 4-way tensor parallelism, 4-7 evaluate. Fewer: about half
  generate (a power of two, as attention heads divide), the rest evaluate. One: both sides share it.
- An engine that needs no GPU leaves all of them to evaluation. No GPU: target cpu.
- On target cpu every evaluating worker has cores of its own: two timings on the same cores would disturb
  each other.
- What the user names is taken as it is, or refused with one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..state.task import Target

LEAST_SHARE = 4
"""Cores of a GPU's evaluating worker; with fewer each they share all of them."""
WIDEST_TENSOR_PARALLELISM = 4
"""Chosen where nothing is said: four H100s or H200s hold a 70B model, and two such engines generate more
than one over eight GPUs."""
CORES_PER_EVALUATOR = 8
"""Eager's own speed on a CPU grows little beyond eight cores for most workloads; a laptop stays one worker."""
ENGINE_CORES = 2
"""Of the small model on a machine with several evaluating workers; on a smaller one it takes turns with the timing."""
CPU_GATE = "cpu"


class LayoutError(Exception):
    """These GPUs cannot be used that way. One line that says what and what to do."""


@dataclass(frozen=True)
class Wishes:
    """What the user said; None: nothing."""

    target: Target | None = None
    generation_gpus: tuple[int, ...] | None = None
    tensor_parallel_size: int | None = None
    evaluation_gpus: tuple[int, ...] | None = None
    evaluation_workers: int | None = None


@dataclass(frozen=True)
class Generator:
    """One generating worker: one engine over ``gpus`` (none: the engine needs none)."""

    gpus: tuple[int, ...] = ()
    cores: tuple[int, ...] = ()
    """Its own where the engine computes on the cores that are timed on; (): any."""
    gate: str = ""
    """Name of what it takes turns on with a judge, besides GPUs; '': nothing."""


@dataclass(frozen=True)
class Evaluator:
    """One evaluating worker: one GPU, or cores of a CPU."""

    gpu: int | None = None
    cores: tuple[int, ...] = ()
    gate: str = ""
    """As the generator's."""


@dataclass(frozen=True)
class Layout:
    """Who runs where."""

    target: Target
    generators: tuple[Generator, ...]
    evaluators: tuple[Evaluator, ...]
    reasons: tuple[str, ...] = field(default=())
    """The decision in words."""

    @property
    def shared(self) -> tuple[int, ...]:
        """GPUs that both sides use."""
        generating = {gpu for generator in self.generators for gpu in generator.gpus}
        return tuple(sorted(generating & {e.gpu for e in self.evaluators if e.gpu is not None}))

    @property
    def tensor_parallel_size(self) -> int:
        """GPUs of one engine; 1 for an engine that uses none."""
        return max(1, len(self.generators[0].gpus))


def plan(
    gpus: int,
    cores: Sequence[int],
    wishes: Wishes,
    *,
    engine_uses_gpu: bool,
    engine: str,
    engine_uses_cores: bool = False,
) -> Layout:
    """The layout for ``gpus`` visible GPUs and the ids of the usable ``cores``. Raises LayoutError.

    ``engine_uses_cores``: it computes on the CPU, so on target cpu it must not do so while a kernel is timed.
    """
    _check_indices("--generation-gpus", wishes.generation_gpus, gpus)
    _check_indices("--evaluation-gpus", wishes.evaluation_gpus, gpus)
    if engine_uses_gpu and not gpus:
        raise LayoutError(
            f"engine {engine} needs an NVIDIA GPU and none is visible: use --endpoint or no --model"
        )
    target = _target(gpus, wishes)
    reasons: list[str] = []
    generating, evaluating = _split(gpus, wishes, target, engine_uses_gpu)
    size = _tensor_parallel_size(wishes, generating) if engine_uses_gpu else 1
    generators = _generators(generating, size) if engine_uses_gpu else (Generator(),)
    if engine_uses_gpu:
        reasons.append(_say_generation(engine, generators, size))
    else:
        reasons.append(f"engine {engine} runs in one process and uses no GPU of this machine")
        if wishes.generation_gpus is not None or wishes.tensor_parallel_size is not None:
            reasons.append("--generation-gpus and --tensor-parallel-size have no effect with this engine")
    if target == "cuda":
        evaluators = _gpu_evaluators(evaluating, list(cores))
        each = len(evaluators[0].cores)
        reasons.append(
            f"{_gpus(evaluating)} evaluate{'s' if len(evaluating) == 1 else ''}, target cuda"
            + (f", with {each} cores for each" if each else "")
        )
    else:
        evaluators = _cpu_evaluators(list(cores), wishes.evaluation_workers)
        if engine_uses_cores:
            generators, evaluators = _beside_an_engine(list(cores), evaluators)
            reasons.append(
                "generation has cores of its own"
                if generators[0].cores
                else "generation pauses while a kernel is timed"
            )
        why = "no GPU here: " if gpus == 0 else ""
        each = len(evaluators[0].cores)
        reasons.append(
            f"{why}target cpu, {len(evaluators)} evaluating worker{'s' if len(evaluators) > 1 else ''} "
            f"with {each} core{'s' if each > 1 else ''} each"
        )
    layout = Layout(target, generators, evaluators, tuple(reasons))
    if not layout.shared:
        return layout
    both = (
        f"{_gpus(layout.shared)} {'do' if len(layout.shared) > 1 else 'does'} both: generation and evaluation"
    )
    return Layout(target, generators, evaluators, (*reasons, f"{both} share the memory and take turns"))


def _target(gpus: int, wishes: Wishes) -> Target:
    if wishes.target == "cuda" and gpus == 0:
        raise LayoutError("--target cuda needs an NVIDIA GPU and none is visible: use --target cpu")
    if wishes.target == "cpu" and wishes.evaluation_gpus is not None:
        raise LayoutError("--evaluation-gpus contradicts --target cpu: drop one of them")
    target: Target = wishes.target or ("cuda" if gpus else "cpu")
    if target == "cuda" and wishes.evaluation_workers is not None:
        raise LayoutError(
            "--evaluation-workers is for --target cpu; on cuda each of --evaluation-gpus has one"
        )
    return target


def _check_indices(flag: str, chosen: tuple[int, ...] | None, gpus: int) -> None:
    if chosen is None:
        return
    missing = [index for index in chosen if not 0 <= index < gpus]
    if missing:
        have = f"this machine has GPUs 0-{gpus - 1}" if gpus > 1 else "this machine has GPU 0 only"
        have = have if gpus else "no GPU is visible here"
        raise LayoutError(f"{flag}: GPU {missing[0]} does not exist: {have}")


def _split(
    gpus: int, wishes: Wishes, target: Target, engine_uses_gpu: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """GPUs that generate and GPUs that evaluate."""
    every = tuple(range(gpus))
    generating, evaluating = wishes.generation_gpus, wishes.evaluation_gpus
    if not engine_uses_gpu:
        return (), evaluating or every
    if target == "cpu":
        return generating or _whole_engines(every, wishes.tensor_parallel_size), ()
    if generating is None:
        free = tuple(i for i in every if i not in (evaluating or ()))
        if evaluating is None:
            free = every[: _generating_half(gpus, wishes.tensor_parallel_size)]
        generating = _whole_engines(free or every, wishes.tensor_parallel_size)
    if evaluating is None:
        # All of them generate, as on a machine with one: they take turns.
        evaluating = tuple(i for i in every if i not in generating) or generating
    return generating, evaluating


def _generating_half(gpus: int, size: int | None) -> int:
    if size is not None:
        if size > gpus:
            raise LayoutError(f"--tensor-parallel-size {size} needs {size} GPUs and {gpus} are visible")
        return max(size, gpus // 2 // size * size)
    half = max(1, gpus // 2)
    size = _power_of_two(half)
    return half // size * size


def _whole_engines(gpus: tuple[int, ...], size: int | None) -> tuple[int, ...]:
    """As many of ``gpus`` as make whole engines."""
    if size is not None and size > len(gpus):
        raise LayoutError(
            f"--tensor-parallel-size {size} needs {size} GPUs and {len(gpus)} are left for generation"
        )
    width = size or _power_of_two(len(gpus))
    return gpus[: len(gpus) // width * width]


def _power_of_two(available: int) -> int:
    return min(WIDEST_TENSOR_PARALLELISM, 1 << (available.bit_length() - 1))


def _tensor_parallel_size(wishes: Wishes, generating: tuple[int, ...]) -> int:
    count = len(generating)
    size = wishes.tensor_parallel_size
    if size is None:
        size = _power_of_two(count)
        while count % size:
            size //= 2
    if count % size:
        raise LayoutError(
            f"{count} generation GPUs do not divide into engines of --tensor-parallel-size {size}: "
            f"give {count // size * size or size} GPUs or another size"
        )
    return size


def _generators(generating: tuple[int, ...], size: int) -> tuple[Generator, ...]:
    return tuple(Generator(generating[i : i + size]) for i in range(0, len(generating), size))


def _gpu_evaluators(gpus: tuple[int, ...], cores: list[int]) -> tuple[Evaluator, ...]:
    """Each compiles on cores of its own, where there are several: all of them on all cores would be many times too many
    processes. One share is left to whatever else there is."""
    each = len(cores) // (len(gpus) + 1)
    if len(gpus) == 1 or each < LEAST_SHARE:
        return tuple(Evaluator(gpu=gpu) for gpu in gpus)
    return tuple(
        Evaluator(gpu=gpu, cores=tuple(cores[i * each : (i + 1) * each])) for i, gpu in enumerate(gpus)
    )


def _cpu_evaluators(cores: list[int], wanted: int | None) -> tuple[Evaluator, ...]:
    count = wanted or max(1, len(cores) // CORES_PER_EVALUATOR)
    if count > len(cores):
        raise LayoutError(
            f"--evaluation-workers {count}: each needs a core of its own, and {len(cores)} are usable"
        )
    each = len(cores) // count
    return tuple(Evaluator(cores=tuple(cores[i * each : (i + 1) * each])) for i in range(count))


def _beside_an_engine(
    cores: list[int], evaluators: tuple[Evaluator, ...]
) -> tuple[tuple[Generator, ...], tuple[Evaluator, ...]]:
    """Who shares the cores with an engine that computes on them."""
    if len(evaluators) == 1:
        alone = Evaluator(cores=evaluators[0].cores, gate=CPU_GATE)
        return (Generator(gate=CPU_GATE),), (alone,)
    if len(cores) < ENGINE_CORES + len(evaluators):
        raise LayoutError(
            f"--evaluation-workers {len(evaluators)}: the engine takes {ENGINE_CORES} of the {len(cores)} cores"
        )
    return (Generator(cores=tuple(cores[:ENGINE_CORES])),), _cpu_evaluators(
        cores[ENGINE_CORES:], len(evaluators)
    )


def _say_generation(engine: str, generators: tuple[Generator, ...], size: int) -> str:
    every = tuple(gpu for generator in generators for gpu in generator.gpus)
    copies = f"{len(generators)} engines" if len(generators) > 1 else "one engine"
    return f"{_gpus(every)} generate{'s' if len(every) == 1 else ''}: {copies} of {engine}, tensor parallelism {size}"


def _gpus(indices: Sequence[int]) -> str:
    """``GPU 0``, ``GPUs 0-3``, ``GPUs 0,2``."""
    ordered = list(indices)
    consecutive = len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1))
    text = f"{ordered[0]}-{ordered[-1]}" if consecutive else ",".join(map(str, ordered))
    return f"GPU{'s' if len(ordered) > 1 else ''} {text}"
