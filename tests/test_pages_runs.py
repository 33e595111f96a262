"""The commands of README.md, and of the pages that go on with the run they make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pages import AFTER_README, README, Command, block, run_page


def _more(command: Command) -> list[str]:
    if command[1] != "search":
        return []
    if command[-2:] == ("--out", "runs/first"):
        return ["--trials", "5"]  # nas trust ranks them
    return (
        [] if "examples/quickstart.toml" in command else ["--finalists", "none", "--export", "none"]
    )  # a quarter of a minute each


@pytest.fixture(scope="module")
def searched(workplace: Path) -> Path:
    run_page(README, workplace, _more)
    return workplace


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_readme_run(searched: Path) -> None:
    assert (searched / "runs/first/report.html").exists()
    assert (searched / "exported/model.onnx").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", AFTER_README)
def test_the_commands_of_a_page_run(searched: Path, name: str) -> None:
    run_page(Path(f"docs/{name}.md"), searched, _more)
    if name == "budgets":
        code = block(Path("docs/budgets.md"), "DeviceProfile")  # it reads what the commands wrote
        done = subprocess.run([sys.executable, "-c", code], cwd=searched, capture_output=True, text=True, check=False)
        assert "MAPE" in done.stdout, done.stderr
    if name == "settings":
        assert (searched / "runs/quickstart/exported/model.py").exists()
