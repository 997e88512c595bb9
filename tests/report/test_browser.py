"""The report of a conversion in Chromium, as a person uses it."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sim2real.evaluation.figures import frames_path
from sim2real.report import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser", evaluated: Path, frames: list[str]) -> Iterator["Page"]:
    """The report on a phone, opened from its file; 50 more frames are known by their figures alone."""
    with frames_path(evaluated).open("a", newline="") as file:
        csv.writer(file).writerows([f"more/{number:02}.jpg", "converted", "s", 0, 0.9, ""] for number in range(50))
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": 400, "height": 800}, has_touch=True)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(write_report(evaluated).as_uri())
    yield page
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing sticks out
    page.close()


def split(page: "Page") -> float:
    """Where the picture before ends, as a share of the stage."""
    return float(page.locator("[data-viewer]").evaluate("each => parseFloat(each.style.getPropertyValue('--split'))"))


def test_the_slider_follows_pointer_and_keyboard(page: "Page") -> None:
    stage = page.locator("figure:not([hidden]) > .stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, y)
    assert split(page) == pytest.approx(25, abs=1)
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] / 2, y)
    assert split(page) == pytest.approx(25, abs=1)
    page.locator(".split").focus()
    page.keyboard.press("End")
    assert split(page) == 100
    page.touchscreen.tap(box["x"] + box["width"] * 0.75, y)
    assert split(page) == pytest.approx(75, abs=1)


def test_frames_are_turned_over_and_labels_switched_class_by_class(page: "Page", frames: list[str]) -> None:
    shown = page.locator("figure[data-frame]:not([hidden])")
    assert shown.get_attribute("data-frame") == frames[0]  # the rejected one
    page.get_by_label("Next frame").click()
    assert shown.get_attribute("data-frame") != frames[0]
    page.get_by_label("Frame", exact=True).select_option("0")
    assert shown.get_attribute("data-frame") == frames[0]
    road = shown.locator('[data-layer="areas:Road"]')
    assert not road.is_visible()
    page.locator('[value="areas:Road"]').check()
    assert road.is_visible()
    assert not shown.locator('[data-layer="areas:Sky"]').is_visible()
    page.locator("[data-all]").first.check()
    assert shown.locator('[data-layer="areas:Sky"]').is_visible()
    page.locator("[data-all]").first.uncheck()
    assert not road.is_visible()


def test_all_frames_are_paged_sorted_and_filtered(page: "Page", frames: list[str]) -> None:
    rows, told = page.locator(".rows tbody tr"), page.locator("[data-frames] output")
    assert told.text_content() == "1 to 20 of 56"
    assert page.get_by_label("Previous page").is_disabled()
    for _ in range(2):
        page.get_by_label("Next page").click()
    assert told.text_content() == "41 to 56 of 56"
    assert page.get_by_label("Next page").is_disabled()
    page.get_by_label("Order").select_option(label="preservation, lowest first")
    assert frames[0].rpartition("/")[2] in (rows.first.text_content() or "")
    page.get_by_label("Status").select_option(label="rejected")
    assert told.text_content() == "1 to 1 of 1"
    page.get_by_label("Status").select_option(label="any status")
    page.get_by_label("Part of the path").fill("more/4")
    assert told.text_content() == "1 to 10 of 10"
    page.get_by_label("Part of the path").fill("nothing like it")
    assert told.text_content() == "0 to 0 of 0"
    page.get_by_label("Part of the path").fill("")
    page.get_by_label("pictured").check()
    assert told.text_content() == "1 to 6 of 6"


def test_a_thumbnail_leads_to_its_frame(page: "Page", frames: list[str]) -> None:
    page.locator("[data-small] button").first.click()  # of the alarm
    assert page.locator("figure[data-frame]:not([hidden])").get_attribute("data-frame") == frames[2]
