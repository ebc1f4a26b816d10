#!/usr/bin/env bash
# Packs vLLM for receive.sh, on a machine with network. Usage: pack.sh DIR PARTS REQUIREMENTS
# Leaves DIR/part.0 ... and DIR/SIZES. REQUIREMENTS: what vLLM needs and the GPU machine lacks, one NAME==VERSION a line.
# vLLM 0.26 is the last line that pins torch 2.11. Left out: FlashAttention 2 (Hopper uses 3), the Rust front end, other
# Pythons' binaries.
set -euo pipefail
dir=${1:?usage: pack.sh DIR PARTS REQUIREMENTS} parts=$2 needed=$3 tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
platforms=()
for n in 1_x86_64 2010_x86_64 2014_x86_64 _2_17_x86_64 _2_24_x86_64 _2_27_x86_64 _2_28_x86_64 _2_31_x86_64 _2_34_x86_64 _2_35_x86_64; do
    platforms+=(--platform "manylinux$n")
done
python=(--no-deps --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}")
python3 -m pip download -q "${python[@]}" -d "$tmp" vllm==0.26.0
python3 -m pip install -q "${python[@]}" --no-compile --target "$tmp/needs" -r "$needed"
mkdir -p "$tmp/engine" "$dir"
python3 -m zipfile -e "$tmp"/vllm-*.whl "$tmp/engine"
rm -f "$tmp/engine/vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so" "$tmp/engine/vllm/vllm-rs"
find "$tmp/engine" -name '*cpython-31[0134]*' -delete
for one in engine needs; do tar c -C "$tmp/$one" . | xz -T0 -2 >"$tmp/$one.tar.xz"; done
engine=$(stat -c %s "$tmp/engine.tar.xz") needs=$(stat -c %s "$tmp/needs.tar.xz")
cat "$tmp/engine.tar.xz" "$tmp/needs.tar.xz" | split -b $(((engine + needs + parts - 1) / parts)) -d -a 1 - "$dir/part."
printf 'VLLM_BYTES=%s\nNEEDS_BYTES=%s\nPARTS=%s\n' "$engine" "$needs" "$parts" >"$dir/SIZES"
ls -l "$dir"
