"""The panel "Concepts" in a real browser: from what is present to what is wrong, as a person goes through it."""

from __future__ import annotations

import itertools
import json
import re
import time

import fiftyone as fo
import pytest
from support.browser import eventually, open_dataset, screenshot

from emoji_world.dataset import CONCEPTS, build_dataset
from emoji_world.demo import curate
from zoo.ledger import Ledger
from zoo.sidebar import show
from zoo.source import load_model

TABS = ("Presence", "Hard negatives", "Label errors", "Confusions", "Thresholds")
PANEL = "[data-cy=panel-content-concepts]"
ROWS = 8
NAMES = (f"curation-app-{k}" for k in itertools.count())


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """What ``make demo`` makes of images: with fewer, too few thresholds could be picked."""
    dataset = build_dataset("curation-app", tmp_path_factory.mktemp("media"), count=60)
    model = load_model("concepts/sam3-tiny-image", classes=list(CONCEPTS))
    dataset.apply_model(model, label_field="sam3", batch_size=8, progress=False)
    dataset.app_config.color_scheme = fo.ColorScheme(color_by="value")
    show(dataset, Ledger("sam3"), list(CONCEPTS))
    curate(dataset)
    # Every event of a panel makes the App repaint what it draws in the grid, and masks that it is asked to repaint
    # before it is done are gone for good. So little is drawn here.
    dataset.app_config.active_fields = fo.ActiveFields(exclude=False, paths=["sam3"])
    dataset.save()
    yield dataset
    dataset.delete()


@pytest.fixture
def curated(original):
    """A copy, under a name of its own: the App's server remembers which panels were open on a dataset."""
    dataset = original.clone(next(NAMES), persistent=True)
    yield dataset
    dataset.delete()


@pytest.mark.browser
def test_without_a_ledger_the_panel_offers_to_ask(app, browser_page, tmp_path):
    dataset = build_dataset(next(NAMES), tmp_path / "media", count=4)
    page = browser_page
    open_dataset(page, app, dataset.name)
    page.locator("[data-cy=new-panel-btn]").first.click()
    page.locator("[data-cy=new-panel-option-concepts]").click()
    panel(page).get_by_text("This dataset has no concept ledger").wait_for()
    assert not panel(page).get_by_role("tab").count()
    press(page, "Ask SAM 3")
    page.locator("[data-cy=operators-prompt-modal]").get_by_text("Short noun phrases").wait_for()
    dataset.delete()


@pytest.mark.browser
def test_nothing_is_clipped_beside_the_grid(app, browser_page, curated):
    page = browser_page
    open_panel(page, app, curated)
    choose(page, "cap")
    for name in TABS:
        tab(page, name)
        settled(page)
        assert clipped(page) == [], name


# --- what a person does ---


def open_panel(page, url, dataset):
    """Open a dataset, and the panel beside its grid."""
    open_dataset(page, url, dataset.name)
    page.locator("[data-cy=new-panel-btn]").first.click()
    page.locator("[data-cy=new-panel-option-concepts]").click()
    bars(page).first.wait_for()
    settled(page)


def choose(page, concept):
    concept_box(page).click()
    concept_box(page).fill(concept)
    page.keyboard.press("Enter")
    settled(page)


def tab(page, name):
    panel(page).get_by_role("tab", name=name, exact=True).click()
    settled(page)


def press(page, name, exact=True):
    """Press a button of the panel; names of buttons with an icon begin with the icon's."""
    pattern = re.compile(rf"^(\w+\s*)?{re.escape(name)}{'$' if exact else ''}")
    panel(page).get_by_role("button", name=pattern).click()


def click_bar(page, place):
    """Click a bar at its upper end: on a log scale its lower one is far below the plot."""
    box = bars(page).nth(place).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 4)
    page.wait_for_timeout(300)
    page.mouse.down()
    page.mouse.up()


def execute(page):
    button = page.locator("[data-cy=operators-prompt-modal]").get_by_role("button", name="Execute", exact=True)
    eventually(page, button.is_enabled)
    button.click()


# --- what a person sees ---


def panel(page):
    return page.locator(PANEL)


def bars(page):
    return panel(page).locator(".js-plotly-plot .bars .point path")


