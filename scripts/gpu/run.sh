#!/usr/bin/env bash
# Train the named recipes on CIFAR-10 side by side on one GPU, within LIMIT seconds; start it again to go on.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
OUT=${OUT:-results/gpu}; LIMIT=${LIMIT:-560}; PYTHON=${PYTHON:-python3}; EXTRA=${EXTRA:-}
RECIPES=("${@:-iraug_cifar10}")
mkdir -p "$OUT" runs/gpu data
if [ ! -d data/cifar-10-batches-py ]; then
  VIEWKIN_DATA=${SHARDS:-} "$PYTHON" scripts/unpack_cifar.py data --set cifar10
fi
end=$((SECONDS + LIMIT))
for recipe in "${RECIPES[@]}"; do
  run=runs/gpu/$recipe
  args=(-m viewkin train data --out "$run")
  if [ -f "$run/last.ckpt" ]; then args+=(--resume); else args+=(--recipe "$recipe" $EXTRA); fi
  # SIGTERM saves and stops; a run that is over ends by itself.
  timeout --signal=TERM --kill-after=30 $((end - SECONDS)) "$PYTHON" "${args[@]}" >"$OUT/$recipe.log" 2>&1 &
done
wait || true
for recipe in "${RECIPES[@]}"; do
  run=runs/gpu/$recipe
  for file in metrics.jsonl recipe.json versions.json evaluation-knn.json; do
    if [ -f "$run/$file" ]; then cp "$run/$file" "$OUT/$recipe-$file"; fi
  done
  tail -n 3 "$OUT/$recipe.log"
done
tar -C "$OUT" -czf "$OUT/files.tar.gz" --exclude=files.tar.gz .
