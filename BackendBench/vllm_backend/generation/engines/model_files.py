"""The files of a model: a directory, or a name of the Hugging Face hub in its local cache or fetched from there.

Of a name that is not in the cache only the few small files are fetched here; the weights are vLLM's to fetch.
"""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .base import EngineConfigError

LONGEST_HEADER = 100 << 20
"""The format's own limit on the header of a safetensors file."""
HUB_SECONDS = 10
SMALL_FILES = ("config.json", "tokenizer_config.json", "chat_template.jinja", "tokenizer.json")


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies."""

    name: str
    """As the user wrote it."""
    directory: Path

    def has(self, file: str) -> bool:
        """Whether there is a file of this name."""
        return (self.directory / file).is_file()

    def json(self, file: str) -> dict[str, Any] | None:
        """A JSON object; None when there is none."""
        try:
            found = json.loads((self.directory / file).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


def find_model(name: str) -> ModelFiles:
    """The files of a model by directory or name. Raises EngineConfigError with what to do."""
    path = Path(name).expanduser()
    if path.is_dir():
        return ModelFiles(name, path)
    if path.is_file():
        raise EngineConfigError(
            f"--model {name} is a file: give the directory that holds the model's config.json"
        )
    if name.startswith(("/", ".", "~")) or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise EngineConfigError(
            f"there is no model at {name}: give a directory, or a name like Qwen/Qwen2.5-7B-Instruct"
        )
    return ModelFiles(name, _from_hub(name))


def _from_hub(name: str) -> Path:
    if find_spec("huggingface_hub") is None:
        raise EngineConfigError(
            f"{name} is no directory here, and huggingface_hub is not installed to look it up"
        )
    from huggingface_hub import hf_hub_download

    try:
        directory = Path(hf_hub_download(name, "config.json", etag_timeout=HUB_SECONDS)).parent
    except Exception as error:  # the kinds of its errors differ from version to version
        why = " ".join(str(error).split())[:200]
        raise EngineConfigError(
            f"{name} is no directory here, is not in the Hugging Face cache and cannot be fetched: give the "
            f"directory of a model ({type(error).__name__}: {why})"
        ) from None
    for file in SMALL_FILES[1:]:
        try:
            hf_hub_download(name, file, etag_timeout=HUB_SECONDS)
        except Exception:  # which of them a model has differs
            continue
    return directory


def weight_bytes(files: ModelFiles, *, width: int) -> int:
    """Bytes of the weights with ``width`` bytes for each floating number (0: as they are stored); 0: none found.

    Raises EngineConfigError for a weight file that is cut off, as a broken download leaves it.
    """
    index = files.json("model.safetensors.index.json")
    names = {str(name) for name in index.get("weight_map", {}).values()} if index else set()
    missing = sorted(name for name in names if not files.has(name))
    if missing and any(files.directory.glob("*.safetensors")):
        raise EngineConfigError(
            f"{files.name} is incomplete: {len(missing)} of its weight files are missing, {missing[0]}"
        )
    found = sorted(files.directory.glob("*.safetensors"))
    shards = [file for file in found if not names or file.name in names]
    if shards:
        return sum(_safetensors_bytes(file, width) for file in shards)
    return sum(file.stat().st_size for file in files.directory.glob("pytorch_model*.bin"))


def _safetensors_bytes(file: Path, width: int) -> int:
    broken = EngineConfigError(f"{file} is no complete safetensors file: fetch it again")
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > LONGEST_HEADER:
                raise broken
            header = json.loads(stream.read(length))
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        end = max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
        if file.stat().st_size < 8 + length + end:
            raise broken
        return sum(_tensor_bytes(entry, width) for entry in tensors)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        raise broken from None


def _tensor_bytes(entry: dict[str, Any], width: int) -> int:
    start, end = entry["data_offsets"]
    if width and entry["dtype"] in ("F64", "F32", "F16", "BF16"):
        return math.prod(entry["shape"]) * width
    return int(end) - int(start)


@cache
def registered_architectures() -> frozenset[str]:
    """Architectures that the installed vLLM names, read from its source: importing it takes ten seconds."""
    spec = find_spec("vllm")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        registry = Path(folder) / "model_executor" / "models" / "registry.py"
        if registry.is_file():
            return frozenset(re.findall(r'"(\w+)"', registry.read_text("utf-8")))
    return frozenset()
