#!/usr/bin/env bash
# A search on a Slurm allocation: every node runs this one command, `ray symmetric-run` makes the first of them the head
# and the others workers, and `nas search` runs on the head alone.
#
#   sbatch deploy/slurm.sh my.toml runs/night      and the same again goes on, also after a time limit or a lost node
#
# Needs: Ray >= 2.49 and this package in one environment on all nodes, whole nodes (`ray symmetric-run` ends with
# `ray stop`, which ends every Ray of that user on the node), the data at one path everywhere or `--ship-data true`.
# Costs: the nodes for as long as the job holds them, also while some of them wait for the last trial.
# Preempted or over its time limit the whole job ends and, with --requeue, is queued again: it goes on.
# A worker lost costs its trials' time; the others go on without it. A head lost is the job lost: submit it again.
#SBATCH --job-name=fusion-nas
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=4
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
set -euo pipefail

config=${1:?give a configuration: sbatch deploy/slurm.sh my.toml [OUT]}
out=${2:-runs/night}                            # on the shared file system: another node may be the head next time
backup=${NAS_BACKUP:-$(dirname "$out")/backup}  # a copy of study.db, in a folder named as OUT is

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))          # two jobs may share a network, not a port

export OMP_WAIT_POLICY=PASSIVE
export RAY_AUTH_MODE=token                      # whoever reaches the port could run what they like otherwise
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=600
[ -f ~/.ray/auth_token ] || ray get-auth-token --generate > /dev/null  # the home folder is on all nodes

# A time limit that nears is told to the search, which records what it has and ends; the job is then queued again.
trap 'kill -TERM "$step"; wait "$step" || true; scontrol requeue "$SLURM_JOB_ID"' TERM
srun --no-kill --kill-on-bad-exit=0 ray symmetric-run \
    --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    -- nas search "$config" --address "$head:$port" --out "$out" --backup "$backup" &
step=$!
wait "$step"
