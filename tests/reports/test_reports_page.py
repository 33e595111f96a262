"""The page: complete, escaped, self-contained, whatever the record holds."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from reports_records import HOSTILE, OPERATORS, POINTS, MakeRun, description, realistic_trials, result

from reports import RunView, page
from reports.document import document_of
from reports.errors import ReportError
from reports.page import page_data, page_script, render_document, write_report
from trials.trial import TrialState

Attributes = dict[str, str | None]


class Page(HTMLParser):
    """A parsed page: its tags with their attributes, the text of people's part, the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Attributes]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            if tag == "script":
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif not self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes in self.tags if name == tag]

    def identified(self) -> dict[str, Attributes]:
        return {str(a["id"]): a for _, a in self.tags if a.get("id")}


@pytest.fixture(scope="module")
def html(run: RunView) -> str:
    return page.render(run)


@pytest.fixture(scope="module")
def parsed(html: str) -> Page:
    return Page(html)


def read(view: RunView) -> Page:
    return Page(page.render(view))


def test_the_sections_come_in_order(parsed: Page) -> None:
    expected = [
        "pareto", "front", "network", "operators", "ablation", "attention", "finalists", "trust", "course", "trials",
        "data", "latency", "provenance",
    ]  # fmt: skip
    assert [a["id"] for a in parsed.of("section")] == expected


def test_nothing_is_loaded(html: str, parsed: Page) -> None:
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), (tag, attributes)
        assert "url(" not in (attributes.get("style") or "")
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style


