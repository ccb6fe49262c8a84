#!/usr/bin/env bash
# What only a GPU can show, in at most eight minutes: the tests marked `gpu`, then the speed bars of `segment`.
#
#   benchmarks/gpu_check.sh [--out DIR] [--wheels DIR] [--minutes N] [--dry-run] [arguments of gpu_sam3.py]
#
# For a machine with CUDA, PyTorch and no network, from a copy of the repository. Wheels of gpu_wheels.txt are taken
# from --wheels (default: .whl, where it is there). Each line is printed as soon as it is measured; test.log,
# gpu_sam3.json and gpu_sam3.log come to lie in --out (default: gpu-check). --dry-run tries all of it with a tiny model
# on the processor. Exit status: 0 where tests passed and the benchmark ran through; a missed bar is a figure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
out=gpu-check wheels=.whl minutes=8 device=cuda python=${PYTHON:-python3}
sam3=(--compile --kept 0,20,200 --megapixels 1,12 --seconds 8)
given=()
while [ $# -gt 0 ]; do
  case "$1" in
    --out) out=$2; shift 2 ;;
    --wheels) wheels=$2; shift 2 ;;
    --minutes) minutes=$2; shift 2 ;;
    --dry-run) device=cpu; sam3=(--compile --tiny --device cpu --kept 0,3 --megapixels 1 --seconds 0.1); shift ;;
    *) given+=("$1"); shift ;;
  esac
done
seconds_left() { echo $((minutes * 60 - SECONDS)); }

mkdir -p "$out" || exit 1
export PYTHONUNBUFFERED=1 PYTHONPATH="worker_image${PYTHONPATH:+:$PYTHONPATH}" GPUPIPE_TEST_DEVICE=$device
if [ -d "$wheels" ]; then
  site=$(mktemp -d) || exit 1
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl || exit 1
  PYTHONPATH="$site:$PYTHONPATH"
fi
[ "$device" = cpu ] || nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
echo "set up after ${SECONDS} s"

# The conftest files above tests/gpu want an emulated AWS account, which such a machine does not have.
timeout --kill-after=10 $(($(seconds_left) / 3)) "$python" -m pytest tests/gpu --confcutdir=tests/gpu -m gpu -rs \
  -p no:cacheprovider 2>&1 | tee "$out/test.log"
tested=${PIPESTATUS[0]}
echo "tested after ${SECONDS} s"

left=$(seconds_left)
timeout --kill-after=10 "$left" "$python" benchmarks/gpu_sam3.py "${sam3[@]}" \
  --minutes "$("$python" -c "print(max(0, $left - 45) / 60)")" --json "$out/gpu_sam3.json" "${given[@]}" 2>&1 |
  tee "$out/gpu_sam3.log"
measured=${PIPESTATUS[0]}
echo "measured after ${SECONDS} s; tests: $tested, benchmark: $measured"
[ "$tested" = 0 ] && [ "$measured" = 0 ]
