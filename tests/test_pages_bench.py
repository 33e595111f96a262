"""docs/bench.md: its commands and its blocks of Python, on the packaged table."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import Command, block, run_page

PAGE = Path("docs/bench.md")


def few(command: Command) -> list[str]:
    """Two searches in place of twenty; of the eight settings of the whole comparison by two methods alone."""
    if "compare" not in command:
        return []
    methods = ["--methods", "nas-random,random-loss"] if "--out" in command else []
    return ["--seeds", "2", "--processes", "1", *methods]


@pytest.mark.slow
def test_its_commands_run(workplace: Path) -> None:
    run_page(PAGE, workplace, few)


def test_the_table_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block(PAGE, "from nas.bench import query"), str(PAGE), "exec"), {})
    accuracy, *_, right = capsys.readouterr().out.split()
    assert int(right) == round(float(accuracy) * 20_000)


def test_a_method_in_twenty_lines(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(compile(block(PAGE, "class Greedy"), str(PAGE), "exec"), names)
    assert "gain=" in capsys.readouterr().out


def test_a_sampler_of_ours_in_anybodys_study(capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.with_name("how-it-is-built.md")
    exec(compile(block(page, "EHVISampler"), str(page), "exec"), {"__name__": "__main__"})
    assert float(capsys.readouterr().out) >= 0.72
