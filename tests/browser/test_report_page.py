"""The HTML report in a real browser: no script, no request, in light and in dark."""

from __future__ import annotations

import re
import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import sync_playwright

from robustcert.formats.registry import FORMATS
from tests.golden.handmade import hostile_report, large_report, unreliable_report

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1100, "height": 900}
REPORTS = {
    "large": large_report,
    "unreliable": unreliable_report,
    "hostile": hostile_report,
}


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    arguments = ["--no-sandbox", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and keeps a list of what was asked for."""

    asked: list[str]

    def log_message(self, *_):
        self.asked.append(self.path)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Address of a server with the reports, and the list of its requests."""
    folder = tmp_path_factory.mktemp("pages")
    for name, report in REPORTS.items():
        page = FORMATS["html"].write(report())
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    asked = []
    handler = type("Handler", (Quiet,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


class Visit:
    """One page in a context of its own, and all that it said and asked for."""

    def __init__(self, browser, address, name, scheme="light", viewport=DESK):
        self.context = browser.new_context(color_scheme=scheme, viewport=viewport)
        self.page = self.context.new_page()
        self.said, self.requests = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(f"{address}/{name}.html")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def style(self, selector, name):
        script = "(e, name) => getComputedStyle(e).getPropertyValue(name)"
        return self.page.locator(selector).first.evaluate(script, name)


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_asks_for_nothing_but_itself_and_says_nothing(browser, served, name):
    address, asked = served
    asked.clear()
    with Visit(browser, address, name) as visit:
        assert visit.said == []
        assert visit.requests == [f"{address}/{name}.html"]
    assert asked == [f"/{name}.html"]


def test_a_hostile_model_runs_no_script_and_shows_its_names_as_text(browser, served):
    with Visit(browser, served[0], "hostile") as visit:
        assert visit.page.locator("script, img, iframe, object, form, a").count() == 0
        assert "<script>alert('x')</script>" in visit.page.inner_text("main")
        assert visit.said == []


@pytest.mark.parametrize(("viewport", "shown"), [(DESK, "wide"), (PHONE, "narrow")])
def test_each_chart_is_drawn_once_at_a_size_that_fits(browser, served, viewport, shown):
    with Visit(browser, served[0], "large", viewport=viewport) as visit:
        charts = visit.page.locator("figure svg:visible")
        assert charts.count() == 3
        for chart in charts.all():
            box = chart.bounding_box()
            assert box["width"] > 280
            assert box["height"] > 100
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= viewport["width"]
            assert chart.locator("xpath=..").get_attribute("class") == shown


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_no_page_scrolls_sideways(browser, served, name, viewport):
    with Visit(browser, served[0], name, viewport=viewport) as visit:
        wide = visit.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= viewport["width"]


def luminance(colour):
    """Relative luminance of ``rgb(r, g, b)`` (WCAG 2.2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_text_and_charts_follow_the_colour_scheme_with_enough_contrast(
    browser, served, scheme, dark
):
    with Visit(browser, served[0], "unreliable", scheme) as visit:
        paper = visit.style("body", "background-color")
        assert (luminance(paper) < 0.5) is dark
        for selector in ("h1", ".lede", "caption", "figcaption", "dt", "td.lower"):
            assert contrast(visit.style(selector, "color"), paper) >= 4.5, selector
        for level in ("error", "warning"):
            ground = visit.style(f".finding.{level}", "background-color")
            for part in (".level", ".remedy"):
                ink = visit.style(f".finding.{level} {part}", "color")
                assert contrast(ink, ground) >= 4.5, (level, part)
        for text in visit.page.locator("figure svg:visible text").all()[:40]:
            ink = text.evaluate("e => getComputedStyle(e).fill")
            assert contrast(ink, paper) >= 4.5, text.text_content()


def test_folded_parts_open_with_the_keyboard(browser, served):
    with Visit(browser, served[0], "large") as visit:
        samples = visit.page.locator("details", has_text="What is known about each")
        table = samples.locator("table")
        assert not table.is_visible()
        samples.locator("summary").focus()
        visit.page.keyboard.press("Enter")
        assert table.is_visible()
        assert table.locator("tbody tr").count() == 400


def test_a_printed_page_is_dark_on_light_whatever_the_screen(browser, served):
    with Visit(browser, served[0], "large", "dark") as visit:
        visit.page.emulate_media(media="print", color_scheme="dark")
        assert luminance(visit.style("body", "background-color")) == 1.0
        assert luminance(visit.style("h1", "color")) == 0.0
        assert visit.page.pdf(format="A4").startswith(b"%PDF")
