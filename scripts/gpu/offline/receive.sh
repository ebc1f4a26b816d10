#!/usr/bin/env bash
# Brings vLLM to a GPU machine that has no network and takes a limited size at a time: pack.sh cuts it into parts, each
# comes with SIZES in the folder CARRIED. From the checkout's root there: moves them to /tmp/vllm_parts and unpacks what
# is complete, behind the call. Safe to repeat.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
src=${CARRIED:-carried} dst=/tmp/vllm_parts
mkdir -p "$dst" /opt/vllm
cp "$src"/SIZES "$here"/unpack.sh "$dst"/
mv -f "$src"/part.* "$dst"/ 2>/dev/null
ls -l "$dst" | tail -n +2
df -h / /tmp /opt | tail -n +1
# Both archives in the background, each as soon as its bytes are there.
setsid nohup bash "$dst/unpack.sh" >>"$dst/unpack.log" 2>&1 &
sleep 0.2
nproc; nvidia-smi -L
