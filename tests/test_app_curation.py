"""The panel "Concepts" in a real browser: from what is present to what is wrong, as a person goes through it."""

from __future__ import annotations

import re

import fiftyone as fo
import numpy as np
import pytest
from support.browser import drag, eventually, screenshot
from support.ledgers import ask
from support.panel import (
    MODAL,
    TABS,
    attempt,
    choose,
    clipped,
    concept_box,
    execute,
    filled_in,
    has_rows,
    in_grid,
    open_panel,
    panel,
    picture,
    press,
    reads,
    row_button,
    seen,
    settled,
    tab,
)

from curation.answers import read_answers, thresholds_of
from curation.charts import edges
from curation.confusion import load_confusions
from curation.hard_negatives import load_hard_negatives
from curation.label_errors import load_label_errors
from curation.overview import overview
from curation.policies import applied_policies
from curation.presence import present
from curation.thresholds import load_thresholds
from emoji_world.dataset import CONCEPTS, build_dataset
from emoji_world.demo import curate
from zoo.sidebar import show
from zoo.source import load_model


@pytest.fixture
def curated(tmp_path):
    """What ``make demo`` makes of images: with fewer scenes, most concepts have too few for a threshold."""
    dataset = build_dataset("curation-app", tmp_path / "media", count=60)
    model = load_model("concepts/sam3-tiny-image", classes=list(CONCEPTS))
    dataset.apply_model(model, label_field="sam3", batch_size=8, progress=False)
    show(dataset, model.ledger, list(CONCEPTS))
    curate(dataset)
    dataset.app_config.color_scheme = fo.ColorScheme(color_by="value")
    # Whatever changes in a panel makes the App repaint what is drawn in the grid, and masks that are to be repainted
    # twice at once are gone for good. So little is drawn here.
    dataset.app_config.active_fields = fo.ActiveFields(exclude=False, paths=["sam3"])
    dataset.save()
    yield dataset
    dataset.delete()


@pytest.fixture
def scenes(tmp_path):
    """A few of them, under a name of their own: the App's server remembers which panels were open on a dataset."""
    dataset = build_dataset(f"curation-{tmp_path.name}", tmp_path / "media", count=4)
    yield dataset
    dataset.delete()


@pytest.mark.browser
def test_a_person_goes_through_the_panel(app, browser_page, curated):
    page = browser_page
    sent = []
    page.on("request", lambda request: sent.append(request.post_data or "") if "graphql" in request.url else None)
    open_panel(page, app, curated)
    bars(page).first.wait_for()
    drag(page, page.locator("[data-cy=fo-grid-actions] .MuiSlider-thumb").last, right=6)  # larger samples
    settled(page, quiet=8)

    # presence: of the first concept; of another; above a threshold; of a bar; as a saved view
    first = read_answers(curated).concepts[0]
    assert concept_box(page).input_value() == first
    assert bars(page).count() == 20
    has_counts(page, overview(read_answers(curated, concepts=[first]), first))
    answers = read_answers(curated, concepts=["cap"])
    attempt(page, lambda: choose(page, "cap"), lambda: counts_of(overview(answers, "cap")) in seen(page))
    assert thumb_at(page) == 0.5
    thumb = panel(page).locator(".MuiSlider-thumb").last
    attempt(page, lambda: drag(page, thumb, right=150), lambda: thumb_at(page) > 0.75)
    level = thumb_at(page)
    assert overview(answers, "cap", level).present < overview(answers, "cap").present  # else nothing is shown by it
    has_counts(page, overview(answers, "cap", level))
    assert clipped(page) == []

    counts, marks = np.histogram(answers.presence[:, 0], edges())
    in_bar = answers.presence[:, 0] >= marks[-2]
    in_grid(page, curated, sent, answers.ids[in_bar].tolist(), after=lambda: click_bar(page, 19))
    assert counts[19] == in_bar.sum() > 1
    bar = int(np.flatnonzero(counts[:19])[-1])  # the last that is not empty, before the last
    one = answers.ids[np.digitize(answers.presence[:, 0], marks) == bar + 1].tolist()
    in_grid(page, curated, sent, one, after=lambda: click_bar(page, bar))

    wanted = present(curated, "cap", threshold=level).values("id")
    in_grid(page, curated, sent, wanted, after=lambda: press(page, "Present"))
    picture(page, "curation-presence")
    press(page, "Save this view")
    eventually(page, lambda: "cap: present" in filled_in(page))
    execute(page)
    eventually(page, lambda: curated.reload() or curated.has_saved_view("cap: present"))
    assert curated.load_saved_view("cap: present").values("id") == wanted

    # hard negatives
    negatives = load_hard_negatives(curated)
    mine = negatives.of("cap")
    assert mine
    tab(page, "Hard negatives")
    reads(page, f"{len(mine)} hard negatives of cap, {len(negatives)} of all concepts")
    has_rows(page, [one.because for one in mine])
    assert clipped(page) == []
    in_grid(page, curated, sent, [mine[0].sample_id], after=row_button(page, 0).click)
    in_grid(page, curated, sent, negatives.view(curated).values("id"), after=lambda: press(page, "Show all"))
    picture(page, "curation-negatives")

    # confusions: an advice is followed in the whole dataset, whatever is in the grid; and undone
    confusions = load_confusions(curated)
    pair = confusions.pairs[0]
    tab(page, "Confusions")
    has_rows(page, [one.advice for one in confusions.pairs])
    before = stored(curated)
    row_button(page, 0, 1).click()
    eventually(page, lambda: {pair.first, pair.second} <= set(filled_in(page)))
    chosen = page.locator(MODAL).locator("input:checked").evaluate_all("all => all.map(e => e.value)")
    assert pair.policy == "nest" and "nest" in chosen
    execute(page)
    eventually(page, lambda: curated.reload() or applied_policies(curated))
    after = stored(curated)
    nested = [key for key in before if after[key] != before[key]]
    assert len(nested) == pair.same_masks and before.keys() == after.keys()
    for key in nested:
        parent = after["sam3", after[key]["parent"]]
        assert (after[key]["label"], parent["label"]) == (pair.first, pair.second)
    reads(page, "Settled last")
    assert clipped(page) == []
    both = confusions.view(curated, pair.first, pair.second).values("id")
    in_grid(page, curated, sent, both, after=row_button(page, 0).click)
    picture(page, "curation-confusions")
    press(page, "Undo")
    eventually(page, lambda: curated.reload() or not applied_policies(curated))
    assert stored(curated) == before
    eventually(page, lambda: "Settled last" not in seen(page))

    # thresholds
    found = load_thresholds(curated)
    assert found.points and "sam3_calibrated" not in curated.get_field_schema()
    assert not found.points.items() & thresholds_of(curated).items()
    tab(page, "Thresholds")
    panel(page).locator(".js-plotly-plot .scatterlayer .point").first.wait_for()
    has_rows(page, ["cap"], len(CONCEPTS))
    assert clipped(page) == []
    picture(page, "curation-thresholds")
    press(page, "Put them into effect")
    eventually(page, lambda: curated.reload() or "sam3_calibrated" in curated.get_field_schema())
    assert thresholds_of(curated).items() >= found.points.items()

    # label errors: last, because the labels that it draws stay
    errors = load_label_errors(curated)
    assert all(errors.counts.values())
    tab(page, "Label errors")
    for kind, count in reversed(errors.counts.items()):
        tab(page, f"{kind.capitalize()} ({count})")
        has_rows(page, [error.because for error in errors.of(kind)])
        assert clipped(page) == []
    in_grid(page, curated, sent, [errors.of("missing")[1].sample_id], after=row_button(page, 1).click)
    missing = errors.view(curated, "missing").values("id")
    in_grid(page, curated, sent, missing, after=lambda: press(page, "Show their samples"))
    picture(page, "curation-errors")


