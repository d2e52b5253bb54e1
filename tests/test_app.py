"""The App in a real browser: concepts are found with a click, and presence filters the grid."""

from __future__ import annotations

import re

import pytest
from support.browser import drag, eventually, open_dataset, open_operator, screenshot

from emoji_world.dataset import build_dataset


@pytest.fixture
def scenes(tmp_path):
    dataset = build_dataset("app-test", tmp_path / "media", count=8)
    dataset.default_classes = ["dog", "red cap"]
    dataset.save()
    yield dataset
    dataset.delete()


@pytest.mark.browser
def test_segment_concepts_then_filter_by_presence(app, browser_page, scenes):
    page = browser_page
    open_dataset(page, app, scenes.name)
    assert count(page) == 8

    open_operator(page, "SAM 3: segment concepts")
    modal = page.locator("[data-cy=operators-prompt-modal]")
    execute = modal.get_by_role("button", name="Execute", exact=True)
    eventually(page, execute.is_enabled)  # the form is drawn anew when its defaults have come: not while we type
    chips = modal.get_by_role("combobox").first
    chips.fill("zebra crossing")
    chips.press("Enter")
    modal.get_by_text("zebra crossing").wait_for()
    screenshot(page, "operator form")
    execute.click()
    page.get_by_text("8 of 8 samples").wait_for()
    page.get_by_role("button", name="Done").click()
    modal.wait_for(state="detached")

    # The sidebar has a slider for each concept, found or not. In a page that was open before the run FiftyOne adds
    # their group folded, at the end; opened anew, the dataset has it unfolded under the labels.
    page.locator("[data-cy=sidebar-group-entry-SAM3_PRESENCE]").wait_for()
    open_dataset(page, app, scenes.name)
    for concept in ("dog", "red cap", "zebra crossing"):
        page.locator(f'[data-cy="sidebar-field-arrow-enabled-sam3_presence.{concept}"]').wait_for()
    page.locator('[data-cy="sidebar-field-arrow-enabled-sam3_presence.dog"]').click()
    thumb = page.locator('[data-cy="numeric-slider-container-sam3_presence-dog"] .MuiSlider-thumb').first
    thumb.wait_for()
    screenshot(page, "after segmenting")

    scenes.reload()
    presence = scenes.values("sam3_presence.dog")
    assert len(presence) == 8 and None not in presence
    assert all(0 <= p <= 1 for p in presence)

    # the lower end of the slider up: only samples above it stay in the grid
    drag(page, thumb, right=120)
    eventually(page, lambda: count(page) < 8)
    screenshot(page, "filtered by presence")
    assert count(page) >= 1


@pytest.mark.browser
def test_what_stops_a_run_is_said(app, browser_page, scenes):
    page = browser_page
    open_dataset(page, app, scenes.name)
    open_operator(page, "SAM 3: segment concepts")
    modal = page.locator("[data-cy=operators-prompt-modal]")
    execute = modal.get_by_role("button", name="Execute", exact=True)
    eventually(page, execute.is_enabled)
    chips = modal.get_by_role("combobox").first
    chips.fill("word " * 40)  # words the form has no reason to doubt, and more than the network reads
    chips.press("Enter")
    modal.get_by_text("word word").first.wait_for()
    execute.click()
    page.get_by_text("SAM 3 reads at most 32").first.wait_for()


def count(page) -> int:
    """Samples that the grid says it holds."""
    text = page.locator("[data-cy=entry-counts]").inner_text()
    return int(re.search(r"\d+", text).group())
