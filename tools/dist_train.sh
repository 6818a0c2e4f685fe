#!/usr/bin/env bash
# Train on several GPUs of one machine, or of several:
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# On each of several machines also set NNODES, NODE_RANK, MASTER_ADDR and PORT.
# MAX_RESTARTS=3: go on from the last checkpoint up to 3 times after a failure.
# More in docs/distributed.md.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
CONFIG=$1 GPUS=$2
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
here=$(cd "$(dirname "$0")" && pwd)
address=${MASTER_ADDR:-127.0.0.1} port=${PORT:-29500}
if [ "${MAX_RESTARTS:-0}" -gt 0 ]; then
  # What is started again must not find the addresses of the processes before, which
  # stay in a store that torchrun shares with them (pytorch/pytorch#135712).
  export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
  meeting=(--rdzv-backend=c10d --rdzv-endpoint="$address:$port" --rdzv-id="$port"
    --max-restarts="$MAX_RESTARTS")
else
  meeting=(--node-rank="${NODE_RANK:-0}" --master-addr="$address" --master-port="$port")
fi
exec "${PYTHON:-python}" -m mmseg_fastscnn.commands.torchrun \
  --nnodes="${NNODES:-1}" --nproc-per-node="$GPUS" "${meeting[@]}" \
  "$here/train.py" "$CONFIG" --launcher pytorch "${@:3}"
