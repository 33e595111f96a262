"""The page in a real browser: no request, no error, everyone can read it, and what is asked of it is answered."""

from __future__ import annotations

import csv
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports_browser import AXE, MARKS, actions, element, keep, requests, show, shown, texts, times_ms, violations, wait
from reports_records import HOSTILE, description, realistic_trials, record, result

from reports import RunView
from reports.comparison import compared, write_comparison
from reports.index import write_index
from reports.page import write_report
from trials.trial import TrialState

pytestmark = MARKS


def test_the_page_makes_no_request_and_no_error(browser: Any, address: str) -> None:
    browser.get("about:blank")
    requests(browser)  # those of the browser's own first tab
    show(browser, address)
    assert requests(browser) == [address]
    assert browser.get_log("browser") == []


def test_every_chart_is_drawn_and_has_its_figures_as_a_table(browser: Any, address: str) -> None:
    show(browser, address)
    keys = browser.execute_script("return [...document.querySelectorAll('figure[data-draws]')].map(f => f.id)")
    assert {"front-chart", "network-chart", "effects-chart", "halves-chart", "ablation-1", "curves", "parallel"} <= set(
        keys
    )
    for key in keys:
        drawn = browser.execute_script(
            "return document.querySelectorAll(`#${arguments[0]} .plot :is(svg, table, canvas)`).length", key
        )
        assert drawn > 0, key
        if key != "trials-table":
            browser.execute_script("document.querySelector(`#${arguments[0]} .tool.push`).click()", key)
        assert texts(browser, f"#{key} tbody tr"), key
        assert texts(browser, f"#{key} figcaption")[0], key
    assert len(texts(browser, "#ablation-1 .mean")) == 3
    assert len(texts(browser, "#front-chart .on-front")) >= 2
    assert browser.get_log("browser") == []


def test_a_click_on_a_mark_selects_it_everywhere(browser: Any, address: str) -> None:
    show(browser, address)
    mark = element(browser, "#front-chart .on-front")
    number = mark.get_attribute("data-trial")
    actions(browser).move_to_element(mark).pause(0.2).perform()
    tip = texts(browser, "#tip")[0]
    assert f"trial {number} (" in tip
    assert "layer1: " in tip
    actions(browser).click().perform()
    wait(browser, "return document.querySelector('#shortlist .differences') !== null")
    assert f"trial {number}" in texts(browser, "#shortlist .chip")[0]
    assert browser.execute_script("return document.querySelector('#network-trial').selectedOptions[0].textContent") in (
        f"trial {number}", f"trial {number} (all-add)",
    )  # fmt: skip
    chosen = browser.execute_script("return [...document.querySelectorAll('tr.chosen')].map(r => r.dataset.trial)")
    assert set(chosen) == {number}
    assert len(texts(browser, "#front-chart .ring")) == 1
    assert texts(browser, "#shortlist tr.point"), "where it differs from all-add"
    actions(browser).move_to_element(element(browser, "#shortlist .chip")).click().perform()
    wait(browser, "return document.querySelector('#shortlist .differences') === null")


def test_a_dragged_budget_is_answered_and_comes_back(browser: Any, address: str) -> None:
    show(browser, address)
    before = texts(browser, "#front-chart .budget text")[0]
    assert before.startswith("FLOPs ≤ 11.3M")
    front = len(texts(browser, "#front-chart .on-front"))
    grip = element(browser, "#front-chart .budget .grip")
    actions(browser).click_and_hold(grip).move_by_offset(60, 0).pause(0.1).move_by_offset(60, 0).pause(
        0.2
    ).release().perform()
    wait(browser, "return !document.querySelector('#front-answer').hidden")
    assert texts(browser, "#front-chart .budget text")[0] != before
    answer = texts(browser, "#front-answer")[0]
    assert "trained architectures" in answer
    assert "nas export" in answer
    assert len(texts(browser, "#front-chart .on-front")) >= front
    actions(browser).move_to_element(element(browser, "#front-reset")).click().perform()
    wait(browser, "return document.querySelector('#front-answer').hidden")
    assert texts(browser, "#front-chart .budget text")[0] == before


def test_a_budget_moves_by_keys_and_so_does_what_is_pointed_at(browser: Any, address: str) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, address)
    browser.execute_script("document.querySelector('#front-chart .budget').focus()")
    actions(browser).send_keys(Keys.ARROW_LEFT * 3).perform()
    wait(browser, "return !document.querySelector('#front-answer').hidden")
    assert "FLOPs ≤ 11." in texts(browser, "#front-answer")[0]
    browser.execute_script("document.querySelector('#front-chart .plot').focus()")
    actions(browser).send_keys(Keys.ARROW_RIGHT).send_keys(Keys.ENTER).perform()
    wait(browser, "return document.querySelector('#shortlist .differences') !== null")


