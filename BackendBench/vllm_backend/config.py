"""Every setting of the farm: one definition each, for flag, environment variable and key of the config file.

- A field of a model here *is* the setting: its name makes ``--candidates-per-op``,
  ``BACKENDBENCH_CANDIDATES_PER_OP`` and the YAML key ``candidates_per_op``; its docstring is the help text.
- Precedence: flag, environment, file (``--config FILE``), default. ``resolve`` merges and validates.
- A wrong value is a ``ConfigError``: one line that names where the value came from.
- Secrets are ``SecretStr``; ``public`` leaves them out, and that is what run directory and Redis get to see.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from . import number_list
from .evaluation.settings import JudgeSettings
from .generation.settings import EngineName
from .search import registry
from .state.task import Dsl, Target

PREFIX = "BACKENDBENCH_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
DEFAULT_OPERATIONS = "relu,add,mul,sigmoid,matmul,softmax,layer_norm"
NOT_SETTINGS = {
    ("judge", "target"), ("judge", "device_index"), ("judge", "gpu_gate"), ("judge", "seed"), ("judge", "skip_screen"),
}  # fmt: skip
"""Fields of JudgeSettings that are decided, not set: by --target, by the layout, by the system's entropy, by tests."""

ModelT = TypeVar("ModelT", bound=BaseModel)


class ConfigError(Exception):
    """A setting makes no sense. One line that says which, what is wrong and what to do."""


def parse_gpus(value: Any) -> Any:
    """``0-3,6`` as a tuple of indices, in the order given. Raises ValueError."""
    if value is None or isinstance(value, tuple | list):
        return value
    try:
        found = number_list.parsed(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no list of GPUs: write 0-3 or 0,2,5") from None
    if len(set(found)) != len(found) or not found:
        raise ValueError(f"{value!r} is empty or names a GPU twice")
    return tuple(found)


def _parse_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"no JSON object ({error})") from None


