"""The page in a real browser: no request, no error, and what is clicked answers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reports_records import explained, realistic_trials, record

from reports.page import write_report

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason=f"needs {CHROMIUM} and {DRIVER}"),
]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-prefers-reduced-motion",
)  # fmt: skip


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def address(tmp_path: Path) -> str:
    """A page with everything on it: the realistic run, an ablation and attention weights."""
    return write_report(explained(record(tmp_path / "run", realistic_trials())), tmp_path / "report.html").as_uri()


def show(browser: Any, address: str, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(address)
    wait(browser, "return document.querySelectorAll('#curves .main-svg').length > 0")


def wait(browser: Any, script: str, seconds: float = 20) -> None:
    """Until the script answers with something true; fails when it never does."""
    end = time.monotonic() + seconds
    while not browser.execute_script(script):
        assert time.monotonic() < end, script
        time.sleep(0.05)


def requests(browser: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith(("data:", "blob:"))]


def test_the_page_makes_no_request_and_no_error(browser: Any, address: str) -> None:
    browser.get("about:blank")
    requests(browser)  # those of the browser's own first tab
    show(browser, address, 1280)
    assert requests(browser) == [address]
    assert browser.get_log("browser") == []


def test_the_plots_are_drawn(browser: Any, address: str) -> None:
    show(browser, address, 1280)
    for figure, marks in (("pareto-macs", 24), ("pareto-latency_ms", 24), ("curves", 5)):
        drawn = browser.execute_script(
            "return [document.querySelectorAll(`#${arguments[0]} .trace.scatter`).length,"
            " document.querySelectorAll(`#${arguments[0]} .point`).length]", figure
        )  # fmt: skip
        assert drawn[0] >= 4
        assert drawn[1] >= marks
    assert browser.execute_script("return document.querySelectorAll('#pareto-macs .shapelayer path').length") == 1


def test_ablation_and_attention_are_drawn(browser: Any, address: str) -> None:
    show(browser, address, 1280)
    wait(browser, "return document.querySelectorAll('#ablation-1 .main-svg').length > 0")
    count = "return document.querySelectorAll(arguments[0]).length"
    assert browser.execute_script(count, "#ablation-1 .scatterlayer .point") == 3
    assert browser.execute_script(count, "#ablation-1 .errorbar") == 3
    assert browser.execute_script(count, "#ablation-1 .barlayer .point") == 3
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('#attention path')].map(p => p.getBoundingClientRect().toJSON())"
    )
    assert len(boxes) == 2
    assert all(box["width"] > 100 and box["height"] > 40 for box in boxes)


def test_headers_sort_both_ways_with_the_unmeasured_last(browser: Any, address: str) -> None:
    show(browser, address, 1280)
    cells = "return [...document.querySelectorAll('table.{} tbody tr')].map(r => r.cells[{}].dataset.v)"
    button = "document.querySelectorAll('table.{} th button')[{}].click()"
    browser.execute_script(button.format("front", 3))
    up = [int(v) for v in browser.execute_script(cells.format("front", 3))]
    browser.execute_script(button.format("front", 3))
    down = [int(v) for v in browser.execute_script(cells.format("front", 3))]
    assert up == sorted(up)
    assert down == up[::-1]
    for _ in range(2):
        browser.execute_script("document.querySelectorAll('table.all th button')[3].click()")
        assert browser.execute_script(cells.format("all", 4))[-6:] == [""] * 6


@pytest.mark.parametrize("kind", ["front", "infeasible", "gated"])
def test_a_click_on_a_mark_shows_its_row(browser: Any, address: str, kind: str) -> None:
    from selenium.webdriver import ActionChains

    show(browser, address, 1280)
    find = "const p = document.getElementById('pareto-macs'); const i = p.data.findIndex(t => t.meta === arguments[0]);"
    number = browser.execute_script(find + "return p.data[i].customdata.at(-1)", kind)
    mark = browser.execute_script(
        find + "const t = [...p.querySelectorAll('.trace.scatter')].find(g => g.__data__[0].trace.index === i);"
        "const m = [...t.querySelectorAll('.point')].at(-1); m.scrollIntoView({block: 'center'}); return m", kind
    )  # fmt: skip
    ActionChains(browser).move_to_element(mark).pause(0.3).click().perform()
    wait(browser, "return document.querySelector('tr.chosen') !== null")
    chosen = browser.execute_script("return [...document.querySelectorAll('tr.chosen')].map(r => r.id)")
    assert chosen in ([f"front-{number}"], [f"trial-{number}"])
    box = browser.execute_script(
        "const b = document.querySelector('tr.chosen').getBoundingClientRect(); return [b.top, b.bottom, innerHeight]"
    )
    assert 0 <= box[0] < box[1] <= box[2]


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_overflows_sideways(browser: Any, address: str, width: int) -> None:
    show(browser, address, width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    wide, inner = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner == width
    spilled = browser.execute_script(
        "return [...document.querySelectorAll('main *')].filter("
        "e => !e.closest('.scroll, svg, pre, .js-plotly-plot')"
        " && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML)"
    )
    assert spilled == []


def test_no_text_of_a_plot_is_clipped(browser: Any, address: str) -> None:
    for width in (1280, 390):
        show(browser, address, width)
        clipped = browser.execute_script("""
            return [...document.querySelectorAll(".plot")].flatMap((plot) => {
              const outer = plot.getBoundingClientRect();
              return [...plot.querySelectorAll("text")].filter((text) => {
                const box = text.getBoundingClientRect();
                return box.width && (box.left < outer.left - 1 || box.right > outer.right + 1
                  || box.top < outer.top - 1 || box.bottom > outer.bottom + 1);
              }).map((text) => text.textContent);
            })""")
        assert clipped == [], width
