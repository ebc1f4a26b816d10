#!/usr/bin/env bash
# Everything that is run on a GPU machine, in one call: installs the wheels of .whl/ (see pack_wheels.sh), then does the
# steps named on the command line, in order. Results go to $OUT (default: benchmarks/results).
#
# Usage: scripts/gpu/run.sh STEP[:SECONDS] ...
#   doctor                 what the machine has
#   tests                  the tests that need a GPU
#   farm                   a whole run with --engine grammar; OPERATIONS, CANDIDATES, MINUTES
#   evaluation_throughput, clock, attacks, ...    benchmarks/STEP.py; arguments in ARGS_STEP
# SECONDS ends a step that takes longer; the next one is done all the same.
set -uo pipefail
cd "$(dirname "$0")/../.."
export OUT="${OUT:-$PWD/benchmarks/results}"
mkdir -p "$OUT"
site=/opt/backendbench/site-packages # candidates see folders of this name, and nothing of /tmp
if [ -d .whl ] && [ ! -e "$site/.installed" ]; then
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" .whl/*.whl &&
        touch "$site/.installed"
fi
export PYTHONPATH="$PWD:$site" PYTHONUNBUFFERED=1

farm_step() {
    rm -rf /tmp/farm-run
    python3 -m BackendBench.vllm_backend run --engine grammar --candidates-per-op "${CANDIDATES:-32}" --max-minutes "${MINUTES:-4}" \
        --run-dir /tmp/farm-run --redis-dir /tmp/farm-redis --seed 0 \
        --operations "${OPERATIONS:-relu,add,mul,sigmoid,matmul,softmax,layer_norm,gelu}" --quiet
    for kind in json md html; do cp "/tmp/farm-run/report.$kind" "$OUT/gpu-report.$kind"; done
    gzip -c /tmp/farm-run/logs/evaluate-0.log >"$OUT/gpu-evaluate.log.gz"
}

for given in "$@"; do
    step="${given%%:*}" seconds="${given#*:}"
    [ "$seconds" = "$given" ] && seconds=600
    arguments="ARGS_$step"
    echo "=== $step $(date -u +%H:%M:%S)"
    case "$step" in
    doctor) python3 -m BackendBench.vllm_backend doctor ;;
    tests) timeout "$seconds" python3 -m pytest -q -m gpu tests ;;
    farm) export -f farm_step && timeout "$seconds" bash -c farm_step ;;
    *)
        # shellcheck disable=SC2086
        timeout "$seconds" python3 "benchmarks/$step.py" --out "$OUT/$step.json" ${!arguments:-}
        ;;
    esac
done
echo "=== end $(date -u +%H:%M:%S)"
