"""``python -m BackendBench.vllm_backend.generation --settings-json FILE``: one generating worker.

``-`` reads standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from pydantic import ValidationError

from .engines.base import EngineConfigError
from .settings import GenerationSettings
from .worker import serve


def main() -> int:
    """Exit code: 0 left as asked, 2 it cannot work as configured."""
    parser = argparse.ArgumentParser(
        prog="python -m BackendBench.vllm_backend.generation", description=__doc__
    )
    parser.add_argument(
        "--settings-json", required=True, metavar="FILE", help="settings as JSON; - for standard input"
    )
    file = parser.parse_args().settings_json
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        return asyncio.run(serve(GenerationSettings.model_validate_json(text)))
    except (EngineConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except ValidationError as error:
        first = error.errors()[0]
        print(f"error: {file}: {'.'.join(map(str, first['loc']))}: {first['msg']}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
