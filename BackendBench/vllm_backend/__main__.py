"""``python -m BackendBench.vllm_backend``: the same as ``backendbench-vllm``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
