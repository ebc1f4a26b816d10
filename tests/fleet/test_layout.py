"""Who runs where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.fleet.layout import Evaluator, Generator, LayoutError, Wishes, plan

CORES = list(range(16))


def on(gpus: int, wishes: Wishes | None = None, *, engine: str = "vllm", cores: list[int] = CORES):
    return plan(gpus, cores, wishes or Wishes(), engine_uses_gpu=engine == "vllm", engine=engine)


def test_eight_gpus_are_split_four_and_four() -> None:
    layout = on(8)
    assert layout.generators == (Generator((0, 1, 2, 3)),)
    assert [e.gpu for e in layout.evaluators] == [4, 5, 6, 7]
    assert layout.tensor_parallel_size == 4
    assert not layout.shared


def test_the_default_said_with_flags_is_the_default() -> None:
    said = Wishes(generation_gpus=(0, 1, 2, 3), tensor_parallel_size=4, evaluation_gpus=(4, 5, 6, 7))
    assert on(8, said) == on(8)


@pytest.mark.parametrize(
    ("gpus", "generating", "evaluating"),
    [
        (2, [(0,)], [1]),
        (3, [(0,)], [1, 2]),
        (4, [(0, 1)], [2, 3]),
        (6, [(0, 1)], [2, 3, 4, 5]),
        (16, [(0, 1, 2, 3), (4, 5, 6, 7)], list(range(8, 16))),
    ],
)
def test_other_sizes(gpus: int, generating: list[tuple[int, ...]], evaluating: list[int]) -> None:
    layout = on(gpus)
    assert [g.gpus for g in layout.generators] == generating
    assert [e.gpu for e in layout.evaluators] == evaluating


def test_one_gpu_is_shared_and_that_is_said() -> None:
    layout = on(1)
    assert layout.generators == (Generator((0,)),)
    assert layout.evaluators == (Evaluator(gpu=0),)
    assert layout.shared == (0,)
    assert any("both" in reason for reason in layout.reasons)


def test_no_gpu_means_cpu_and_that_is_said() -> None:
    layout = on(0, engine="grammar")
    assert layout.target == "cpu"
    assert layout.generators == (Generator(),)
    assert any("no GPU here: target cpu" in reason for reason in layout.reasons)


@pytest.mark.parametrize("engine", ["grammar", "openai"])
def test_an_engine_without_gpu_leaves_all_to_evaluation(engine: str) -> None:
    layout = on(4, engine=engine)
    assert [e.gpu for e in layout.evaluators] == [0, 1, 2, 3]
    assert layout.generators == (Generator(),)


def test_the_small_model_without_vllm_writes_on_the_cpu_for_the_gpu() -> None:
    layout = plan(1, CORES, Wishes(), engine_uses_gpu=False, engine="embedded", engine_uses_cores=True)
    assert layout.target == "cuda" and not layout.shared
    assert (layout.generators, layout.evaluators) == ((Generator(),), (Evaluator(gpu=0),))


def test_target_cpu_on_a_gpu_machine_gives_the_gpus_to_the_engine() -> None:
    layout = on(2, Wishes(target="cpu"))
    assert layout.generators == (Generator((0, 1)),)
    assert all(e.gpu is None for e in layout.evaluators)


def test_the_judges_of_several_gpus_compile_on_cores_of_their_own() -> None:
    layout = on(8, cores=list(range(64)))
    cores = [set(evaluator.cores) for evaluator in layout.evaluators]
    assert [len(own) for own in cores] == [12, 12, 12, 12]
    assert len(set.union(*cores)) == 48
    assert any("with 12 cores for each" in reason for reason in layout.reasons)


def test_one_judge_and_judges_on_few_cores_may_use_all() -> None:
    assert [e.cores for e in on(2, cores=list(range(64))).evaluators] == [()]
    assert [e.cores for e in on(8, cores=list(range(16))).evaluators] == [()] * 4


def test_only_evaluation_said_leaves_the_rest_to_generation() -> None:
    layout = on(4, Wishes(evaluation_gpus=(0, 1)))
    assert layout.generators == (Generator((2, 3)),)


def test_cpu_workers_have_cores_of_their_own() -> None:
    layout = on(0, Wishes(evaluation_workers=3), engine="grammar")
    cores = [core for e in layout.evaluators for core in e.cores]
    assert len(layout.evaluators) == 3
    assert len(cores) == len(set(cores))


@pytest.mark.parametrize(
    ("gpus", "wishes", "words"),
    [
        (2, Wishes(evaluation_gpus=(2,)), "GPU 2 does not exist: this machine has GPUs 0-1"),
        (1, Wishes(generation_gpus=(3,)), "GPU 3 does not exist: this machine has GPU 0 only"),
        (0, Wishes(evaluation_gpus=(0,)), "no GPU is visible"),
        (0, Wishes(), "engine vllm needs an NVIDIA GPU"),
        (4, Wishes(tensor_parallel_size=8), "needs 8 GPUs"),
        (4, Wishes(generation_gpus=(0, 1, 2), tensor_parallel_size=2), "do not divide"),
        (4, Wishes(target="cpu", evaluation_gpus=(0,)), "contradicts"),
        (4, Wishes(evaluation_workers=2), "--evaluation-workers is for --target cpu"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(gpus: int, wishes: Wishes, words: str) -> None:
    with pytest.raises(LayoutError, match=words) as caught:
        on(gpus, wishes)
    assert "\n" not in str(caught.value)


def test_target_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(LayoutError, match="--target cuda needs an NVIDIA GPU"):
        on(0, Wishes(target="cuda"), engine="grammar")


def test_more_cpu_workers_than_cores_are_refused() -> None:
    with pytest.raises(LayoutError, match="needs a core of its own"):
        on(0, Wishes(evaluation_workers=3), engine="grammar", cores=[0, 1])


index_lists = st.none() | st.lists(st.integers(0, 17), min_size=1, max_size=8, unique=True).map(tuple)


@given(
    gpus=st.integers(0, 16),
    cores=st.integers(1, 200),
    generation=index_lists,
    evaluation=index_lists,
    size=st.none() | st.integers(1, 9),
    workers=st.none() | st.integers(1, 8),
    target=st.sampled_from([None, "cpu", "cuda"]),
    engine=st.sampled_from(["vllm", "grammar"]),
)
def test_whatever_is_asked_the_layout_holds_its_promises(
    gpus, cores, generation, evaluation, size, workers, target, engine
) -> None:
    wishes = Wishes(target, generation, size, evaluation, workers)
    try:
        layout = on(gpus, wishes, engine=engine, cores=list(range(cores)))
    except LayoutError as error:
        assert "\n" not in str(error) and str(error)
        return
    generating = [gpu for g in layout.generators for gpu in g.gpus]
    evaluating = [e.gpu for e in layout.evaluators if e.gpu is not None]
    assert layout.generators and layout.evaluators and layout.reasons
    assert len(set(generating)) == len(generating) and len(set(evaluating)) == len(evaluating)
    assert all(0 <= gpu < gpus for gpu in (*generating, *evaluating))
    if engine == "vllm":
        assert {len(g.gpus) for g in layout.generators} == {size or layout.tensor_parallel_size}
        if generation is not None:
            assert tuple(generating) == generation
    else:
        assert not generating
    if layout.target == "cuda":
        assert len(evaluating) == len(layout.evaluators)
        if evaluation is not None:
            assert tuple(evaluating) == evaluation
    else:
        used = [core for e in layout.evaluators for core in e.cores]
        assert len(set(used)) == len(used) <= cores and all(e.cores for e in layout.evaluators)


def beside(cores: int, wishes: Wishes | None = None):
    """The layout for an engine that computes on the cores."""
    return plan(
        0, range(cores), wishes or Wishes(), engine_uses_gpu=False, engine="embedded", engine_uses_cores=True
    )


def test_on_few_cores_an_engine_that_computes_there_takes_turns_with_the_timing() -> None:
    layout = beside(2)
    assert layout.generators[0].gate == layout.evaluators[0].gate != ""
    assert layout.evaluators[0].cores == (0, 1) and layout.generators[0].cores == ()
    assert "generation pauses while a kernel is timed" in layout.reasons


def test_on_many_cores_it_has_its_own() -> None:
    layout = beside(32)
    taken = [core for evaluator in layout.evaluators for core in evaluator.cores]
    assert layout.generators[0].cores and not set(layout.generators[0].cores) & set(taken)
    assert len(layout.evaluators) == 4 and not any(one.gate for one in layout.evaluators)
    assert "generation has cores of its own" in layout.reasons


def test_an_engine_that_computes_little_shares_nothing() -> None:
    layout = on(0, engine="grammar", cores=[0, 1])
    assert layout.generators == (Generator(),) and layout.evaluators[0].gate == ""


def test_too_many_workers_beside_it_are_refused() -> None:
    with pytest.raises(LayoutError, match="the engine takes 2 of the 4 cores"):
        beside(4, Wishes(evaluation_workers=3))