@pytest.mark.browser
def test_without_a_ledger_the_panel_offers_to_ask(app, browser_page, scenes):
    page = browser_page
    open_panel(page, app, scenes)
    reads(page, "This dataset has no concept ledger")
    assert clipped(page) == [] and not panel(page).get_by_role("tab").count()
    screenshot(page, "curation-none")
    press(page, "Ask SAM 3")
    page.locator(MODAL).get_by_text("Short noun phrases").wait_for()


@pytest.mark.browser
def test_a_concept_that_was_not_asked_can_be(app, browser_page, scenes):
    page = browser_page
    ask(scenes, {"dog": [0.9, 0.2, 0.1, None], "red fire truck": 0.4})
    open_panel(page, app, scenes)
    has_counts(page, overview(read_answers(scenes, concepts=["dog"]), "dog"))
    offers = (
        "Find hard negatives", "Find label errors", "Find confusions", "Pick thresholds", "Build a review queue",
        "Choose a training subset",
    )  # fmt: skip
    for name, button in zip(TABS[1:], offers, strict=True):
        tab(page, name)  # nothing was looked for yet
        panel(page).get_by_role("button", name=re.compile(f"{button}$")).wait_for()
        assert clipped(page) == []
    told = "'fire engine' was not asked of this dataset; the nearest that were: 'red fire truck'"
    attempt(page, lambda: choose(page, "fire engine"), lambda: told in seen(page))
    assert clipped(page) == []
    press(page, "Ask SAM 3 for 'fire engine'")
    page.locator(MODAL).get_by_text("fire engine", exact=True).wait_for()


def click_bar(page, place):
    """Click a bar at its upper end: on a log scale its lower one is far below the plot."""
    box = bars(page).nth(place).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 4)
    page.wait_for_timeout(300)
    page.mouse.down()
    page.mouse.up()


def bars(page):
    return panel(page).locator(".js-plotly-plot .bars .point path")


def thumb_at(page):
    return float(panel(page).locator(".MuiSlider-root input").last.input_value())


def has_counts(page, counted):
    reads(page, counts_of(counted))


def counts_of(counted):
    return (
        f"{counted.present} present · {counted.absent} absent · {counted.uncertain} in doubt · "
        f"{counted.suppressed} phantoms · {counted.without_instances} present without an instance · "
        f"{counted.instances} instances"
    )


def stored(dataset):
    """Every instance, and every number of the ledger, as they are stored; an attribute that is empty is none."""
    dataset.reload()
    found = {}
    for sample in dataset:
        for label in sample["sam3"].detections:
            found["sam3", label.id] = {name: value for name, value in label.to_dict().items() if value is not None}
        for field in ("sam3_presence", "sam3_score", "sam3_count"):
            found[field, sample.id] = sample[field].to_dict()
    return found
