"""A folder of compiled kernels as bytes, to be handed to the same candidate's next process.

Triton finds them there by the hash of all that they were compiled from, in a folder of the same name: it notes whole
paths. The bytes are the candidate's: the judge keeps them unread, and gives them to nobody but the same source.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

LENGTH = struct.Struct(">Q")
"""Of the list of files."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")
"""Of a folder or a file that Triton writes."""


def collect(folder: Path, most: int) -> bytes:
    """All files of the folders in ``folder``; nothing where that is more than ``most`` bytes."""
    listed, contents, size = [], [], LENGTH.size
    for path in sorted(folder.glob("*/*")):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            listed.append([path.parent.name, path.name, len(content)])
            contents.append(content)
            size += len(content)
            if size > most:
                return b""
    index = json.dumps(listed).encode()
    packed = LENGTH.pack(len(index)) + index + b"".join(contents)
    return packed if len(packed) <= most else b""


def restore(packed: bytes, folder: Path) -> int:
    """Write the files again, those that are not there. Returns their number. Raises ValueError for what ``collect``
    never made; some files may be there then."""
    if not packed:
        return 0
    try:
        (index,) = LENGTH.unpack_from(packed)
        listed = json.loads(packed[LENGTH.size : LENGTH.size + index])
        position = LENGTH.size + index
        for parent, name, size in listed:
            if not (NAME.fullmatch(parent) and NAME.fullmatch(name) and 0 <= size <= len(packed) - position):
                raise ValueError("no name or size of a kernel's file")
            _write(folder / parent / name, packed[position : position + size])
            position += size
    except (struct.error, TypeError, RecursionError) as error:
        raise ValueError(f"no packed kernels: {error}") from None
    if position != len(packed):
        raise ValueError("packed kernels of another length")
    return len(listed)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        part = path.with_name(f".{path.name}")  # half a file, where there is no room, must not be found
        part.write_bytes(content)
        part.replace(path)
