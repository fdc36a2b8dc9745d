#!/usr/bin/env bash
# tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS (more options of srun) may be set.
# REQUEUE=1 submits a batch job instead, which goes back to the queue when the cluster takes its
# machine or its time is up, and resumes where it was; SBATCH_ARGS holds more options of sbatch.
# GRACE (120) is how many seconds before that the job gets a signal, so that it saves a checkpoint.
set -euo pipefail
if [ $# -lt 4 ]; then sed -n '2,6s/^# //p' "$0"; exit 2; fi
partition=$1 job=$2 config=$3 work_dir=$4
tools=$(cd "$(dirname "$0")" && pwd)
train=(srun -p "$partition" --job-name="$job"
    --gres=gpu:"${GPUS_PER_NODE:-8}"
    --ntasks="${GPUS:-8}"
    --ntasks-per-node="${GPUS_PER_NODE:-8}"
    --cpus-per-task="${CPUS_PER_TASK:-5}"
    --kill-on-bad-exit=1)
# shellcheck disable=SC2206  # SRUN_ARGS holds several words
train+=(${SRUN_ARGS:-})
if [ -z "${REQUEUE:-}" ]; then train+=(--signal="TERM@${GRACE:-120}"); fi
train+=("${PYTHON:-python}" -u "$tools/train.py" "$config" --work-dir="$work_dir" --launcher=slurm
    "${@:5}")
if [ -z "${REQUEUE:-}" ]; then exec "${train[@]}"; fi

mkdir -p "$work_dir"
# Without B: the signal goes to the ranks alone, whose status 75 says that they are to be resumed.
# shellcheck disable=SC2086  # SBATCH_ARGS holds several words
exec sbatch -p "$partition" --job-name="$job" \
    --gres=gpu:"${GPUS_PER_NODE:-8}" \
    --ntasks="${GPUS:-8}" \
    --ntasks-per-node="${GPUS_PER_NODE:-8}" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --signal="TERM@${GRACE:-120}" --requeue --open-mode=append --output="$work_dir/slurm-%j.log" \
    ${SBATCH_ARGS:-} <<SCRIPT
#!/usr/bin/env bash
status=0
$(printf '%q ' "${train[@]}")--resume || status=\$?
if [ \$status -eq 75 ]; then scontrol requeue \$SLURM_JOB_ID; fi
exit \$status
SCRIPT
