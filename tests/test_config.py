"""One definition of each setting; precedence; errors; secrets."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend import config
from BackendBench.vllm_backend.cli.options import option
from BackendBench.vllm_backend.config import ConfigError, RunConfig, parse_gpus, resolve, settings_of


def run_config(
    flags: dict[str, object] | None = None, *, file: Path | None = None, **environment: str
) -> RunConfig:
    return resolve(RunConfig, flags or {}, file=file, environment=environment)


def yaml_file(folder: Path, text: str) -> Path:
    file = folder / "farm.yaml"
    file.write_text(text)
    return file


def test_precedence_flag_environment_file_default(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "candidates_per_op: 1\ngroup_size: 2\nmax_tokens: 3\n")
    found = run_config(
        {"candidates_per_op": "100", "name": None},
        file=file,
        BACKENDBENCH_CANDIDATES_PER_OP="10",
        BACKENDBENCH_GROUP_SIZE="20",
    )
    assert (found.candidates_per_op, found.group_size, found.max_tokens) == (100, 20, 3)
    assert found.top_p == RunConfig().top_p


def test_the_file_can_come_from_the_environment(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "policy: rejection")
    assert run_config(BACKENDBENCH_CONFIG=str(file)).policy == "rejection"


def test_every_model_gives_each_setting_one_flag_one_variable_one_key() -> None:
    for model in config.MODELS:
        found = settings_of(model)
        assert len({s.flag for s in found}) == len({s.variable for s in found}) == len(found)


def test_every_setting_explains_itself() -> None:
    for model in config.MODELS:
        for setting in settings_of(model):
            assert setting.field.description, setting.flag
            assert setting.section, setting.flag
            assert isinstance(option(setting), click.Option)


def test_the_judge_is_set_by_the_same_flags() -> None:
    found = run_config({"compile_seconds": "7.5", "require_sandbox": True}, BACKENDBENCH_TIMING="quick")
    assert found.judge.compile_seconds == 7.5
    assert found.judge.require_sandbox
    assert found.judge.timing == "quick"


def test_a_written_config_is_read_back_the_same(tmp_path: Path) -> None:
    found = run_config({"operations": "relu,add", "generation_gpus": "0-3", "memory_bytes": "1000", "seed": "4",
                        "engine_args": '{"max_model_len": 8192}'})  # fmt: skip
    assert run_config(file=yaml_file(tmp_path, config.dump(found))) == found


def test_secrets_are_in_neither_dump_nor_repr() -> None:
    found = run_config(
        {"redis_url": "rediss://farm:hunter2@10.0.0.1:6380/0"},
        BACKENDBENCH_REDIS_PASSWORD="hunter2",
        BACKENDBENCH_API_KEY="hunter2",
    )
    assert found.api_key is not None and found.api_key.get_secret_value() == "hunter2"
    assert "hunter2" not in config.dump(found)
    assert "10.0.0.1:6380" in config.dump(found)


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        ({"candidates_per_op": "0"}, {}, ["--candidates-per-op", "greater than 0", "'0'"]),
        ({}, {"BACKENDBENCH_GROUP_SIZE": "many"}, ["BACKENDBENCH_GROUP_SIZE", "'many'"]),
        ({"generation_gpus": "3-"}, {}, ["--generation-gpus", "write 0-3"]),
        ({"engine_args": "{"}, {}, ["--engine-args", "JSON"]),
        ({"policy": "magic"}, {}, ["--policy", "'magic'"]),
        ({"compile_seconds": "-1"}, {}, ["--compile-seconds"]),
        ({"name": "../up"}, {}, ["--name"]),
        ({"operations": ""}, {}, ["--operations"]),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_origin(
    flags: dict[str, str], environment: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        run_config(flags, **environment)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_wrong_secret_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(RunConfig, {"api_key": ["hunter2"]}, environment={})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("candidates_per_opp: 3", "did you mean candidates_per_op"),
        ("- a\n- b", "must hold keys and values"),
        ("a: [", "no YAML"),
        ("group_size: none", "group_size in"),
        ("judge: 3", "unknown key 'judge'"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        run_config(file=yaml_file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the config file"):
        run_config(file=tmp_path / "none.yaml")


def test_keys_of_other_commands_are_welcome_in_a_file(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, yaml.safe_dump({"redis-host": "a", "candidates_per_op": 3}))
    assert resolve(config.StoreConfig, {}, file=file, environment={}).redis_host == "a"


@given(st.lists(st.integers(0, 63), min_size=1, max_size=12, unique=True))
def test_a_list_of_gpus_is_read_as_written(indices: list[int]) -> None:
    assert parse_gpus(",".join(map(str, indices))) == tuple(indices)


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_range_of_gpus_holds_both_ends(first: int, length: int) -> None:
    assert parse_gpus(f"{first}-{first + length}") == tuple(range(first, first + length + 1))


@given(st.text(max_size=8))
def test_whatever_is_given_as_gpus_is_read_or_refused(text: str) -> None:
    try:
        found = parse_gpus(text)
    except ValueError:
        return
    assert found and all(index >= 0 for index in found)
