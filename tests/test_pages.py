"""README.md and the pages of docs/: what they show exists and runs, as far as that takes seconds. See pages.py."""

from __future__ import annotations

import ast
import functools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from pages import (
    AFTER_README,
    BENCH,
    OWN,
    PAGES,
    README,
    block,
    blocks,
    commands,
    inline_commands,
    run,
    shell_lines,
    text_of,
    to_run,
)

import nas
from nas.cli.main import commands as program

DOCS = {page.stem for page in PAGES if page != README}
#: Pages whose commands a test runs; the others have none but those of the cluster, see tests/nas/cluster.
RUN = {*AFTER_README, *OWN, *BENCH}
#: What stands only once in a block of Python, and the test that runs it.
PYTHON = {
    "nas.search": "test_the_library_use",
    "@register": "test_an_operator_in_one_file",
    "nas.discover": "test_a_network_of_ones_own",
    "DeviceProfile": "test_pages_runs.py",
    "SceneRecipe(epochs=4)": "test_pages_scenes.py",
    "export_network": "test_pages_scenes.py",
    "from nas.bench import query": "test_pages_bench.py",
    "class Greedy": "test_pages_bench.py",
    "EHVISampler": "test_pages_bench.py",
}
pages = pytest.mark.parametrize("page", PAGES, ids=str)


def test_the_readme_is_short_and_names_every_page() -> None:
    assert len(text_of(README).splitlines()) <= 150
    assert {match[1] for match in re.finditer(r"\]\(docs/([\w-]+)\.md", text_of(README))} == DOCS


@pages
def test_what_is_linked_exists(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text_of(page)):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), target


@pages
def test_what_is_linked_is_in_the_source_distribution(page: Path) -> None:
    """Where there is no code host, the pages are read there."""
    project = tomllib.loads(Path("pyproject.toml").read_text())
    included = [Path(name) for name in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]]
    for target in [page.name, *re.findall(r"\]\((?!https?:|#)([^)#]+)", text_of(page))]:
        path = (page.parent / target).resolve().relative_to(Path.cwd())
        assert any(path.is_relative_to(name) for name in included), path


def _anchors(page: Path) -> set[str]:
    """The anchors that code hosts make of a page's headings."""
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pages
def test_every_line_of_shell_is_one_that_a_test_runs(page: Path) -> None:
    for line in shell_lines(page):
        if line.startswith("nas "):
            here = tuple(shlex.split(line)) in to_run(page)
            assert not here or page == README or page.stem in {*RUN, "cluster"}, f"{line}: name the page in pages.py"
        elif line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", Path("Makefile").read_text(), flags=re.MULTILINE), line
        else:
            assert line.startswith("ray job submit "), f"{line}: no test runs it"


@pages
def test_every_block_of_python_is_one_that_a_test_runs(page: Path) -> None:
    for code in blocks(page, "python"):
        assert len([mark for mark in PYTHON if mark in code]) == 1, code
        ast.parse(code)


def test_every_command_of_the_program_is_shown() -> None:
    shown = {command[1] for page in PAGES for command in to_run(page)}
    assert shown == set(program.commands)


@pages
def test_what_is_named_in_the_text_is_a_command_with_these_options(page: Path) -> None:
    """A command in the text is the beginning of one that is run, or says in capitals what to put in."""
    shown = [command for other in PAGES for command in commands(other)]
    for text in inline_commands(page):
        words = tuple(shlex.split(text))
        command = program if words[1].startswith("--") else program.commands.get(words[1])
        assert command is not None, text
        assert {word for word in words if word.startswith("--")} <= _options(command), text
        if command is program:
            continue
        placeholder = any(re.fullmatch(r"[A-Z]+(:\w+|\.json|/\S+)?", word) for word in words)
        assert placeholder or any(other[: len(words)] == words for other in shown), text


@pages
def test_options_that_are_named_exist(page: Path) -> None:
    known = {option for command in program.commands.values() for option in _options(command)}
    prose = " ".join(text_of(page).split())
    for another in (
        "ray job submit --working-dir",
        "ray start --object-store-memory",
        "pip install --no-deps",
        "torchrun --nproc-per-node",
    ):
        prose = prose.replace(another, "")
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", prose):
        assert option in known, option


def _options(command: click.Command) -> set[str]:
    found = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return found | {"--help"} | {option for one in inner for option in _options(one)}


def test_the_cluster_command_is_one_that_nas_takes() -> None:
    ((page, line),) = [(page, line) for page in PAGES for line in shell_lines(page) if line.startswith("ray ")]
    assert page.stem == "cluster"
    submitted = line.partition(" -- ")[2].replace("my.toml", "no-such.toml").split()
    assert submitted[:2] == ["nas", "search"]
    assert Path(submitted[submitted.index("--out") + 1]).is_absolute(), "a submission's own folder goes with it"
    done = run(tuple(submitted), Path.cwd())
    assert "no-such.toml: no such file" in done.stderr


@pytest.mark.slow
def test_the_library_use(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code = block(README, "nas.search")
    small: dict[str, Any] = {"train_images": 128, "engine": "local", "training": {"epochs": 1, "batch_size": 64}}
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(nas, "search", functools.partial(nas.search, **small))
    exec(compile(code.replace("trials=12", "trials=2"), "README.md", "exec"), {})
    assert "layer1.0" in capsys.readouterr().out
    assert (workplace / "runs/library/report.html").exists()
    assert (workplace / "exported/model.py").exists()


@pytest.fixture
def scaled() -> Iterator[str]:
    """The operator that docs/network.md shows."""
    from search_spaces.fusions import unregister

    exec(compile(block(Path("docs/network.md"), "@register"), "docs/network.md", "exec"), {"__name__": "shown"})
    yield "scaled"
    unregister("scaled")


def test_an_operator_in_one_file(scaled: str) -> None:
    from search_spaces import InputSpec, SearchSpace

    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10), ["add", "se", scaled])
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    outputs = []
    for op in ("add", scaled):
        torch.manual_seed(0)
        outputs.append(space.build(space.uniform(op)).eval()(images))
    torch.testing.assert_close(*outputs)


def test_a_network_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(compile(block(Path("docs/network.md"), "nas.discover"), "docs/network.md", "exec"), names)
    assert "short skip" in capsys.readouterr().out
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for network in (names["network"], names["child"]):
        torch.testing.assert_close(network.eval()(images), names["model"].eval()(images))


def test_the_table_of_operators_is_complete() -> None:
    from search_spaces import operator_names

    for name in operator_names():
        assert re.search(rf"^\| `{name}(/r)?` \|", text_of(Path("docs/network.md")), flags=re.MULTILINE), name


@pytest.mark.parametrize(
    ("page", "mark", "end"),
    [("settings", "settings: generated", "/settings"), ("how-it-is-built", "rooms: generated", "/rooms")],
)
def test_what_is_generated_has_its_place(page: str, mark: str, end: str) -> None:
    inside = text_of(Path(f"docs/{page}.md")).split(f"<!-- {mark} -->")[1].split(f"<!-- {end} -->")[0]
    assert inside.strip().startswith("| ")
