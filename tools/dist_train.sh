#!/usr/bin/env bash
# tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT. Without a GPU, ranks run on CPUs.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n '2,3s/^# //p' "$0"; exit 2; fi
exec bash "$(dirname "$0")/torchrun.sh" "$2" train.py "$1" "${@:3}"
