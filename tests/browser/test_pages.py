"""The pages in a real browser: submit, watch, read; without a console error."""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from robustcert.client import Client
from robustcert.models.builtin import MODELS
from tests.service.fixtures import sample_file, submit
from tests.service.harness import ServiceProcess

pytestmark = pytest.mark.browser

MODEL = MODELS["fashion-mnist-demo"].read()
PHONE = {"width": 360, "height": 780}
DESK = {"width": 1200, "height": 900}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    running = ServiceProcess(tmp_path_factory.mktemp("pages") / "data").start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()


@pytest.fixture
def page(service, browser: Browser):
    context = browser.new_context(base_url=service.url, viewport=DESK)
    shown = context.new_page()
    said: list[str] = []
    shown.on(
        "console",
        lambda message: said.append(f"{message.text} {message.location['url']}"),
    )
    shown.on("pageerror", lambda error: said.append(f"error {error}"))
    yield shown
    context.close()
    # The browser itself notes the two answers that tests ask for.
    noted = ("status of 422 (Unprocessable", "/evaluations/nothing")
    assert [line for line in said if not any(map(line.__contains__, noted))] == []


@pytest.fixture
def client(service):
    with Client(service.url, patience=5.0) as one:
        yield one


def choose_model(page: Page) -> None:
    file = {"name": "net.pt", "mimeType": "application/octet-stream", "buffer": MODEL}
    page.get_by_label("Model").set_input_files(file)


def test_a_visitor_evaluates_a_model_and_reads_what_was_found(page):
    page.goto("/")
    choose_model(page)
    page.get_by_label("Epsilons").fill("0.1, 0.02 0.05")
    page.get_by_label("Number of samples").fill("8")
    page.get_by_role("button", name="Evaluate").click()
    expect(
        page.get_by_text("The true robust accuracy of these 8 samples")
    ).to_be_visible(timeout=30_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("net.pt")
    rows = page.get_by_role("row")
    expect(rows).to_have_count(4)
    expect(page.get_by_role("row", name="0.05")).to_contain_text("≥")
    page.get_by_role("link", name="Open the report").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("robust accuracy")
    page.goto("/")
    expect(page.get_by_role("link", name="net.pt").first).to_be_visible()


def test_the_form_is_filled_and_sent_with_the_keyboard_alone(page):
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    choose_model(page)
    page.get_by_label("Model").focus()
    order = []
    for _ in range(6):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate("document.activeElement.id || document.activeElement.name")
        )
    assert order == ["samples", "norm", "epsilons", "count", "tier", ""]
    page.keyboard.press("Enter")
    page.wait_for_url("**/evaluations/*")


def test_an_own_sample_file_is_used(page):
    page.goto("/")
    choose_model(page)
    page.get_by_label("Samples", exact=True).select_option("")
    file = {"name": "six.npz", "mimeType": "application/zip", "buffer": sample_file()}
    page.get_by_label("Sample file").set_input_files(file)
    page.get_by_role("button", name="Evaluate").click()
    page.wait_for_url("**/evaluations/*")
    expect(page.get_by_text("six.npz").first).to_be_visible()


def test_a_refused_file_is_explained_with_a_remedy(page):
    page.goto("/")
    file = {"name": "x.pt", "mimeType": "application/zip", "buffer": b"no model"}
    page.get_by_label("Model").set_input_files(file)
    page.get_by_role("button", name="Evaluate").click()
    alert = page.get_by_role("alert")
    expect(alert).to_be_visible()
    expect(alert).to_contain_text("torch.jit.save")
    expect(page.get_by_role("button", name="Evaluate")).to_be_enabled()


@pytest.mark.parametrize("text", ["", "much", "-0.1", "0.1 NaN", "1e999"])
def test_epsilons_that_are_none_are_refused_before_anything_is_sent(page, text):
    page.goto("/")
    choose_model(page)
    page.get_by_label("Epsilons").fill(text)
    page.get_by_role("button", name="Evaluate").click()
    expect(page.get_by_role("alert")).to_contain_text("Epsilons are numbers")
    expect(page.get_by_label("Epsilons")).to_be_focused()


def test_progress_is_shown_while_it_runs_and_the_run_can_be_cancelled(page, client):
    view = submit(client, MODEL, "forever")
    page.goto(f"/evaluations/{view.id}")
    expect(page.get_by_role("heading", name="attacks")).to_be_visible()
    expect(page.locator("#note")).to_contain_text("broken so far")
    first = page.locator("#note").inner_text()
    expect(page.locator("#note")).not_to_have_text(first)
    expect(page.get_by_role("progressbar")).to_have_attribute("max", "1000000")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("This evaluation was cancelled.")).to_be_visible()
    expect(page.locator(".badge")).to_have_text("cancelled")


def test_a_failed_evaluation_says_why_and_what_to_do(page, client):
    view = submit(client, MODEL, "unsound")
    client.wait(view.id)
    page.goto(f"/evaluations/{view.id}")
    expect(page.get_by_role("alert")).to_contain_text("the weights hold NaN")
    expect(page.get_by_role("alert")).to_contain_text("finite weights")


def test_an_address_that_leads_nowhere_shows_a_page(page):
    answer = page.goto("/evaluations/nothing")
    assert answer.status == 404
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    page.get_by_role("link", name="Back to the start").click()
    expect(page.get_by_label("Model")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(page, client, scheme):
    done = submit(client, MODEL)
    client.wait(done.id)
    page.emulate_media(color_scheme=scheme)
    for path in ("/", f"/evaluations/{done.id}", "/evaluations/nothing"):
        page.goto(path)
        assert page.evaluate(LOW_CONTRAST) == [], path


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_is_wider_than_the_screen(page, client, size):
    done = submit(client, MODEL)
    client.wait(done.id)
    page.set_viewport_size(size)
    for path in ("/", f"/evaluations/{done.id}"):
        page.goto(path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size["width"], path


LOW_CONTRAST = """
() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.5) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!text || !element.checkVisibility()) continue;
    const ink = parse(getComputedStyle(element).color);
    const pair = [light(ink), light(behind(element))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) bad.push(`${element.tagName} ${element.className} ${ratio}`);
  }
  return bad;
}
"""