def concept_box(page):
    return panel(page).get_by_role("combobox").first


def row_button(page, row, place=0):
    return panel(page).locator("tbody tr").nth(row).locator("button").nth(place)


def thumb_at(page):
    return float(panel(page).locator(".MuiSlider-root input").last.input_value())


def words_in(modal):
    """What a form says, in boxes or beside them."""
    return [box.input_value() for box in modal.locator("input").all()] + modal.inner_text().splitlines()


def seen(page):
    """The panel's words, in a row."""
    return " ".join(panel(page).inner_text().split())


def text_is(page, text):
    eventually(page, lambda: text in seen(page))


def has_counts(page, counted):
    text_is(page, (
        f"{counted.present} present · {counted.absent} absent · {counted.uncertain} in doubt · "
        f"{counted.suppressed} phantoms · {counted.without_instances} present without an instance · "
        f"{counted.instances} instances"
    ))  # fmt: skip


def rows_are(page, texts, total=None):
    """The table's rows hold these texts, of which the first rows are shown."""
    rows = panel(page).locator("tbody tr")
    eventually(page, lambda: rows.count() == min(total or len(texts), total or ROWS))
    for row, text in zip(rows.all(), texts, strict=False):
        eventually(page, lambda row=row, text=text: " ".join(text.split()) in " ".join(row.inner_text().split()))


def in_grid(page, dataset, sent, ids):
    """The grid says that it holds as many samples, and those it asked the server for last are these."""
    wanted = f"{len(ids)} sample" + ("s" if len(ids) != 1 else "")
    eventually(page, lambda: page.locator("[data-cy=entry-counts]").inner_text().strip() == wanted)
    asked = [json.loads(text)["variables"] for text in sent if "paginateSamples" in text or "samples(" in text]
    stages = next(variables["view"] for variables in reversed(asked) if "view" in variables)
    assert sorted(fo.DatasetView._build(dataset, stages).values("id")) == sorted(ids)
    settled(page)


def settled(page):
    """Nothing is loading: neither the panel, nor the grid and what is drawn on it."""
    quiet, deadline = 0, time.monotonic() + 4  # the App may never say that it is done
    while quiet < 3 and time.monotonic() < deadline:
        page.wait_for_timeout(200)
        busy = page.evaluate(
            """() => [...document.querySelectorAll('[role=progressbar]')].some(e => e.checkVisibility())
                || [...document.querySelectorAll('[data-cy=looker] canvas')]
                    .some(e => !e.hasAttribute('canvas-loaded'))"""
        )
        quiet = 0 if busy else quiet + 1


def picture(page, name):
    """A screenshot without a pointer's traces."""
    page.mouse.move(700, 890)
    eventually(page, lambda: not page.locator(".notistack-SnackbarContainer > *").count())
    settled(page)
    screenshot(page, name)


def labels_of(dataset):
    """Every instance and every number of the ledger, as they are stored; an attribute that is empty is none."""
    dataset.reload()
    found = {}
    for sample in dataset.iter_samples():
        for label in sample["sam3"].detections:
            found["sam3", label.id] = {name: value for name, value in label.to_dict().items() if value is not None}
        for field in ("sam3_presence", "sam3_score", "sam3_count"):
            found[field, sample.id] = sample[field].to_dict()
    return found


def clipped(page):
    """What reaches out of the panel on the right, and names of tabs that are cut off."""
    return page.evaluate(
        """selector => {
            const panel = document.querySelector(selector);
            const edge = panel.getBoundingClientRect().left + panel.clientWidth;
            const all = [...panel.querySelectorAll('*')].filter(e => e.checkVisibility({visibilityProperty: true}));
            const wide = all.filter(e => {
                const place = e.getBoundingClientRect();
                return place.width && place.right > edge + 0.5;
            });
            const cut = all.filter(e => e.getAttribute('role') === 'tab').filter(e => {
                const row = e.closest('[role=tablist]').parentElement.getBoundingClientRect();
                return e.scrollWidth > e.clientWidth || e.getBoundingClientRect().right > row.right + 0.5;
            });
            return [...wide, ...cut].map(e => `${e.tagName}.${e.className} ${e.innerText || ''}`.slice(0, 80));
        }""",
        PANEL,
    )
