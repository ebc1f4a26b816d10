#!/usr/bin/env bash
# lane.sh GPU CORES STEP ...: the steps of run.sh on one GPU, then the policies with that lane's seeds, then its end.
set -uo pipefail
gpu=$1 cores=$2; shift 2
export CUDA_VISIBLE_DEVICES=$gpu
cd /opt/tree
taskset -c "$cores" bash scripts/gpu/run.sh "$@"
seeds=SEEDS$gpu
if [ -n "${!seeds:-}" ]; then
    export OUT=/tmp/out/policies-$gpu ARGS_policies="${ARGS_policies:---operations relu,gelu,softmax,layer_norm --candidates-per-op 32} --seeds ${!seeds}"
    taskset -c "$cores" bash scripts/gpu/run.sh policies:"${POLICIES_LIMIT:-400}"
fi
touch /tmp/out/lane$gpu.end
