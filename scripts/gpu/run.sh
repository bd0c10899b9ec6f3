#!/usr/bin/env bash
# Train recipes on CIFAR-10 side by side on one GPU, within LIMIT seconds; start it again to go on.
#   scripts/gpu/run.sh                      # the first piece of plan.txt that has a row without results in results/gpu
#   scripts/gpu/run.sh iraug_cifar10 "eir_relation=eir_cifar10 --set method.mixture_weight=0"
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
OUT=${OUT:-results/gpu}; LIMIT=${LIMIT:-560}; PYTHON=${PYTHON:-python3}; EXTRA=${EXTRA:-}
DATA=data/cifar-10-batches-py
ROWS=("$@")
if [ $# = 0 ]; then
  next=
  while read -r piece row; do
    name=${row%%[= ]*}
    if [[ $piece == \#* || -f results/gpu/$name-evaluation-knn.json ]]; then continue; fi
    if [ "${next:=$piece}" = "$piece" ]; then ROWS+=("$row"); fi
  done <scripts/gpu/plan.txt
fi
if [ ${#ROWS[@]} = 0 ]; then echo "Every row of the plan has its results in results/gpu."; exit; fi
printf 'row: %s\n' "${ROWS[@]}"
mkdir -p "$OUT" runs/gpu data
if [ ! -d $DATA ]; then
  VIEWKIN_DATA=${SHARDS:-} "$PYTHON" scripts/unpack_cifar.py data --set cifar10
fi
end=$((SECONDS + LIMIT))
for row in "${ROWS[@]}"; do
  name=${row%%[= ]*}; arguments=${row#"$name"}; arguments=${arguments#=}; arguments=${arguments:-$name}
  run=runs/gpu/$name
  if [ -f "$run/evaluation-knn.json" ]; then continue; fi
  args=(-m viewkin train $DATA --out "$run")
  if [ -f "$run/last.ckpt" ]; then args+=(--resume); else args+=(--recipe $arguments $EXTRA); fi
  # SIGTERM saves and stops; a run that is over ends by itself.
  timeout --signal=TERM --kill-after=30 $((end - SECONDS)) "$PYTHON" "${args[@]}" >"$OUT/$name.log" 2>&1 &
done
wait || true
for run in runs/gpu/*/; do
  name=$(basename "$run")
  for file in metrics.jsonl recipe.json versions.json evaluation-knn.json; do
    if [ -f "$run/$file" ]; then cp "$run/$file" "$OUT/$name-$file"; fi
  done
  if [ -f "$OUT/$name.log" ]; then tail -n 3 "$OUT/$name.log"; fi
done
tar -C "$OUT" -czf "$OUT/files.tar.gz" --exclude=files.tar.gz .
