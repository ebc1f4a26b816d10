#!/usr/bin/env bash
# Everything that is run on a GPU machine, in one call: installs the wheels of .whl/ (see pack_wheels.sh), then does the
# steps named on the command line, in order. Results go to $OUT (default: benchmarks/results).
#
# Usage: scripts/gpu/run.sh STEP[:SECONDS] ...
#   doctor                 what the machine has
#   tests                  the tests that need a GPU
#   farm                   a whole run with --engine grammar; OPERATIONS, CANDIDATES, MINUTES
#   loop                   a whole run with the small model through vLLM beside the judge; LOOP_OPERATIONS,
#                          LOOP_CANDIDATES, LOOP_MINUTES, LOOP_FLAGS
#   prototype              scripts/run_vllm_prototype.py with the small model given as --model; PROTOTYPE_FLAGS
#   policies               benchmarks/policies.py with the small model on the CPU (its GPUs only judge); ARGS_policies,
#                          POLICIES_FLAGS, POLICIES_FOLDER: where its runs lie, so that it goes on if it was stopped
#   generation_7b, generation_small    benchmarks/generation_throughput.py with both models; ARGS_generation_...
#   evaluation_throughput, clock, attacks, ...    benchmarks/STEP.py; arguments in ARGS_STEP
# A vLLM that is not among this Python's packages: VLLM_SITE, folders separated by colons, each named site-packages.
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
without_vllm="$PWD:$site"
export PYTHONPATH="$PWD:${VLLM_SITE:+$VLLM_SITE:}$site" PYTHONUNBUFFERED=1
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_USE_FLASHINFER_SAMPLER=0
model="${SMALL_MODEL:-$PWD/BackendBench/vllm_backend/generation/kernel_lm}"
sampling=(--temperature 1.2 --top-p 1)

farm_step() {
    rm -rf /tmp/farm-run
    python3 -m BackendBench.vllm_backend run --engine grammar --candidates-per-op "${CANDIDATES:-32}" --max-minutes "${MINUTES:-4}" \
        --run-dir /tmp/farm-run --redis-dir /tmp/farm-redis --seed 0 \
        --operations "${OPERATIONS:-relu,add,mul,sigmoid,matmul,softmax,layer_norm,gelu}" --quiet
    for kind in json md html; do cp "/tmp/farm-run/report.$kind" "$OUT/gpu-report.$kind"; done
    gzip -c /tmp/farm-run/logs/evaluate-0.log >"$OUT/gpu-evaluate.log.gz"
}

# A run with vLLM and the judge on the same GPU: its report as NAME-report.*, its logs as NAME-logs.tar.gz.
shared_run() {
    name="$1" work="$(mktemp -d)"
    shift
    timeout "$seconds" "$@" --run-dir "$work/run" --redis-dir "$work/redis" --seed 0 --quiet
    for kind in json md html; do cp "$work/run/report.$kind" "$OUT/$name-report.$kind"; done
    tar czf "$OUT/$name-logs.tar.gz" -C "$work/run" logs
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
    loop)
        # shellcheck disable=SC2086
        shared_run loop python3 -m BackendBench.vllm_backend run --engine embedded "${sampling[@]}" \
            --candidates-per-op "${LOOP_CANDIDATES:-64}" --max-minutes "${LOOP_MINUTES:-5}" \
            --operations "${LOOP_OPERATIONS:-relu,gelu,silu,exp,add,mul,where,sum,mean,amax,softmax,layer_norm,rms_norm,matmul,mm,linear}" \
            ${LOOP_FLAGS:-}
        ;;
    prototype)
        # shellcheck disable=SC2086
        shared_run prototype python3 scripts/run_vllm_prototype.py --model "$model" \
            --operations relu,add,mul,sigmoid --candidates-per-op 50 ${PROTOTYPE_FLAGS:-}
        ;;
    policies)
        # shellcheck disable=SC2086
        PYTHONPATH="$without_vllm" timeout "$seconds" python3 benchmarks/policies.py --folder "${POLICIES_FOLDER:-/tmp/policies-runs}" \
            --out "$OUT/policies.json" ${ARGS_policies:-} -- --engine embedded "${sampling[@]}" ${POLICIES_FLAGS:-}
        ;;
    generation_7b | generation_small)
        [ "$step" = generation_7b ] && which=(--shape 7b) || which=(--model "$model")
        # shellcheck disable=SC2086
        timeout "$seconds" python3 benchmarks/generation_throughput.py "${which[@]}" --candidates 2048 \
            --group-size 16 --max-tokens 300 --rounds 1 ${!arguments:-} --out "$OUT/$step.json"
        ;;
    *)
        # shellcheck disable=SC2086
        timeout "$seconds" python3 "benchmarks/$step.py" --out "$OUT/$step.json" ${!arguments:-}
        ;;
    esac
done
echo "=== end $(date -u +%H:%M:%S)"
