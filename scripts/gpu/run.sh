#!/usr/bin/env bash
# Everything that is run on a GPU machine, in one call: installs the wheels of .whl/ (see pack_wheels.sh), then the
# steps named on the command line, in order. Results go to $OUT (default: runs/gpu).
#
# Usage: scripts/gpu/run.sh [doctor] [tests] [farm] [throughput] [clock] [attacks] ...
set -uo pipefail
cd "$(dirname "$0")/../.."
OUT="${OUT:-runs/gpu}"
mkdir -p "$OUT"
site=/opt/backendbench/site-packages  # candidates see folders of this name, and nothing of /tmp
if [ -d .whl ] && [ ! -e "$site/.installed" ]; then
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" .whl/*.whl &&
        touch "$site/.installed"
fi
export PYTHONPATH="$PWD:$site" PYTHONUNBUFFERED=1
farm() { python3 -m BackendBench.vllm_backend "$@"; }

for step in "$@"; do
    echo "=== $step $(date -u +%H:%M:%S)"
    case "$step" in
    doctor) farm doctor ;;
    tests) python3 -m pytest -q -m gpu tests 2>&1 | tee "$OUT/gpu-tests.txt" ;;
    farm)
        farm run --engine grammar --candidates-per-op "${CANDIDATES:-32}" --run-dir "$OUT/run" --redis-dir /tmp/farm-redis \
            --operations "${OPERATIONS:-relu,add,mul,sigmoid,matmul,softmax,layer_norm}" 2>&1 | tee "$OUT/farm.txt"
        ;;
    *) python3 "benchmarks/$step.py" --out "$OUT/$step.json" 2>&1 | tee "$OUT/$step.txt" ;;
    esac
done
