#!/bin/sh
# Rewrites requirements.txt from pyproject.toml: every version pinned, every file hashed, no registry named.
set -eu
cd "$(dirname "$0")/.."
uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
    --quiet --group dev pyproject.toml --output-file requirements.txt "$@"
