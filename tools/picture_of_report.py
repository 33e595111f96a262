"""Takes the picture of a report that README.md shows: `python tools/picture_of_report.py RUN docs/report.png`."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run's folder, its report written")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=1330)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                arguments.chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                f"--user-data-dir={profile}", f"--window-size={arguments.width},{arguments.height}",
                "--virtual-time-budget=6000", f"--screenshot={arguments.picture.resolve()}",
                (arguments.run / "report.html").resolve().as_uri(),
            ],
            check=True, capture_output=True,
        )  # fmt: skip
    print(arguments.picture)


if __name__ == "__main__":
    main()