def test_the_front_is_drawn_against_each_cost_and_zooms(browser: Any, address: str) -> None:
    show(browser, address)
    for value, words in (
        ("latency_ms", "p50 latency (ms)"),
        ("params", "parameters"),
        ("macs", "FLOPs (multiply-adds)"),
    ):
        browser.execute_script(
            "const s = document.querySelector('#front-axis'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('change'))", value
        )  # fmt: skip
        assert words in texts(browser, "#front-chart svg text")
        assert texts(browser, "#front-chart .on-front")
    area = element(browser, "#front-chart .area")
    ticks = texts(browser, "#front-chart .axis text")
    actions(browser).move_to_element_with_offset(area, -200, -100).click_and_hold().move_by_offset(
        150, 150
    ).release().perform()
    assert texts(browser, "#front-chart .axis text") != ticks
    actions(browser).double_click(element(browser, "#front-chart .area")).perform()
    assert texts(browser, "#front-chart .axis text") == ticks


def test_filters_and_brushes_hold_for_every_view(browser: Any, address: str) -> None:
    show(browser, address)
    everyone = len(realistic_trials())
    assert shown(browser) == everyone
    search = element(browser, "#filters input[type=search]")
    search.send_keys("out of memory")
    wait(browser, "return document.querySelector('#shown-count').textContent.startsWith('1 of')")
    assert texts(browser, "#trials-table .pick") == ["28"]
    search.clear()
    search.send_keys(" ")
    browser.execute_script(
        "const s = document.querySelector('#filters select'); s.value = 'gated'; s.dispatchEvent(new Event('change'))"
    )
    assert shown(browser) == 3
    browser.execute_script(
        "const s = document.querySelector('#filters select'); s.value = ''; s.dispatchEvent(new Event('change'))"
    )
    brush = element(browser, "#parallel .brush[data-axis=quality] .overlay")
    actions(browser).move_to_element_with_offset(brush, 0, -100).click_and_hold().move_by_offset(
        0, 80
    ).release().perform()
    wait(browser, f"return !document.querySelector('#shown-count').textContent.startsWith('{everyone} of')")
    kept = shown(browser)
    assert 0 < kept < everyone
    assert len(texts(browser, "#trials-table .pick")) == kept
    browser.execute_script(
        "[...document.querySelectorAll('#parallel .tool')].find(b => b.textContent.startsWith('Clear')).click()"
    )
    assert shown(browser) == everyone


def test_tables_sort_both_ways_with_the_unmeasured_last(browser: Any, address: str) -> None:
    show(browser, address)
    cells = "return [...document.querySelectorAll('#front table.front tbody tr')].map(r => r.cells[3].dataset.v)"
    button = "document.querySelectorAll('#front table.front th button')[3].click()"
    browser.execute_script(button)
    up = [int(v) for v in browser.execute_script(cells)]
    browser.execute_script(button)
    assert up == sorted(up)
    assert [int(v) for v in browser.execute_script(cells)] == up[::-1]
    find = "[...document.querySelectorAll('#trials-table th button')].find(b => b.textContent === 'Loss').click()"
    for _ in range(2):
        browser.execute_script(find)
        browser.execute_script("const f = document.querySelector('.virtual'); f.scrollTop = f.scrollHeight")
        time.sleep(0.2)
        column = texts(browser, "#trials-table thead th").index("Loss") + 1
        assert texts(browser, f"#trials-table tbody tr[data-trial] td:nth-child({column})")[-6:] == ["n/a"] * 6


def test_no_minute_has_sixty_seconds(browser: Any, tmp_path: Path) -> None:
    seconds = (9.97, 59.6, 119.7, 3599.8)
    trials = [replace(trial, seconds=s) for trial, s in zip(realistic_trials(), seconds, strict=False)]
    show(browser, write_report(record(tmp_path / "run", trials), tmp_path / "report.html").as_uri())
    told = {text.split("\n")[-1] for text in texts(browser, "#trials-table tbody td:nth-last-child(2)")}
    assert told == {"10 s", "1 min 0 s", "2 min 0 s", "1.00 h"}


