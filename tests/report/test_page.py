"""The HTML report in a real browser: headless Chromium from the system's packages, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploycompress.records.report import Report
from deploycompress.report import html

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

# Nothing of the browser's own may reach out either: what is recorded below is the page's doing.
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


class Opened:
    """A page with everything it complained about and asked for."""

    def __init__(self, page: sync_api.Page, path: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sync_api.BrowserContext]:
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")), executable_path=CHROMIUM, args=QUIET, reduced_motion="reduce"
        )
        yield context
        context.close()


@pytest.fixture
def opened(browser: sync_api.BrowserContext, swept: Report, tmp_path: Path) -> Iterator[Opened]:
    path = tmp_path / "report.html"
    path.write_text(html.render(swept), encoding="utf-8")
    page = browser.new_page()
    yield Opened(page, path)
    page.close()


def test_page_asks_for_nothing_and_complains_about_nothing(opened: Opened) -> None:
    page = opened.page
    for button in page.locator("thead button").all():
        button.dispatch_event("click")
    page.locator("#theme").click()
    assert opened.complaints == []
    assert len(opened.requests) == 1
    assert opened.requests[0].startswith("file:")


def test_charts_are_drawn(opened: Opened) -> None:
    page = opened.page
    assert page.locator(".plot .point circle").count() == 3  # the models that have both figures
    assert page.locator(".plot .front").count() == 1
    for bar in page.locator(".fall .bar, .bars .bar, .strip i").all():
        box = bar.bounding_box()
        assert box is not None
        assert box["width"] >= 1
        assert box["height"] >= 1
    tall, short = (page.locator(".strip").first.locator("i").nth(index).bounding_box() for index in (0, 1))
    assert tall is not None
    assert short is not None
    # 150 and 20 microseconds, drawn to the pixel.
    assert short["height"] / tall["height"] == pytest.approx(20 / 150, abs=0.02)


def test_pointing_at_a_model_shows_its_figures(opened: Opened) -> None:
    page = opened.page
    tip = page.locator("#tip")
    assert tip.is_hidden()
    page.locator(".plot .point circle").nth(2).hover()
    assert tip.inner_text() == "student-int8: 97.8 % (95.7 to 98.9), 0.214 ms (0.208 to 0.218)"
    box, screen = tip.bounding_box(), page.viewport_size
    assert box is not None
    assert screen is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= screen["width"]
    page.mouse.move(1, 1)
    assert tip.is_hidden()
    page.locator(".strip > span").nth(2).hover()
    assert "its weight is stored as float" in tip.inner_text()


def test_keyboard_alone_reaches_points_layers_and_sorting(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator(".plot .point").first.focus()
    assert page.locator("#tip").inner_text().startswith("teacher: 98.6 %")
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    page.locator(".strip").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#tip").inner_text().startswith("dequantize · DequantizeLinear")
    page.keyboard.press("End")
    assert page.locator("#tip").inner_text().startswith("fc · MatMul")
    page.locator("#results thead button").nth(3).focus()
    page.keyboard.press("Enter")
    assert page.locator("#results thead th").nth(3).get_attribute("aria-sort") == "ascending"


def test_columns_sort_by_value_both_ways_and_absent_figures_come_last(opened: Opened) -> None:
    page = opened.page

    def names() -> list[str]:
        return page.locator("#results tbody th").all_inner_texts()

    size, median = page.locator("#results thead button").nth(3), page.locator("#results thead button").nth(4)
    size.click()
    assert names()[:2] == ["student-int8", "student"]
    size.click()
    assert names()[-1] == "student-int8"
    median.click()
    assert names() == ["student-int8", "student", "teacher", "copy", "gpu"]
    median.click()
    assert names() == ["copy", "teacher", "student", "student-int8", "gpu"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(opened: Opened, scheme: str) -> None:
    page = opened.page
    page.emulate_media(color_scheme=scheme)
    contrasts = page.evaluate(CONTRAST)
    # WCAG 2.2, success criterion 1.4.3: 4.5 for text.
    assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}
    assert len(contrasts) > 20


def test_theme_button_turns_the_page_over_and_back(opened: Opened) -> None:
    page = opened.page
    page.emulate_media(color_scheme="light")
    background = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
    light = background()
    page.locator("#theme").click()
    assert background() != light
    page.locator("#theme").click()
    assert background() == light


def test_nothing_sticks_out_of_a_narrow_screen(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 380, "height": 800})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 380


# Contrast of every element that holds text with the nearest background behind it, by tag and class.
CONTRAST = """() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const found = {};
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility() || element.closest("svg")) continue;
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
    let behind = element, colour;
    do {
      colour = channels(getComputedStyle(behind).backgroundColor);
      behind = behind.parentElement;
    } while (behind && colour[3] === 0);
    const [a, b] = [luminance(channels(getComputedStyle(element).color)), luminance(colour)].sort((x, y) => y - x);
    const name = `${element.parentElement.className}>${element.tagName}.${element.className}`;
    found[name] = Math.min(found[name] ?? 99, (a + 0.05) / (b + 0.05));
  }
  return found;
}"""
