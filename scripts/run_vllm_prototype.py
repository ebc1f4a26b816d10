"""The main job from a checkout: the same as ``backendbench-vllm run``, all of its flags included.

For example:

    python scripts/run_vllm_prototype.py --operations "relu,add" --candidates-per-op 50
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from BackendBench.vllm_backend.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]], program="run_vllm_prototype.py"))