def test_figures_come_as_csv(browser: Any, address: str, tmp_path: Path) -> None:
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    show(browser, address)
    browser.execute_script("document.querySelector('#trials-table .tool.push').nextElementSibling.click()")
    end = time.monotonic() + 20
    while not (found := list(tmp_path.glob("*trials-table.csv"))):
        assert time.monotonic() < end
        time.sleep(0.1)
    time.sleep(0.3)
    rows = list(csv.reader(found[0].read_text("utf-8-sig").splitlines()))
    assert rows[0][0] == "Trial"
    assert len(rows) >= 1 + len(realistic_trials())


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (360, False)])
def test_it_is_accessible(browser: Any, address: str, width: int, dark: bool) -> None:
    show(browser, address, width, dark)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    browser.execute_script("document.querySelector('.pick').click()")
    keep(browser, f"report-{width}-{'dark' if dark else 'light'}")
    assert violations(browser) == []


def test_the_theme_is_switched(browser: Any, address: str) -> None:
    show(browser, address)
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(paper)
    button = element(browser, "#theme")
    button.click()
    assert browser.execute_script(paper) == light
    button.click()
    assert browser.execute_script(paper) != light
    assert texts(browser, "#theme") == ["Theme: dark"]
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_overflows_sideways(browser: Any, address: str, width: int) -> None:
    show(browser, address, width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    browser.execute_script("document.querySelector('.pick').click()")
    wide, inner = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner == width
    spilled = browser.execute_script(
        "return [...document.querySelectorAll('main *')].filter("
        "e => !e.closest('.scroll, .virtual, .as-table, svg, canvas, pre, .skip')"
        " && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => "
        "e.outerHTML.slice(0, 200))"
    )
    assert spilled == []


def clipped_texts(browser: Any) -> list[str]:
    """What stands in charts beyond their edges."""
    return list(
        browser.execute_script("""
        return [...document.querySelectorAll(".plot > svg")].flatMap((svg) => {
          const outer = svg.getBoundingClientRect();
          return [...svg.querySelectorAll("text")].filter((text) => {
            const box = text.getBoundingClientRect();
            return box.width && !text.closest("[clip-path]") && (box.left < outer.left - 1
              || box.right > outer.right + 1 || box.top < outer.top - 1 || box.bottom > outer.bottom + 1);
          }).map((text) => `${svg.closest("figure").id}: ${text.textContent}`);
        })""")
    )


@pytest.mark.parametrize("width", [1280, 360])
def test_no_text_of_a_chart_is_clipped(browser: Any, address: str, width: int) -> None:
    show(browser, address, width)
    assert clipped_texts(browser) == []


def test_figures_that_hardly_differ_have_room_for_their_digits(browser: Any, tmp_path: Path) -> None:
    """Labels of six digits, and none of an epoch and a half."""
    scores = (0.734011, 0.734017, 0.734013, 0.734019)
    trials = [
        result(i, (op,) * 3, origin="uniform" if i else "baseline", score=score, loss=1 - score)
        for i, (op, score) in enumerate(zip(("add", "se", "aff", "iaff"), scores, strict=True))
    ]  # fmt: skip
    show(browser, write_report(record(tmp_path / "run", trials), tmp_path / "report.html").as_uri())
    assert clipped_texts(browser) == []
    labels = browser.execute_script(
        "return [...document.querySelectorAll('#best .axis, #curves .axis')].filter(g => g.getAttribute('transform')"
        ".startsWith('translate(0,')).flatMap(g => [...g.querySelectorAll('text')].map(t => t.textContent))"
    )
    assert labels
    assert all(label.isdigit() for label in labels)


def test_on_paper_nothing_is_cut_off(browser: Any, address: str) -> None:
    """A sheet of A4, upright: no chart is wider, none is scrolled."""
    show(browser, address, 700)  # what A4 has between its margins
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        wider = browser.execute_script("""
            return [...document.querySelectorAll("figure .plot, figure svg, figure canvas, section")].filter((one) => {
              const box = one.getBoundingClientRect();
              return box.width && box.right > document.documentElement.clientWidth + 1;
            }).map((one) => `${one.tagName} of ${(one.closest("[id]") || one).id}`)""")
        scrolled = browser.execute_script("""
            return [...document.querySelectorAll(".plot")].filter((one) => one.scrollWidth > one.clientWidth + 1)
              .map((one) => one.closest("figure").id)""")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert wider == []
    assert scrolled == []


SPARSE: dict[str, tuple[list[Any], list[Any]]] = {
    "nothing": ([], []),
    "one trial": ([result(0, ["add"] * 3, origin="baseline")], []),
    "only failed": ([result(0, ["add"] * 3, TrialState.FAILED, error=HOSTILE)], []),
    "only gated": ([result(0, ["iaff"] * 3, TrialState.GATED)], []),
    "only over budget": (realistic_trials(), [{"metric": "macs", "bound": 1.0, "relative": False}]),
    "all equal": (
        [result(i, (op,) * 3, origin="uniform" if i else "baseline", score=0.5, loss=1.0, macs=7, params=7,
                latency=False)
         for i, op in enumerate(("add", "se", "aff"))], [],
    ),
}  # fmt: skip
#: A right-to-left mark, an emoji, quotes and what would end a script.
NAME = "\u202eevil \U0001f980 \"'<!--" + HOSTILE.replace("/", "\u2215")


@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_runs_with_hostile_names_have_a_page_without_an_error(browser: Any, tmp_path: Path, kind: str) -> None:
    trials, budgets = SPARSE[kind]
    view = record(tmp_path / NAME, trials, budgets)
    browser.get("about:blank")
    requests(browser)
    page = write_report(view, tmp_path / "report.html").as_uri()
    show(browser, page, 390)
    assert browser.get_log("browser") == []
    assert requests(browser) == [page]
    assert "\U0001f980" in texts(browser, "h1")[0]
    assert texts(browser, ".headline")[0]
    keep(browser, f"sparse-{kind.replace(' ', '-')}")


def test_names_that_would_run_are_text_everywhere(browser: Any, tmp_path: Path) -> None:
    """Of points, space, data, classes and hosts, beside a record that cannot be read; on the index and compared too."""
    points = (f"layer1.{HOSTILE}", "layer\u202e2.\"'`${alert(1)}", "layer3.\U0001f980<!--")
    told = description(points)
    told["space"]["name"] = told["data"]["name"] = HOSTILE
    told["data"]["classes"] = [HOSTILE, "'\"", "\u202e"]
    trials = [
        replace(result(i, (op,) * 3, points=points, origin="uniform" if i else "baseline"),
                environment={"host": HOSTILE, "process": 1, "device": HOSTILE})
        for i, op in enumerate(("add", "se", "aff", "iaff"))
    ]  # fmt: skip
    for name in (NAME, "other"):
        record(tmp_path / "runs" / name, trials, description=told)
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "study.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    pages = [
        write_index(tmp_path / "runs"), tmp_path / "runs" / NAME / "report.html",
        write_comparison(compared([tmp_path / "runs" / NAME, tmp_path / "runs" / "other"]), tmp_path / "compared.html"),
    ]  # fmt: skip
    browser.get("about:blank")
    requests(browser)
    for page in pages:
        browser.get(page.as_uri())
        if page.name == "report.html":
            show(browser, page.as_uri(), 390)
            browser.execute_script("document.querySelectorAll('.tool.push, .pick').forEach(b => b.click())")
            assert f"layer1.{HOSTILE}" in texts(browser, "#effects-chart th")
        assert browser.get_log("browser") == [], page
        assert {url for url in requests(browser) if not url.startswith("file:")} == set()
        assert violations(browser) == [], page
    browser.get(pages[0].as_uri())
    assert "cannot be read" in texts(browser, "body")[0]


