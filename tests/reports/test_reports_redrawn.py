"""What is drawn anew says what holds now, and leaves whoever reads it where they were. In a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports_browser import MARKS, actions, element, show, texts, wait
from reports_records import realistic_trials, record

from reports.page import write_report

pytestmark = MARKS
OPEN = "document.querySelector(`#${arguments[0]} .tool.push`).click()"


def table(browser: Any, key: str) -> list[list[str]]:
    rows: list[list[str]] = browser.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} .as-table tr`)].map(r => [...r.cells].map(c => "
        "c.textContent))", key
    )  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def half_timed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the run with a budget of latency, every other trial was not timed."""
    folder = tmp_path_factory.mktemp("half")
    trials = [t if t.number % 2 == 0 else replace(t, latency=None) for t in realistic_trials()]
    budgets = [
        {"metric": "macs", "bound": 1.08, "relative": True}, {"metric": "latency_ms", "bound": 5.0, "relative": False},
    ]  # fmt: skip
    return write_report(record(folder / "run", trials, budgets), folder / "report.html").as_uri()


def test_what_was_not_known_is_not_known_under_another_budget(browser: Any, half_timed: str) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, half_timed)
    browser.execute_script(OPEN, "front-chart")
    place = table(browser, "front-chart")[0].index("budgets")
    asked = [row[place] for row in table(browser, "front-chart")[1:]]
    assert asked.count("not known") > 3
    assert browser.execute_script("return document.querySelectorAll('#front-chart svg .unpriced').length") > 0
    assert browser.execute_script("return document.querySelectorAll('#front-chart svg .infeasible').length") > 0
    legend = texts(browser, "#front-chart .legend li")
    assert "trained, not known whether within budget" in legend
    browser.execute_script("document.querySelector('#front-chart .budget').focus()")
    actions(browser).send_keys(Keys.END).perform()  # no budget of FLOPs
    wait(browser, "return !document.querySelector('#front-answer').hidden")
    moved = {row[0]: row[place] for row in table(browser, "front-chart")[1:]}
    assert {number for number, said in moved.items() if int(number) % 2} == {
        number for number, said in moved.items() if said == "not known"
    }
    assert "Of " in texts(browser, "#front-answer")[0]
    assert "it is not known" in texts(browser, "#front-answer")[0]


def test_an_open_table_follows_its_chart(browser: Any, address: str) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, address)
    browser.execute_script(OPEN, "front-chart")
    before = table(browser, "front-chart")
    browser.execute_script("document.querySelector('#front-chart .budget').focus()")
    actions(browser).send_keys(Keys.END).perform()
    within = before[0].index("budgets")
    assert "outside" in {row[within] for row in before}
    assert "outside" not in {row[within] for row in table(browser, "front-chart")}
    change = "s.dispatchEvent(new Event('change'))"
    browser.execute_script(f"const s = document.querySelector('#front-axis'); s.value = 'params'; {change}")
    assert "params" in table(browser, "front-chart")[0]
    element(browser, "#filters input[type=search]").send_keys("uniform")
    wait(browser, "return document.querySelector('#shown-count').textContent.startsWith('5 of')")
    assert len(table(browser, "front-chart")) == 6
    browser.execute_script(OPEN, "network-chart")
    first = table(browser, "network-chart")
    script = f"const s = document.querySelector('#network-trial'); s.selectedIndex = 1; {change}"
    browser.execute_script(script)
    second = table(browser, "network-chart")
    assert first[0] != second[0]
    assert second[0][6].startswith("trial ")
    browser.execute_script(OPEN, "volume")
    assert table(browser, "volume")[0] == ["trainings", "worker hours", "hours", "hypervolume"]


def test_a_drag_of_a_few_pixels_zooms_to_nothing(browser: Any, address: str) -> None:
    show(browser, address)
    area, ticks = element(browser, "#front-chart .area"), texts(browser, "#front-chart .axis text")
    for across, up in ((9, 0), (0, 8), (7, 7)):
        start = actions(browser).move_to_element_with_offset(area, -200, -100).click_and_hold()
        start.move_by_offset(across, up).release().perform()
        assert texts(browser, "#front-chart .axis text") == ticks
        assert texts(browser, "#front-chart .zoom") == []
    actions(browser).move_to_element_with_offset(area, -200, -100).click_and_hold().move_by_offset(
        150, 3
    ).release().perform()
    across, up = (texts(browser, f"#front-chart .axis:nth-of-type({n}) text") for n in (2, 3))
    assert (across + up) != ticks
    assert ticks[-len(up) :] == up, "nothing was drawn upwards: all of it stays"


def test_the_keyboard_stays_where_it_was(browser: Any, address: str) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, address)
    held = "return [document.activeElement.textContent, document.activeElement.className]"
    pick = element(browser, "#trials-table tbody .pick")
    number = pick.text
    pick.send_keys(Keys.ENTER)
    wait(browser, "return document.querySelector('#shortlist .chip') !== null")
    assert browser.execute_script(held) == [number, "pick"]
    browser.execute_script("document.querySelectorAll('#trials-table .pick')[2].click()")
    browser.execute_script("document.querySelector('#shortlist .chip').focus()")
    actions(browser).send_keys(Keys.ENTER).perform()
    assert browser.execute_script("return document.activeElement.className") == "chip"
    actions(browser).send_keys(Keys.ENTER).perform()
    assert browser.execute_script("return document.activeElement.closest('#shortlist') !== null")
    brush = "document.querySelector('#parallel .brush[data-axis=macs]')"
    browser.execute_script(f"{brush}.focus()")
    actions(browser).send_keys(Keys.ARROW_UP).perform()
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 900, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    wait(browser, "return document.querySelector('#parallel svg').clientWidth < 900")
    assert browser.execute_script(f"return document.activeElement === {brush}")


def test_what_misses_a_demand_is_below_it(browser: Any, tmp_path: Path) -> None:
    asked = {"metric": "accuracy", "bound": 0.88, "relative": False, "at_least": True}
    view = record(tmp_path / "run", realistic_trials(), [asked, {"metric": "macs", "bound": 1.08, "relative": True}])
    show(browser, write_report(view, tmp_path / "report.html").as_uri())
    place = texts(browser, "#trials-table thead th").index("Remarks") + 1
    said = set(texts(browser, f"#trials-table tbody tr[data-trial] td:nth-child({place})"))
    assert {"accuracy below what is asked", "FLOPs over budget"} <= said
    assert not any("over accuracy" in one for one in said)
