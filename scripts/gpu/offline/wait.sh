#!/usr/bin/env bash
# Waits until both lanes have ended, at most LIMIT seconds; packs what is there into $OUT either way. May be called again.
set -uo pipefail
end=$((SECONDS + ${LIMIT:-500})); R=$OUT
while [ $SECONDS -lt $end ]; do
    [ -e /tmp/out/lane0.end ] && [ -e /tmp/out/lane1.end ] && break
    sleep 3
done
if [ -d /tmp/policies-runs ]; then # one table of the runs of both lanes
    (cd /opt/tree && export OUT=/tmp/out &&
        ARGS_policies="${ARGS_policies:---operations relu,gelu,softmax,layer_norm --candidates-per-op 32} --seeds ${SEEDS:-0,1,2} --only-report" &&
        export ARGS_policies && bash scripts/gpu/run.sh policies:20 >/tmp/out/policies.log 2>&1)
    mkdir -p /tmp/out/policies-reports
    for d in /tmp/policies-runs/*-[0-9]*/; do [ -e "$d/report.json" ] && cp "$d/report.json" "/tmp/out/policies-reports/$(basename "$d").json"; done
    cp /tmp/policies-runs/*.log /tmp/out/policies-reports/ 2>/dev/null
fi
(cd /tmp/out && tar czf "$R/out.tar.gz" .)
for f in /tmp/out/lane?.log /tmp/out/policies.log; do [ -e "$f" ] && { echo "##### $f"; grep -av "INFO\|WARNING\|^ *$\|Capturing\|it/s\]\|FutureWarning" "$f" | tail -n 45 | cut -c1-190; }; done
ls -l "$R"; ls /tmp/out; date +%T