def test_what_axe_is_asked_it_would_find(browser: Any, address: str) -> None:
    """A page without a fault says nothing where the tool that looks for faults does not work."""
    show(browser, address)
    browser.execute_script("const i = document.createElement('img'); i.src = 'data:,'; document.body.append(i)")
    browser.execute_script(AXE.read_text("utf-8") + ";window.axe = axe;")
    found = browser.execute_async_script(
        "axe.run(document).then(r => arguments[arguments.length - 1](r.violations.map(v => v.id)))"
    )
    assert "image-alt" in found


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_ten_thousand_trials_are_small_and_drawn_at_once(browser: Any, tmp_path: Path) -> None:
    from synthetic_run import write

    view = RunView.load(write(tmp_path / "run", 10_000)).estimated()
    path = write_report(view, tmp_path / "report.html")
    assert path.stat().st_size < 4e6
    times = []
    for _ in range(3):
        show(browser, path.as_uri())
        times.append(times_ms(browser))
    assert min(painted for painted, _ in times) < 1000
    assert min(drawn for _, drawn in times) < 2000
    assert shown(browser) == 10_000
    browser.execute_script("document.querySelector('.virtual').scrollTop = 1e6")
    wait(browser, "return document.querySelector('#trials-table tr[data-trial=\"9999\"]') !== null")
    assert len(texts(browser, "#trials-table tbody tr")) < 60
    search = element(browser, "#filters input[type=search]")
    search.send_keys("diverged")
    wait(browser, "return document.querySelector('#shown-count').textContent.startsWith('418 of')")
    assert browser.get_log("browser") == []
    keep(browser, "ten-thousand")
