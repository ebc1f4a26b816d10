#!/usr/bin/env bash
# Unpacks what of the two archives is complete. One at a time (flock); done ones are marked.
set -uo pipefail
cd /tmp/vllm_parts
exec 9>lock; flock 9
. ./SIZES # VLLM_BYTES NEEDS_BYTES PARTS
have=0
for ((i = 0; i < PARTS; i++)); do [ -e part.$i ] || break; have=$((have + $(stat -c %s part.$i))); done
unpack() { # name first-byte bytes
    mkdir -p "/opt/vllm/$1/site-packages"
    echo "$1 begins $(date +%T)"
    # What feeds xz ends by SIGPIPE: only xz and tar say whether it went well.
    xz -dc -T0 < <(cat part.? | tail -c +$(($2 + 1)) | head -c "$3") | tar x -C "/opt/vllm/$1/site-packages" &&
        touch "$1.unpacked" && python3 -m compileall -q -j 0 "/opt/vllm/$1/site-packages" >/dev/null 2>&1
    echo "$1 done $(date +%T)"; touch "$1.done"
}
[ ! -e engine.unpacked ] && [ "$have" -ge "$VLLM_BYTES" ] && unpack engine 0 "$VLLM_BYTES"
[ ! -e needs.unpacked ] && [ "$have" -ge $((VLLM_BYTES + NEEDS_BYTES)) ] && unpack needs "$VLLM_BYTES" "$NEEDS_BYTES"
exit 0
