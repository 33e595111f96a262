"""`nas retrain` by torchrun, as two processes of one machine that share each batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path


def retrained_by_two(exported: Path, out: Path, images: int) -> None:
    """Train an export on for an epoch of so many images into `out`, and see that both took part and it is sound."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)),
        *("-m", "nas", "retrain", str(exported), "--epochs", "1", "--train-images", str(images), "--device", "cpu"),
        *("--formats", "py", "--out", str(out), "--json"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["parity"]["passed"]
    assert json.loads((out / "arch.json").read_text())["provenance"]["retrained"]["processes"] == 2
