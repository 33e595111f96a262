"""Fetches what the report's page is drawn with, and what it is tested with: `python tools/fetch_page_library.py`.

Each package is that of exactly this version and hash, from wherever npm is set to take packages. What the page carries
of d3, minified as published, and its licence are put into reports/templates/lib; axe-core, which the tests alone use,
beside them. Only a change of version needs this.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parents[1]
#: Package and version, its hash, which of its files under which names, and where to.
PACKAGES: tuple[tuple[str, str, dict[str, str], Path], ...] = (
    (
        "d3@7.9.2",
        "sha512-ZKb/mONPVKzaO5UlcWcwN8bS4ezvQaYu+bsou+XgNABdGC800kwH651ADTbbTxMPHW13UlvbQafdmJQDk1w7Mg==",
        {"package/dist/d3.min.js": "d3.min.js", "package/LICENSE": "d3.LICENSE.txt"},
        _ROOT / "reports" / "templates" / "lib",
    ),
    (
        "axe-core@4.14.1",
        "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        {"package/axe.min.js": "axe.min.js", "package/LICENSE": "axe.LICENSE.txt"},
        _ROOT / "tests" / "reports" / "lib",
    ),
)


def fetch(package: str, integrity: str, files: dict[str, str], target: Path) -> None:
    """Write `files` of a package into the folder `target`. Raises SystemExit where its hash is another."""
    with tempfile.TemporaryDirectory() as folder:
        packed = ["npm", "pack", package, "--silent", "--pack-destination", folder]
        subprocess.run(packed, check=True, capture_output=True)
        archive = next(Path(folder).glob("*.tgz"))
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != integrity:
            raise SystemExit(f"{package} has the hash {found}; expected {integrity}: nothing was written")
        target.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as members:
            for member, name in files.items():
                content = members.extractfile(member)
                assert content is not None, member
                (target / name).write_bytes(content.read())
                print(target / name)


if __name__ == "__main__":
    for package in PACKAGES:
        fetch(*package)
