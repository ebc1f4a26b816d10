"""The OpenAI chat format as plain data: URLs, requests, replies, errors. Pure.

Servers differ: some return fewer choices than asked for, some split reasoning from content, some count no tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .base import EngineConfigError, Prompt, Sample, SamplingParameters

MESSAGE_CHARACTERS = 300
"""Of a server's error text: one readable line."""


@dataclass(frozen=True)
class MalformedReply(Exception):
    """A server answered with something that is no chat completion."""

    reason: str

    def __str__(self) -> str:
        return self.reason


def base_url(text: str) -> str:
    """``http://host:8000`` or ``.../v1/chat/completions`` as the base ``http://host:8000/v1``.

    Raises EngineConfigError.
    """
    stripped = text.strip()
    parts = urlsplit(stripped if "://" in stripped else f"http://{stripped}")
    try:
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise EngineConfigError(f"--endpoint {text!r} is no URL: write http://HOST:PORT/v1")
    path = parts.path.rstrip("/").removesuffix("/chat/completions").removesuffix("/models")
    return urlunsplit((parts.scheme, parts.netloc, path or "/v1", "", ""))


def metrics_url(base: str) -> str:
    """Where a vLLM server below this base publishes its metrics."""
    return base.removesuffix("/v1") + "/metrics"


def request_body(
    model: str, prompt: Prompt, n: int, first: int, parameters: SamplingParameters, *, limit_tokens: bool
) -> dict[str, Any]:
    """A request for ``n`` choices. ``first``: index of the first one in its group, which moves the seed along.

    ``limit_tokens`` false leaves ``max_tokens`` out: the server then allows what its context has room for.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": prompt.messages(),
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
        "stream": False,
    }
    if n != 1:
        body["n"] = n
    if limit_tokens:
        body["max_tokens"] = parameters.max_tokens
    if parameters.seed is not None:
        body["seed"] = (parameters.seed + first) % 2**31
    return body


def samples_of(reply: str | bytes, first: int, wanted: int) -> list[Sample]:
    """The choices of a reply, at most ``wanted``, numbered from ``first``. Raises MalformedReply."""
    try:
        data = json.loads(reply)
        choices = data["choices"]
        texts = [_text(choice["message"]) for choice in choices][:wanted]
        reasons = [str(choice.get("finish_reason") or "stop") for choice in choices]
        total = int((data.get("usage") or {}).get("completion_tokens") or 0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedReply(f"the reply is no chat completion ({type(error).__name__}: {error})") from error
    if not texts:
        raise MalformedReply("the reply holds no choice")
    counts = share(total, [len(text) for text in texts])
    return [
        Sample(first + i, text, tokens, reason)
        for i, (text, tokens, reason) in enumerate(zip(texts, counts, reasons, strict=False))
    ]


def share(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` tokens over texts of these lengths; a reply says only their sum. Adds up exactly."""
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    edges, passed = [0], 0
    for weight in weights:
        passed += weight
        edges.append(total * passed // whole)
    return [b - a for a, b in pairwise(edges)]


def served_models(reply: str | bytes) -> tuple[str, ...] | None:
    """Ids of the models in a reply to ``/models``; None when it is none."""
    try:
        return tuple(str(entry["id"]) for entry in json.loads(reply)["data"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def choose_model(wanted: str, served: tuple[str, ...] | None, base: str) -> str:
    """The model to ask for. Raises EngineConfigError with what is served."""
    if served is None:
        if wanted:
            return wanted
        raise EngineConfigError(f"{base} does not list its models: name one with --model")
    if wanted and (wanted in served or not served):
        return wanted
    shown = ", ".join(served[:8]) + (" ..." if len(served) > 8 else "")
    if wanted:
        raise EngineConfigError(f"{base} does not serve {wanted!r}: it serves {shown}; give --model NAME")
    if len(served) == 1:
        return served[0]
    if not served:
        raise EngineConfigError(f"{base} serves no model")
    raise EngineConfigError(f"{base} serves several models: choose one with --model: {shown}")


def error_text(reply: str | bytes) -> str:
    """What a server says of an error, as one line."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    try:
        data = json.loads(text)
        inner = data.get("error", data)
        found = inner.get("message", inner.get("detail", text)) if isinstance(inner, Mapping) else inner
        text = str(found)
    except (ValueError, AttributeError, RecursionError):
        pass
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_CHARACTERS else line[: MESSAGE_CHARACTERS - 4] + " ..."


def about_length(text: str) -> bool:
    """Whether an error is about too many tokens."""
    lower = text.lower()
    return any(
        word in lower
        for word in ("max_tokens", "context length", "maximum context", "max_model_len", "too long")
    )


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):  # parts
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    if content:
        return str(content)
    # The server split the reasoning off, and the answer was never reached.
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return f"<think>{reasoning}" if reasoning else ""
