#!/bin/sh
# Makes .venv from requirements.txt (pinned, hashed) and installs this checkout into it.
# Needs Python >= 3.11 and the package registry; fetches uv when the machine has none.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/.complete
wanted=$(cat requirements.txt pyproject.toml tools/setup_environment.sh | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi

python=""
for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3 python; do
    if command -v "$candidate" >/dev/null 2>&1 &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup: found no Python >= 3.11; install one, or name it: make search PYTHON=/path/to/python3" >&2
    exit 2
fi

if [ ! -x .venv/bin/python ]; then
    echo "setup: creating .venv with $("$python" --version)" >&2
    "$python" -m venv .venv
fi
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    if [ ! -x .venv/uv/bin/uv ]; then
        echo "setup: fetching uv" >&2
        "$python" -m venv .venv/uv
        .venv/uv/bin/python -m pip install --quiet uv
    fi
    uv=.venv/uv/bin/uv
fi

echo "setup: installing pinned requirements into .venv (once; a few GB with CUDA builds of torch)" >&2
"$uv" pip sync --quiet --python .venv/bin/python --require-hashes --compile-bytecode requirements.txt
"$uv" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
echo "$wanted" >"$stamp"
