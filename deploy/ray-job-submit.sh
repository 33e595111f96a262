#!/usr/bin/env bash
# A search on a Ray cluster that runs already (any that `ray start` has made): the driver runs on its head.
#
#   deploy/ray-job-submit.sh my.toml               and the same again goes on with the run
#
# Needs: `fusion-nas[cluster]` on the head (Ray's dashboard takes submissions), RAY_API_SERVER_ADDRESS for a head that is
# elsewhere (http://HEAD:8265), and RAY_AUTH_MODE=token with the cluster's token in ~/.ray/auth_token where it asks for
# one.
# No --submission-id: one that exists is refused, and a search needs none to be recognised: its folder does that. OUT is
# on the head's own disk and absolute, for each submission has a working folder of its own.
# Costs: nothing beside the cluster. A worker lost costs its trial's time; a head lost ends the job: submit it again.
# Two at once are harmless: the second ends and says who searches there.
set -euo pipefail
config=${1:?give a configuration: deploy/ray-job-submit.sh my.toml [OUT]}
out=${2:-/var/tmp/fusion-nas/night}
backup=${NAS_BACKUP:-$(dirname "$out")/backup}  # better another disk, or s3://BUCKET/DIR
exec ray job submit --working-dir . -- nas search "$config" --address auto --out "$out" --backup "$backup"
