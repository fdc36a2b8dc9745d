#!/usr/bin/env bash
# tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT. Without a GPU, ranks run on CPUs.
set -euo pipefail
if [ $# -lt 3 ]; then sed -n '2,3s/^# //p' "$0"; exit 2; fi
exec bash "$(dirname "$0")/torchrun.sh" "$3" test.py "$1" "$2" "${@:4}"
