"""click options made of the settings in ``config``: nothing about a setting is said a second time here."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from ..config import CONFIG_VARIABLE, Setting, resolve, settings_of

F = TypeVar("F", bound=Callable[..., Any])
ModelT = TypeVar("ModelT", bound=BaseModel)


class SettingOption(click.Option):
    """An option that remembers under which heading of the help it stands."""

    section = "Options"


class SectionedCommand(click.Command):
    """A command whose help groups the options as the settings are grouped."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per group of settings."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        own = sections.pop("Options", [])
        # Models inherit the general settings; help begins with the particular ones.
        for heading, records in [*reversed(sections.items()), ("Options", own)]:
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def settings(model: type[BaseModel], *, without: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Decorator: one option for each setting of ``model``, and ``--config FILE``."""

    def decorate(function: F) -> F:
        parameters = [option(s) for s in settings_of(model) if s.name not in without]
        config = click.option(
            "--config", "config_file", type=click.Path(path_type=Path), metavar="FILE",
            help=f"YAML file with settings (also {CONFIG_VARIABLE}); flags and environment go before it.",
        )  # fmt: skip
        for decorator in [config, *(_decorator(p) for p in reversed(parameters))]:
            function = decorator(function)
        return function

    return decorate


def resolved(model: type[ModelT], given: dict[str, Any]) -> ModelT:
    """The settings from what click collected. Raises ConfigError."""
    names = {setting.name for setting in settings_of(model)}
    flags = {name: value for name, value in given.items() if name in names}
    return resolve(model, flags, file=given.get("config_file"))


def option(setting: Setting) -> click.Option:
    """The option of one setting. Values stay text: the model alone validates them."""
    kind = _members(setting.field.annotation)[0]
    choices = _choices(setting)
    flag = setting.flag
    declaration = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    made = SettingOption(
        [declaration, setting.name],
        type=click.BOOL if kind is bool else click.Choice(choices) if choices else click.STRING,
        default=None,
        metavar=None if choices else _metavar(setting, kind),
        help=" ".join((setting.field.description or "").split()) + _default(setting),
    )
    made.section = setting.section
    return made


def _decorator(made: click.Option) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        if not hasattr(function, "__click_params__"):
            function.__click_params__ = []  # type: ignore[attr-defined]
        function.__click_params__.append(made)  # type: ignore[attr-defined]
        return function

    return decorate


def _members(annotation: Any) -> list[Any]:
    """The types that a value may have, without None, ``Annotated`` and unions."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [member for one in typing.get_args(annotation) for member in _members(one)]
    return [] if annotation is type(None) else [annotation]


def _choices(setting: Setting) -> list[str]:
    """The values of a setting that has only some; [] for any other."""
    extra = setting.field.json_schema_extra
    if isinstance(extra, dict) and isinstance(extra.get("choices"), list):
        return [str(value) for value in extra["choices"]]  # type: ignore[union-attr]
    members = _members(setting.field.annotation)
    if not all(typing.get_origin(member) is typing.Literal for member in members):
        return []
    return [str(value) for member in members for value in typing.get_args(member)]


def _metavar(setting: Setting, kind: Any) -> str | None:
    extra = setting.field.json_schema_extra
    if isinstance(extra, dict) and "metavar" in extra:
        return str(extra["metavar"])
    names = {int: "NUMBER", float: "NUMBER", Path: "PATH", SecretStr: "SECRET", str: "TEXT"}
    return names.get(kind)


def _default(setting: Setting) -> str:
    default = setting.field.default
    if default in (None, PydanticUndefined, "") or isinstance(default, bool):
        return ""
    return f" [default: {default}]"
