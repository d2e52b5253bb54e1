"""The panel "Concepts" in a real browser: what a person does there, and what a person sees."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress

import fiftyone as fo

from .browser import eventually, open_dataset, screenshot

TABS = ("Presence", "Hard negatives", "Label errors", "Confusions", "Thresholds", "Review", "Subset")
PANEL = "[data-cy=panel-content-concepts]"
MODAL = "[data-cy=operators-prompt-modal]"
ROWS = 8


def open_panel(page, url, dataset):
    """Open a dataset, and the panel beside its grid."""
    open_dataset(page, url, dataset.name)
    page.locator("[data-cy=new-panel-btn]").first.click()
    page.locator("[data-cy=new-panel-option-concepts]").click()
    panel(page).wait_for()
    settled(page)


def choose(page, concept):
    """Type a concept, and take it."""
    concept_box(page).click()
    concept_box(page).fill(concept)
    page.keyboard.press("Enter")
    settled(page)


def tab(page, name):
    """Open a tab."""
    wanted = panel(page).get_by_role("tab", name=name, exact=True)
    attempt(page, wanted.click, lambda: wanted.get_attribute("aria-selected") == "true")
    settled(page)


def press(page, name):
    """Press a button of the panel; with an icon, the icon's name comes first."""
    panel(page).get_by_role("button", name=re.compile(rf"^(\w+\s*)?{re.escape(name)}$")).click()


def execute(page):
    """Run what a form says, and close what it answers: the form itself, or the progress that took its place."""
    button = page.locator(MODAL).get_by_role("button", name="Execute", exact=True)
    eventually(page, button.is_enabled)
    button.click()
    form, quiet = page.locator(MODAL).get_by_role("button", name="Close", exact=True), 0
    close = form.or_(page.get_by_role("button", name="Done", exact=True))
    close.last.wait_for()
    while quiet < 3:  # progress that was on its way opens it again
        if close.count():
            close.last.click()
        quiet = quiet + 1 if not close.count() else 0
        page.wait_for_timeout(700)
    page.locator(MODAL).wait_for(state="detached")


def attempt(page, act, holds):
    """Do something, and again if nothing comes of it: what is drawn anew at that moment does not feel a click."""
    for patience in (15, 30, 60):
        act()
        with suppress(AssertionError):
            return eventually(page, holds, patience)
    return eventually(page, holds, 1)


def panel(page):
    """The panel."""
    return page.locator(PANEL)


def concept_box(page):
    """Where a concept is typed."""
    return panel(page).get_by_role("combobox").first


def row_button(page, row, place=0):
    """A button in a row of the table."""
    return panel(page).locator("tbody tr").nth(row).locator("button").nth(place)


def filled_in(page):
    """What the boxes of the form hold."""
    return [box.input_value() for box in page.locator(MODAL).locator("input").all()]


def seen(page):
    """The panel's words, in a row."""
    return " ".join(panel(page).inner_text().split())


def reads(page, text):
    """The panel says so."""
    eventually(page, lambda: text in seen(page))


def has_rows(page, texts, count=None):
    """The table's first rows hold these texts, one each; all rows are there, as far as they are shown."""
    count = min(len(texts), ROWS) if count is None else count

    def holds():
        rows = [" ".join(row.split()) for row in panel(page).locator("tbody tr").all_inner_texts()]
        return len(rows) == count and all(map(str.__contains__, rows, map(" ".join, map(str.split, texts))))

    eventually(page, holds)


def in_grid(page, dataset, sent, ids, after):
    """The samples that the grid asked the server for last are these, and it says how many they are."""
    wanted = f"{len(ids)} sample" + ("s" if len(ids) != 1 else "")

    def holds():
        asked = next(json.loads(text)["variables"]["view"] for text in reversed(sent) if "paginateSamples" in text)
        shown = fo.DatasetView._build(dataset, asked).values("id")
        return sorted(shown) == sorted(ids) and page.locator("[data-cy=entry-counts]").inner_text().strip() == wanted

    attempt(page, after, holds)
    settled(page)


def settled(page, quiet=2):
    """Nothing is loading, for a while; or something is for so long that what comes next must wait for itself."""
    still, deadline = 0, time.monotonic() + 10
    while still < quiet and time.monotonic() < deadline:
        page.wait_for_timeout(150)
        busy = page.locator("[role=progressbar]").evaluate_all("all => all.some(e => e.checkVisibility())")
        still = 0 if busy else still + 1


def picture(page, name):
    """A screenshot of the panel and its samples, and of nothing that passes."""
    page.mouse.move(640, 95)
    eventually(page, lambda: not page.locator(".notistack-SnackbarContainer > *").count())
    settled(page, quiet=5)
    screenshot(page, name)


def clipped(page):
    """What reaches out of the panel on the right, and names of tabs that are cut off."""
    return page.evaluate(
        """selector => {
            const panel = document.querySelector(selector), box = e => e.getBoundingClientRect();
            const edge = box(panel).left + panel.clientWidth + 0.5;
            const all = [...panel.querySelectorAll('*')].filter(e => e.checkVisibility({visibilityProperty: true}));
            const out = all.filter(e => box(e).width && box(e).right > edge);
            const cut = all.filter(e => e.getAttribute('role') === 'tab').filter(
                e => e.scrollWidth > e.clientWidth || box(e).right > box(e.closest('[role=tablist]')).right + 0.5
            );
            return [...out, ...cut].map(e => `${e.tagName} ${e.getAttribute('class')} ${e.innerText || ''}`);
        }""",
        PANEL,
    )