def test_the_policy_forbids_every_load_and_every_other_script(parsed: Page) -> None:
    policy = next(a["content"] or "" for a in parsed.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    scripts, styles = (policy.split(part)[1].split(";")[0] for part in ("script-src", "style-src"))
    assert "unsafe" not in policy
    assert scripts.count("'sha256-") == 2
    assert styles.count("'sha256-") == 1
    assert not re.search(r"https?:|\*", policy)


def test_hostile_strings_stay_text(run: RunView, parsed: Page) -> None:
    html = page.render(run)
    assert HOSTILE not in html
    parsed = Page(html)
    assert "alert(1)" in parsed.text  # the note is shown, as text
    assert len(parsed.scripts) == 3
    assert not any("alert(1)</script" in script for script in parsed.scripts)
    assert "fashion <b>first & 'quoted'" in parsed.text


@pytest.mark.parametrize("kind", ["fill", "ink"])
def test_a_colour_of_a_foreign_document_is_nothing_but_a_colour(run: RunView, kind: str) -> None:
    document = document_of(run)
    document["palette"][0][kind] = "red}</style><script>alert(1)</script>"
    with pytest.raises(ReportError, match="expected # and 3 to 8 hex digits"):
        render_document(document)


def test_json_cannot_leave_its_script() -> None:
    text = page.script_json({"x": "</script><!--<script>&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"x": "</script><!--<script>&\u2028"}


def test_the_page_carries_its_document_and_its_library_once(run: RunView, parsed: Page) -> None:
    carried: dict[str, Any] = json.loads(parsed.scripts[0])
    assert carried == page_data(document_of(run))
    asked = set(re.findall(r'\b(?:of|textOf)\("(\w+)"', page_script()))
    asked |= {axis["key"] for axis in carried["axes"]}
    assert set(carried["trials"]["columns"]) == asked, "what no script asks for is not carried"
    charts = [a["id"] for a in parsed.of("figure") if a.get("data-draws")]
    assert {"front-chart", "network-chart", "effects-chart", "curves", "parallel", "trials-table"} <= set(charts)
    assert sum("d3js.org v7" in script for script in parsed.scripts) == 1


def test_no_element_has_a_style_that_the_policy_would_not_apply(parsed: Page) -> None:
    assert not [attributes for _, attributes in parsed.tags if "style" in attributes]


def test_every_trial_and_every_front_member_is_there(run: RunView, parsed: Page) -> None:
    ids = parsed.identified()
    carried = json.loads(parsed.scripts[0])["trials"]["columns"]
    assert carried["number"] == [t.result.number for t in run.trials]
    assert all(f"front-{t.result.number}" in ids for t in run.front)
    assert "front-0" in ids


def test_the_baseline_ends_the_front_when_it_is_not_on_it(make_run: MakeRun) -> None:
    better = result(1, ["se"] * 3, score=0.9, macs=9_000_000)
    trials = [result(0, ["add"] * 3, origin="baseline", score=0.5), better]
    rows = [i for i in read(make_run(trials)).identified() if re.fullmatch(r"front-\d+", i)]
    assert rows == ["front-1", "front-0"]


def test_export_commands_survive_a_shell(run: RunView, parsed: Page) -> None:
    text = parsed.text
    start = text.index("nas export")
    words = shlex.split(text[start : text.index("model-", start) + 8])
    assert words[:2] == ["nas", "export"]
    assert words[2] == str(run.path)
    assert words[4] == "--out"


def test_failures_and_violations_are_told(parsed: Page) -> None:
    text, carried = parsed.text, json.loads(parsed.scripts[0])["trials"]
    assert any("out of memory" in told for told in carried["texts"])
    assert any(carried["columns"]["over"])
    assert "1 of them is marked unstable" in text


def test_operators_are_described_and_not_explained(parsed: Page) -> None:
    text = parsed.text
    assert "does not show that an operator causes" in text
    assert all(f"{name} short skip 2 maps" in text for name in POINTS)
    assert "By the Gaussian model of all trainings: the mean, over" in text


def test_provenance_is_whole(run: RunView, parsed: Page) -> None:
    text = parsed.text
    for part in ("9f1c2ab04d5e6f77", "2,744", "AMD EPYC 9354", "nas search resnet8 --out run", '"epochs": 5'):
        assert part in text


def test_a_run_without_latency_says_so(make_run: MakeRun) -> None:
    parsed = read(make_run(realistic_trials(latency=False)))
    assert [axis["key"] for axis in json.loads(parsed.scripts[0])["axes"]] == ["macs", "params"]
    assert "accuracy against latency is not shown" in parsed.text


@pytest.mark.parametrize(
    ("trials", "budgets", "baseline"),
    [
        ([], [], None),
        ([result(0, ["add"] * 3, TrialState.FAILED, error="boom")], [], None),
        ([result(0, ["iaff"] * 3, TrialState.GATED)], [{"metric": "macs", "bound": 1.0, "relative": True}], None),
        ([result(0, ["add"] * 3, origin="baseline")], [], {"macs": 10_500_000, "params": 77_000, "latency_ms": None}),
        ([result(3, ["se"] * 3, latency=False)], [{"metric": "latency_ms", "bound": 3.0, "relative": False}], None),
        ([result(3, ["se"] * 3, curve=(), images=None, loss=None)], [], None),
        (realistic_trials(), [{"metric": "macs", "bound": 1.0, "relative": False}], {"macs": 10_500_000, "params": 1}),
    ],
)
def test_sparse_records_have_a_report(make_run: MakeRun, trials: Any, budgets: Any, baseline: Any) -> None:
    text = read(make_run(trials, budgets, baseline=baseline)).text
    assert "None" not in text
    assert "nan" not in text.lower().split()


def test_missing_descriptions_have_a_report(make_run: MakeRun) -> None:
    view = make_run(realistic_trials(), description={"objectives": ["accuracy", "macs"]}, config={})
    text = read(view).text
    assert "does not describe the network's fusion points" in text


def test_no_sessions_have_a_report(run: RunView) -> None:
    assert "n/a" in read(replace(run, sessions=())).text


def test_the_file_is_replaced_whole(run: RunView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "report.html"
    assert write_report(run, path) == path
    before = path.read_bytes()
    monkeypatch.setattr(page, "render", lambda view: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(run, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_the_network_is_drawn_with_the_kind_of_each_merge_and_the_operator_there(make_run: MakeRun) -> None:
    drawn = description()
    _, second, third = drawn["points"]
    second |= {"kind": "long skip", "inputs": [32] * 3}
    third |= {"kind": "same layer", "merge": "cat", "inputs": [48, 16]}
    made = document_of(make_run([result(0, ("add", "aff", "se"), origin="baseline")], description=drawn))
    (chart,) = next(part for part in made["sections"] if part["key"] == "network")["blocks"]
    assert [(stage["title"], stage["kind"], stage["merges"], stage["points"]) for stage in chart["stages"]] == [
        ("layer1", "short skip", "2 maps", ["layer1.0"]), ("layer2", "long skip", "3 maps", ["layer2.0"]),
        ("layer3", "same layer", "48 + 16", ["layer3.0"]),
    ]  # fmt: skip
    labels = [made["trials"]["choices"][place]["label"] for place in made["trials"]["columns"]["architecture"][0]]
    assert labels == ["add", "aff/4", "se/4"]


def test_a_folder_whose_name_is_not_utf8_has_a_report(run: RunView, tmp_path: Path) -> None:
    write_report(replace(run, path=Path("run-\udcff")), tmp_path / "report.html")
    assert "run-?" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_a_thousand_trials_of_a_deep_network_stay_small(make_run: MakeRun, tmp_path: Path) -> None:
    points = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(9)]
    trials = []
    for number in range(1000):
        ops = [OPERATORS[(number // 6 ** (i % 4) + i * number) % 6] for i in range(27)]
        state = TrialState.FAILED if number % 3 else TrialState.GATED
        trials.append(result(number, ops, state, points=points, error="out of memory"))
    trials = trials[:200] + [
        result(t.number, [c.op for c in t.architecture.choices.values()], points=points, reduction=4 + t.number)
        for t in trials[200:]
    ]
    view = make_run(trials, description={**description(points), "size": 14**27})
    path = write_report(view, tmp_path / "report.html")
    assert path.stat().st_size < 1.5e6
    assert "~8.8e30" in path.read_text("utf-8")


def test_reports_import_neither_torch_nor_what_takes_a_while() -> None:
    code = "import sys, reports.page; print([m for m in ('torch', 'scipy', 'jinja2', 'optuna') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_leaks_of_the_data_are_said_once_and_escaped(make_run: MakeRun) -> None:
    data = description()["data"] | {
        "findings": {
            "val_in_train": {"images": 7, "examples": [f"val/{HOSTILE}.png = train/a.png"]},
            "repeated": {"images": 0, "examples": []},
        }
    }
    html = page.render(make_run(realistic_trials(), description=description() | {"data": data}))
    text = Page(html).text
    assert "Data: 7 validation images are training images too: val/" in text
    assert f"val/{HOSTILE}.png" not in html
    clean = description()["data"] | {"findings": {"repeated": {"images": 0, "examples": []}}}
    view = make_run(realistic_trials(), description=description() | {"data": clean}, folder="clean")
    text = Page(page.render(view)).text
    assert "equal images, unreadable files none found" in text
    assert "Data: " not in text
