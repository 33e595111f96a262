"""The page of a comparison: self-contained, escaped, its pictures as its figures are; and in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_tables import invented

from nas.bench.arena.compare import Comparison, Result, Setting, compare, comparison_of
from nas.bench.arena.estimates import Reached
from nas.bench.arena.page import COLUMNS, render, write_page
from nas.bench.arena.pictures import _cliques, image_curves, rank_picture, time_curves
from nas.bench.arena.worlds import table_world
from nas.bench.errors import BenchError
from nas.bench.table import Table

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
SETTINGS = (Setting(1.05, 8, 1), Setting(None, 8, 4))


@pytest.fixture(scope="module")
def found() -> Result:
    comparison = Comparison(("random-loss", "local-search", "halving"), SETTINGS, 3, truths=("scratch-18",))
    return compare(Table(invented(leave_out=14)), comparison, 1, lambda done, total: None)


def test_the_page_needs_nothing_beside_it(found: Result) -> None:
    page = render(found)
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "<script" not in page
    for setting in SETTINGS:
        assert setting.name.replace("≤", "≤") in page
    assert page.count('<svg viewBox="0 0 860') == len(SETTINGS)
    assert "Of 64 architectures 50 were trained to scratch-18; what" in page
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    assert len(rows) == len(SETTINGS) * (1 + 3)
    assert all(len(re.findall(r"<t[dh]\b", row)) == len(COLUMNS) for row in rows)


def test_names_cannot_leave_their_place(found: Result) -> None:
    evil = '<img src=x onerror=alert(1)>:X"'
    comparison = replace(found.comparison, methods=(evil, *found.comparison.methods[1:]))
    (one,) = found.truths
    lines = tuple(replace(line, method=evil) if line.method == "random-loss" else line for line in one.lines)
    truths = (replace(one, lines=lines, truth=evil),)
    page = render(replace(found, comparison=comparison, truths=truths, table={**found.table, "name": evil}))
    assert "<img" not in page
    assert page.count("&lt;img src=x") >= 8


def test_ranks_are_where_they_should_be(found: Result) -> None:
    lines = [
        replace(found.truths[0].lines[0], method=name, rank=rank) for name, rank in (("a", 1.0), ("b", 2.0), ("c", 3.0))
    ]
    picture = rank_picture(lines, 1.5)
    assert picture.count('class="clique"') == 2, "a with b, b with c"
    assert _cliques([1.0, 1.2, 2.9], 0.5) == [(0, 1)]
    assert _cliques([1.0, 2.0, 3.0], 5.0) == [(0, 2)]
    assert _cliques([1.0, 2.0], 0.5) == []


def test_curves_end_where_the_volume_is(found: Result) -> None:
    lines = [line for line in found.truths[0].lines if line.setting == SETTINGS[0]]
    for line in lines:
        assert line.by_images[-1].value == pytest.approx(line.volume.value)
        assert f"{line.method}: {line.volume.value:.3f}" in image_curves(lines)
        assert sum(point.value for point in line.by_time) / len(line.by_time) == pytest.approx(line.against_time.value)
    assert time_curves(lines).count('class="curve"') == 3
    alone, beside = (next(line for line in found.truths[0].lines if line.setting == setting) for setting in SETTINGS)
    assert beside.seconds == pytest.approx(alone.seconds / 4)


def test_what_there_is_to_find_is_said(found: Result) -> None:
    there = found.truths[0].prospects[1]
    assert there.setting == SETTINGS[1]
    world = table_world(Table(invented(leave_out=14)))
    gains = [100 * (world.true_accuracy(a) - world.true_accuracy(world.space.baseline)) for a in world.architectures]
    assert there.best == pytest.approx(max(gains)), "no budget keeps it away"
    assert there.best > 2.0, "three times cbam are worth 2.4, which the table lacks: the model draws them back"
    assert there.drawn == pytest.approx(3 * 0.35, abs=0.2)
    assert min(there.by_accuracy, there.by_loss) > 0.5
    assert there.drawn < there.liked_by_accuracy < there.best
    assert there.drawn < there.liked_by_loss < there.best
    assert f"on average, the best {there.best:+.2f}" in render(found)


def test_when_the_ordinary_set_up_is_reached_stands_in_the_table(found: Result) -> None:
    assert all(line.ordinary is None for line in found.truths[0].lines), "it is not among these methods"
    lines = tuple(replace(line, ordinary=Reached(0.41, 0.33, None)) for line in found.truths[0].lines)
    page = render(replace(found, truths=(replace(found.truths[0], lines=lines),)))
    assert '<td class="n">41%<small>33% to never</small></td>' in page


def test_who_takes_too_long_plays_short_searches_alone() -> None:
    settings = (Setting(None, 4, 1), Setting(None, 8, 1))
    comparison = Comparison(("random-loss", "local-search", "halving"), settings, 3, most_looks={"halving": 4})
    found = compare(Table(invented(leave_out=14)), comparison, 1, lambda done, total: None)
    for one in found.truths:
        assert [len([line for line in one.lines if line.setting == setting]) for setting in settings] == [3, 2]
        assert sum(line.rank for line in one.lines if line.setting == settings[1]) == pytest.approx(3.0)
    assert found.comparison.critical(settings[1]) < found.comparison.critical(settings[0])
    assert "of searches of at most 4 looks" in render(found)
    assert comparison_of(False).most_looks.get("gp") == 16
    assert comparison_of(False, ["gp", "halving"]).most_looks == {}, "who is named plays all"


def test_the_same_searches_are_judged_by_each_truth() -> None:
    """Searched once: planted worlds and what was spent are the same by both; gains and volumes are each truth's own."""
    table = Table(invented(leave_out=14))
    both = compare(table, Comparison(("random-loss", "local-search"), SETTINGS, 3), 1, lambda done, total: None)
    assert [one.truth for one in both.truths] == ["scratch-18", "inherit-9"]
    first, second = both.truths
    for one, other in zip(first.lines, second.lines, strict=True):
        assert (one.null, one.known, one.wasted, one.images) == (other.null, other.known, other.wasted, other.images)
        assert one.gain != other.gain
    alone = compare(table, replace(both.comparison, truths=("scratch-18",)), 1, lambda done, total: None)
    assert [replace(line, own_seconds=0.0) for line in alone.truths[0].lines] == [
        replace(line, own_seconds=0.0) for line in first.lines
    ]
    page = render(both)
    assert page.count("judged by inherit-9") == page.count("judged by scratch-18") == len(SETTINGS)
    with pytest.raises(BenchError, match="fidelity 'scratch-99': this world has"):
        compare(table, replace(both.comparison, truths=("scratch-99",)), 1, lambda done, total: None)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.mark.browser
@pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason=f"needs {CHROMIUM} and {DRIVER}")
@pytest.mark.parametrize("width", [400, 1280])
def test_it_is_read_on_a_telephone_and_in_the_dark(found: Result, browser: Any, tmp_path: Path, width: int) -> None:
    write_page(found, tmp_path / "compare.html")
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    colours = []
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get((tmp_path / "compare.html").as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
        colours.append(browser.execute_script("return getComputedStyle(document.querySelector('svg text')).fill"))
        cut = """return [...document.querySelectorAll('figure svg')].flatMap(svg => [...svg.querySelectorAll('text')]
          .filter(text => { const [a, b] = [text.getBBox(), svg.viewBox.baseVal];
            return a.x < 0 || a.y < 0 || a.x + a.width > b.width || a.y + a.height > b.height + 4; })
          .map(text => text.textContent))"""
        assert browser.execute_script(cut) == [], "no text is cut off"
        across = "return new Set([...document.querySelectorAll('.plots')[0].children].map(f => f.offsetLeft)).size"
        assert browser.execute_script(across) == (2 if width > 1000 else 1), (
            "curves beside each other, where there is room"
        )
    assert colours[0] != colours[1]
    assert browser.get_log("browser") == []
