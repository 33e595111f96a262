"""README.md and the pages of docs/ taken apart: their blocks of code and their commands, each of which a test runs.

| test | what it runs |
|---|---|
| test_pages.py | nothing long: links, tables, options, the cluster's command, blocks of Python that take seconds |
| test_pages_runs.py | README.md, then the pages that go on with its run: budgets, estimates, trust, … |
| test_pages_own.py | your data and your network: searches of their own |
| test_pages_bench.py | FusionBench's page |
| test_pages_scenes.py | detection and segmentation, of your data and exporting |
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

from warm import run_warm

README = Path("README.md")
#: In the order in which a command that stands on several of them is run: on the first.
PAGES = (README, *sorted(Path("docs").glob("*.md")))
#: What goes on with README's run, in this order: `nas show` and the report have more to show after the studies.
AFTER_README = ("budgets", "effort", "estimates", "trust", "report", "settings", "finalists", "export", "recovering")
#: What searches images and networks of one's own.
OWN = ("data", "network")
#: What asks the packaged table.
BENCH = ("bench",)
#: What makes a command small enough for a test; it runs otherwise as it stands.
SMALL = ["--train-images", "256", "--trials", "2", "--epochs", "1", "--batch-size", "64"]

Command = tuple[str, ...]


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), flags=re.DOTALL | re.MULTILINE)


def block(page: Path, holding: str) -> str:
    """The one block of Python of a page that holds a text."""
    (code,) = [code for code in blocks(page, "python") if holding in code]
    return code


def shell_lines(page: Path) -> list[str]:
    """Every line of a page's blocks of shell, without its comment."""
    lines = (line.split("#")[0].strip() for code in blocks(page, "sh") for line in code.splitlines())
    return [line for line in lines if line]


def commands(page: Path) -> list[Command]:
    """Every `nas …` line of a page's blocks of shell."""
    return [tuple(shlex.split(line)) for line in shell_lines(page) if line.startswith("nas ")]


def to_run(page: Path) -> list[Command]:
    """A page's commands in their order, without those that stand on a page before it."""
    earlier = {command for before in PAGES[: PAGES.index(page)] for command in commands(before)}
    return [command for command in commands(page) if command not in earlier]


def inline_commands(page: Path) -> list[str]:
    """Every `nas …` that stands in a page's text."""
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`(nas [^`]+)`", prose)


def of_scenes(command: Command) -> bool:
    """Whether a command is one of detection and segmentation, which test_pages_scenes.py runs."""
    return "resnet8-fpn" in command


def run(command: Command, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a command, with more options, in a folder; what it prints goes where `> FILE` says."""
    *command_line, target = (*command, None) if ">" not in command else (*command[: command.index(">")], command[-1])
    arguments = [part for part in command_line if part is not None]
    done = run_warm([*arguments[1:], *more], folder, 560)
    if target is not None:
        (folder / target).write_text(done.stdout)
    return done


def run_page(page: Path, folder: Path, more: Callable[[Command], list[str]] = lambda _: []) -> None:
    """Run a page's commands in the order shown, made small, with `more(command)` beside."""
    assert to_run(page), page
    for command in to_run(page):
        if of_scenes(command) or "--survey" in command:
            continue  # minutes, and run by test_pages_scenes.py and tests/nas/tools/test_nas_discover.py
        small = [*SMALL, "--engine", "local", "--workers", "1"] if command[1] in ("search", "check") else []
        done = run(command, folder, *small, *more(command))
        assert done.returncode == 0, (page, command, done.stderr)
