#!/usr/bin/env bash
# tools/torchrun.sh GPUS SCRIPT [arguments]: what dist_train.sh and dist_test.sh share.
# The interpreter is $PYTHON, else that of the active environment, else .venv's, else python3.
set -euo pipefail
TOOLS=$(cd "$(dirname "$0")" && pwd)
if [ -z "${PYTHON:-}" ]; then
    PYTHON=$(command -v python3)
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$TOOLS/../.venv/bin/python" ]; then
        PYTHON=$TOOLS/../.venv/bin/python
    fi
fi
exec "$PYTHON" "$TOOLS/torchrun.py" \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$1" \
    "$TOOLS/$2" "${@:3}" --launcher pytorch
