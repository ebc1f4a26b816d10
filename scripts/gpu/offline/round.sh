#!/usr/bin/env bash
# From the checkout's root on the GPU machine, after receive.sh of all parts: installs, starts one lane of steps a GPU
# that lives on beyond the call, and waits for them (wait.sh, which may be called again). STEPS0 and STEPS1 (steps of
# run.sh with their limits), SEEDS0 and SEEDS1 (seeds of policies.py, none: not run), LIMIT (seconds to wait) and the
# variables of run.sh change what is done. Each half of a generation step starts an engine, 70 to 90 s on an H200.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
R=$OUT; export OUT=/tmp/out; mkdir -p "$OUT"
rm -rf /opt/tree && mkdir /opt/tree && tar c --exclude .git --exclude .venv . | tar x -C /opt/tree
cp "$here"/wait.sh "$here"/lane.sh /opt/
cd /opt/tree
date +%T
bash /tmp/vllm_parts/unpack.sh >>/tmp/vllm_parts/unpack.log 2>&1 &
bash scripts/gpu/run.sh >/tmp/out/install.log 2>&1
wait; cat /tmp/vllm_parts/unpack.log
[ -e /tmp/vllm_parts/engine.done ] && [ -e /tmp/vllm_parts/needs.done ] || { echo "vLLM is not whole"; ls -l /tmp/vllm_parts; exit 1; }
export VLLM_SITE=/opt/vllm/engine/site-packages:/opt/vllm/needs/site-packages CUDA_DEVICE_ORDER=PCI_BUS_ID
PYTHONPATH=$PWD:$VLLM_SITE:/opt/backendbench/site-packages python3 -c '
import importlib.metadata as m, pydantic, vllm
print("vllm", m.version("vllm"), vllm.__file__, "pydantic", pydantic.VERSION, pydantic.__file__)' 2>&1 | tail -3
export LOOP_MINUTES=${LOOP_MINUTES:-4.3} # and up to a minute for what is under way then
rm -f /tmp/out/lane*.end
both=$(nvidia-smi -L | wc -l)
if [ "$both" -ge 2 ]; then
    setsid nohup bash /opt/lane.sh 0 0-15 ${STEPS0:-loop:330 shared_gpu:150} >/tmp/out/lane0.log 2>&1 </dev/null &
    setsid nohup bash /opt/lane.sh 1 16-31 ${STEPS1:-generation_7b:330 generation_small:260 prototype:180} >/tmp/out/lane1.log 2>&1 </dev/null &
else
    touch /tmp/out/lane1.end
    setsid nohup bash /opt/lane.sh 0 0-15 ${STEPS0:-loop:330 generation_7b:330 generation_small:260 prototype:180 shared_gpu:150} >/tmp/out/lane0.log 2>&1 </dev/null &
fi
OUT=$R LIMIT=${LIMIT:-500} exec bash /opt/wait.sh