def _join(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _known_policy(value: str) -> str:
    if value not in registry.POLICIES:
        raise ValueError(f"use {' or '.join(registry.POLICIES)}")
    return value


Gpus = Annotated[
    tuple[int, ...] | None, BeforeValidator(parse_gpus), Field(json_schema_extra={"metavar": "GPUS"})
]
Names = Annotated[str, BeforeValidator(_join), Field(min_length=1, json_schema_extra={"metavar": "NAMES"})]
JsonObject = Annotated[
    dict[str, Any], BeforeValidator(_parse_json), Field(json_schema_extra={"metavar": "JSON"})
]
Auto = Literal["auto"]
PolicyName = Annotated[
    str, AfterValidator(_known_policy), Field(json_schema_extra={"choices": list(registry.POLICIES)})
]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class RedisConfig(_Settings):
    """Redis"""

    redis_url: str | None = None
    """Redis to use, redis://HOST:PORT/DB, or rediss:// for TLS. None given: the one on localhost if it answers,
    else a private one."""
    redis_host: str | None = None
    """Host of the Redis to use, instead of a URL."""
    redis_port: int | None = Field(default=None, gt=0, lt=65536)
    """Its port (6379 where only the host is given)."""
    redis_password: SecretStr | None = None
    """Its password. Better given as BACKENDBENCH_REDIS_PASSWORD: other users of the machine see flags."""
    redis_tls: bool = False
    """Talk TLS to it."""
    redis_db: int = Field(default=0, ge=0)
    """Number of its database."""
    redis_dir: Path | None = None
    """Where a private Redis keeps its data. Default: `redis` beside the run directories, so that a later run
    finds the kernels of an earlier one."""


class EngineConfig(_Settings):
    """Engine"""

    engine: Auto | EngineName = "auto"
    """What writes the candidates. auto: openai with --endpoint, vllm with --model, else embedded, the farm's own
    small language model. grammar: what that was trained on, no language model."""
    model: str | None = None
    """Name or directory of the model."""
    endpoint: str | None = None
    """URL of an OpenAI-compatible server, for example http://localhost:8000/v1; several separated by commas."""
    api_key: SecretStr | None = None
    """Key for the endpoint. Better given as BACKENDBENCH_API_KEY."""
    engine_args: JsonObject = Field(default_factory=dict)
    """Further arguments of vLLM under vLLM's own names, '{"max_model_len": 8192}'."""
    groups_in_flight: int = Field(default=0, ge=0)
    """Groups that one generating worker samples at a time; 0: as many as the engine digests."""
    digest_seconds: float = Field(default=60.0, gt=0)
    """Generation slows when the candidates that wait for evaluation would take longer than this."""


class LayoutConfig(_Settings):
    """Layout"""

    target: Auto | Target = "auto"
    """Where kernels run: cuda (Triton) or cpu (Numba). auto: cuda where there is a GPU."""
    dsl: Auto | Dsl = "auto"
    """Language of the kernels. auto: triton on cuda, numba on cpu."""
    generation_gpus: Gpus = None
    """GPUs that run the model, 0-3. Default on 8 GPUs: 0-3."""
    tensor_parallel_size: int | None = Field(default=None, gt=0)
    """GPUs that share one copy of the model. Default on 8 GPUs: 4."""
    evaluation_gpus: Gpus = None
    """GPUs that judge kernels, 4-7. Default on 8 GPUs: 4-7."""
    evaluation_workers: int | None = Field(default=None, gt=0, le=256)
    """Judging workers on target cpu; each gets its own share of the cores. Default: one for 8 cores."""


class SearchConfig(_Settings):
    """Search"""

    policy: PolicyName = registry.DEFAULT
    """reprompt: failures and best kernels feed the next prompt; rejection: fresh samples only."""
    candidates_per_op: int = Field(default=40, gt=0)
    """Candidates to generate for each operation."""
    group_size: int = Field(default=8, gt=0, le=1024)
    """Candidates sampled from one prompt."""
    max_minutes: float | None = Field(default=None, gt=0)
    """Stop after this many minutes."""
    target_speedup: float | None = Field(default=None, gt=0)
    """An operation is done when a kernel is this many times as fast as eager."""
    temperature: float | None = Field(default=None, ge=0, le=4)
    """Sampling temperature. Default: the engine's own, noted in the run's config."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus of the sampling. Default: the engine's own, noted in the run's config."""
    max_tokens: int = Field(default=2048, gt=0)
    """Longest candidate, tokens."""
    seed: int | None = Field(default=None, ge=0)
    """Seed of the sampling. Default: drawn anew for each run and noted in its config."""


class JudgeConfig(_Settings):
    """Evaluation"""

    judge: JudgeSettings = Field(default_factory=JudgeSettings)


class RunConfig(SearchConfig, EngineConfig, LayoutConfig, JudgeConfig, RedisConfig):
    """Run"""

    operations: Names = DEFAULT_OPERATIONS
    """Operations by name, separated by commas; FILE.py:NAME for one of your own."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]+$", max_length=80)
    """Name of the run, part of its directory's name. Default: made of the operations."""
    run_dir: Path | None = None
    """Directory of the run. Default: a new one under --runs-dir."""
    runs_dir: Path = Path("runs")
    """Where run directories are made."""
    drain_seconds: float = Field(default=60.0, gt=0)
    """How long workers may finish what they hold when a run is stopped."""


class GenerateConfig(EngineConfig, LayoutConfig, RedisConfig):
    """One generating worker, started by hand."""

    worker_id: str | None = None
    """Its name; default: host and process id."""


class EvaluateWorkerConfig(LayoutConfig, JudgeConfig, RedisConfig):
    """One evaluating worker, started by hand."""

    worker_id: str | None = None
    """Its name; default: host and process id."""


class StoreConfig(RedisConfig):
    """Where to read the kernel store."""

    runs_dir: Path = Path("runs")
    """Run directories; beside them lie the data of a private Redis."""


class EvaluateFileConfig(JudgeConfig):
    """Judging one file."""

    target: Auto | Target = "auto"
    """Where the kernel runs. auto: cuda where there is a GPU."""
    dsl: Auto | Dsl = "auto"
    """Language of the kernel. auto: what the file imports."""


MODELS: tuple[type[BaseModel], ...] = (
    RunConfig, GenerateConfig, EvaluateWorkerConfig, StoreConfig, EvaluateFileConfig,
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One leaf of a model of settings."""

    path: tuple[str, ...]
    field: FieldInfo
    section: str
    """Heading in the help."""

    @property
    def name(self) -> str:
        """Key in a config file."""
        return self.path[-1]

    @property
    def flag(self) -> str:
        """``--candidates-per-op``."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """``BACKENDBENCH_CANDIDATES_PER_OP``."""
        return PREFIX + self.name.upper()


def settings_of(model: type[BaseModel]) -> list[Setting]:
    """All settings of a model, those of nested models under their own names."""
    found = list(_walk(model, (), ""))
    names = [setting.name for setting in found]
    assert len(set(names)) == len(names), f"two settings of {model.__name__} share a name"
    return found


def _walk(model: type[BaseModel], above: tuple[str, ...], section: str) -> Iterator[Setting]:
    for name, info in model.model_fields.items():
        path = (*above, name)
        heading = section or _section(model, name)
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _walk(inner, path, heading)
        elif path not in NOT_SETTINGS:
            yield Setting(path, info, heading)


def _section(model: type[BaseModel], name: str) -> str:
    """Heading: the docstring of the class that defines the field."""
    owner = next(c for c in reversed(model.__mro__) if name in getattr(c, "model_fields", {}))
    return (owner.__doc__ or "").strip().rstrip(".")


def resolve(
    model: type[ModelT],
    flags: Mapping[str, Any],
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> ModelT:
    """The settings of ``model`` from flags (by name, None: not given), environment, file and defaults.

    Raises ConfigError.
    """
    environment = os.environ if environment is None else environment
    if file is None and environment.get(CONFIG_VARIABLE):
        file = Path(environment[CONFIG_VARIABLE])
    in_file = read_file(file) if file else {}
    values: dict[str, Any] = {}
    origins: dict[tuple[str, ...], str] = {}
    for setting in settings_of(model):
        if flags.get(setting.name) is not None:
            value, origin = flags[setting.name], setting.flag
        elif setting.variable in environment:
            value, origin = environment[setting.variable], setting.variable
        elif setting.name in in_file:
            value, origin = in_file[setting.name], f"{setting.name} in {file}"
        else:
            continue
        origins[setting.path] = origin
        inner = values
        for key in setting.path[:-1]:
            inner = inner.setdefault(key, {})
        inner[setting.path[-1]] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_one_line(error, origins)) from None


def read_file(file: Path) -> dict[str, Any]:
    """The keys of a YAML file, those under ``judge:`` among the others. Raises ConfigError."""
    try:
        found = yaml.safe_load(file.read_text("utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"cannot read the config file {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{file} must hold keys and values, for example `candidates_per_op: 50`")
    flat = {str(key).replace("-", "_"): value for key, value in found.items()}
    if isinstance(flat.get("judge"), dict):
        flat.update(flat.pop("judge"))
    known = {setting.name for model in MODELS for setting in settings_of(model)}
    for key in flat:
        if key not in known:
            near = difflib.get_close_matches(key, known, 3)
            hint = f"did you mean {', '.join(near)}?" if near else "see backendbench-vllm run --help"
            raise ConfigError(f"{file} has an unknown key {key!r}: {hint}")
    return flat


def _one_line(error: ValidationError, origins: Mapping[tuple[str, ...], str]) -> str:
    first = error.errors()[0]
    path = tuple(str(part) for part in first["loc"])
    while path and path not in origins:
        path = path[:-1]
    message = first["msg"].removeprefix("Value error, ")
    secret = any(word in ".".join(path) for word in ("password", "api_key"))
    got = "" if secret else f", not {first['input']!r}"
    text = f"{origins.get(path, 'the settings')}: {message[0].lower()}{message[1:]}{got}"
    return " ".join(text.split())


def public(config: BaseModel) -> dict[str, Any]:
    """The settings as plain JSON values without secrets and without passwords inside URLs."""
    from .state.connection import shown

    values = config.model_dump(mode="json")
    for above, name in NOT_SETTINGS:
        values.get(above, {}).pop(name, None)
    for name, info in type(config).model_fields.items():
        if "SecretStr" in str(info.annotation):
            values.pop(name, None)
    if values.get("redis_url"):
        values["redis_url"] = shown(values["redis_url"])
    return values


def dump(config: BaseModel) -> str:
    """YAML of the public settings; ``--config`` reads it back."""
    return yaml.safe_dump(public(config), sort_keys=False, allow_unicode=True)
