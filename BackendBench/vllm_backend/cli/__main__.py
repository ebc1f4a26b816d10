"""``python -m BackendBench.vllm_backend.cli``: what workers are started with, whatever is on the PATH."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
