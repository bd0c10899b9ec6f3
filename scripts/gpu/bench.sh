#!/usr/bin/env bash
# Benchmarks on one GPU, some minutes: the training step, InterCLR's branch, growth; reports go to $OUT.
#   OUT=results/benchmarks/gpu scripts/gpu/bench.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
OUT=${OUT:-results/benchmarks/gpu}; PYTHON=${PYTHON:-python3}
mkdir -p "$OUT" data
if [ ! -d data/cifar-10-batches-py ]; then
  VIEWKIN_DATA=${SHARDS:-} "$PYTHON" scripts/unpack_cifar.py data --set cifar10
fi
"$PYTHON" benchmarks/interclr.py --network-batch 256 --exact --out "$OUT/interclr.json"
"$PYTHON" benchmarks/train_step.py --no-peer --method simclr moco npid --width 64 --batch 128 512 --repeats 3 \
  --out "$OUT/train_step.json"
"$PYTHON" benchmarks/growth.py --counts 10000 100000 1281167 10000000 --repeats 2 --out "$OUT/growth.json"
