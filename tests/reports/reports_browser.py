"""A real browser for tests of pages: started, shown a page, asked what stands on it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
AXE = Path(__file__).parent / "lib" / "axe.min.js"
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
#: Of every test in a browser.
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason=f"needs {CHROMIUM} and {DRIVER}"),
]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-prefers-reduced-motion",
)  # fmt: skip


@contextmanager
def started(profile: Path) -> Iterator[Any]:
    """A headless Chromium that asks nobody anything, with a new profile."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_script_timeout(120)
    try:
        yield driver
    finally:
        driver.quit()


def show(browser: Any, address: str, width: int = 1280, dark: bool = False) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme})
    browser.get(address)
    wait(browser, "return document.documentElement.dataset.drawn === '1'")


def wait(browser: Any, script: str, seconds: float = 20) -> None:
    """Until the script answers with something true; fails when it never does."""
    end = time.monotonic() + seconds
    while not browser.execute_script(script):
        assert time.monotonic() < end, script
        time.sleep(0.05)


def times_ms(browser: Any) -> tuple[float, float]:
    """First paint, and everything drawn, in milliseconds since the navigation began."""
    wait(browser, "return performance.getEntriesByName('first-contentful-paint').length > 0")
    painted, drawn = (
        float(browser.execute_script("return performance.getEntriesByName(arguments[0])[0].startTime", name))
        for name in ("first-contentful-paint", "all-drawn")
    )
    return painted, drawn


def keep(browser: Any, name: str) -> None:
    """The whole page as a picture, to be looked at: build/screenshots of the checkout."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    width, height = browser.execute_script("return [innerWidth, document.documentElement.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, 12_000), "scale": 1}
    options = {"captureBeyondViewport": True, "clip": clip}
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
    (PICTURES / f"{name}.png").write_bytes(base64.b64decode(picture))


def requests(browser: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith(("data:", "blob:"))]


def texts(browser: Any, selector: str) -> list[str]:
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.trim())", selector
    )
    return found


def element(browser: Any, selector: str) -> Any:
    found = browser.execute_script("return document.querySelector(arguments[0])", selector)
    assert found is not None, selector
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
    return found


def shown(browser: Any) -> int:
    return int(texts(browser, "#shown-count")[0].split(" of ")[0].replace(",", ""))


def actions(browser: Any) -> Any:
    from selenium.webdriver import ActionChains

    return ActionChains(browser)


def violations(browser: Any) -> list[list[Any]]:
    """What axe-core holds against the page as it stands that is serious or worse: how bad, which rule, where."""
    browser.execute_script(AXE.read_text("utf-8") + ";window.axe = axe;")
    found = browser.execute_async_script(
        "const done = arguments[arguments.length - 1]; axe.run(document, {resultTypes: ['violations']})"
        ".then(r => done(r.violations.map(v => [v.impact, v.id, v.nodes.slice(0, 4).map(n => n.html.slice(0, 200))])))"
    )
    return [one for one in found if one[0] in ("serious", "critical")]
