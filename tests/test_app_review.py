"""From a pool to a training set in a real browser: review by keyboard, choose a subset, export it, read it back."""

from __future__ import annotations

import fiftyone as fo
import pytest
from support.browser import eventually
from support.panel import MODAL, clipped, execute, has_rows, open_panel, panel, picture, press, reads, tab

from curation.handover.reading import import_coco, read_negatives
from curation.review import load_review, question
from curation.subset import load_subset
from emoji_world.dataset import CONCEPTS, build_dataset
from zoo.sidebar import show
from zoo.source import load_model

CARD = "[data-cy=review-card]"
NAME = "[data-cy=review-name] input"
#: what is pressed, and what it says
KEYS = (("y", True), ("n", False), ("y", True), ("s", None), ("n", False))


@pytest.fixture
def pool(tmp_path):
    """Images whose concepts were asked, and nothing else."""
    dataset = build_dataset(f"pool-{tmp_path.name}", tmp_path / "media", count=30)
    dataset.delete_sample_field("ground_truth")
    model = load_model("concepts/sam3-tiny-image", classes=list(CONCEPTS))
    dataset.apply_model(model, label_field="sam3", batch_size=8, progress=False)
    show(dataset, model.ledger, list(CONCEPTS))
    dataset.app_config.active_fields = fo.ActiveFields(exclude=False, paths=["sam3"])
    dataset.save()
    yield dataset
    dataset.delete()


@pytest.mark.browser
def test_a_pool_becomes_a_training_set(app, browser_page, pool, tmp_path):
    page = browser_page
    open_panel(page, app, pool)
    tab(page, "Review")
    press(page, "Build a review queue")
    execute(page)
    eventually(page, lambda: pool.reload() or pool.has_run("review"))
    review = load_review(pool)
    by_key = {item.key: item for item in review.items}

    # five questions, five keystrokes
    said = []
    for k, (key, verdict) in enumerate(KEYS):
        item = by_key[shown(page)]
        assert page.locator("[data-cy=review-question]").inner_text() == question(item)
        drawn = page.locator("[data-cy=review-picture]")
        assert drawn.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        if k == 1:
            assert clipped(page) == []
            picture(page, "curation-review")
        page.keyboard.press(key)
        said.append((item, verdict))
        assert shown(page, unlike=item.key) not in {item.key for item, _ in said}
    eventually(page, lambda: len(log(pool)) == len(KEYS))
    who = page.locator(NAME).input_value()
    assert sorted(log(pool)) == sorted((i.sample_id, i.label_id, i.concept, v, who) for i, v in said)
    assert verdicts(pool) == {i.label_id: v for i, v in said if i.label_id and v is not None}

    # what is typed is no answer; the last answer is taken back, and asked again
    page.locator(NAME).click()
    page.keyboard.type("yn")
    page.locator(NAME).fill(who)
    panel(page).locator("[data-cy=review-question]").click()
    page.keyboard.press("u")
    last = said[-1][0]
    eventually(page, lambda: last.label_id not in verdicts(pool))
    assert len(verdicts(pool)) == 3
    eventually(page, lambda: page.locator(CARD).get_attribute("data-item") == last.key)
    reads(page, f"3 of {len(review)} answered")

    # a subset
    tab(page, "Subset")
    press(page, "Choose a training subset")
    execute(page)
    eventually(page, lambda: pool.reload() or pool.has_run("subset"))
    found = load_subset(pool)
    assert len(found) == len(pool.match_tags("subset")) > 0 and set(found.sizes) == {"train", "val"}
    reads(page, f"{len(found)} samples")
    has_rows(page, [], len(panel_rows(found)))
    assert clipped(page) == []
    picture(page, "curation-subset")

    # is written, and read back: what was rejected is not in it
    press(page, "Export it")
    page.locator(MODAL).get_by_text("Directory", exact=True).wait_for()
    box = page.locator(MODAL).locator("input[type=text]").first
    box.fill(str(tmp_path))
    box.press("Tab")
    picture(page, "curation-export")
    execute(page)
    (folder,) = (path.parent for path in tmp_path.glob("*/export.json"))
    back = import_coco(str(folder), progress=False)
    try:
        chosen = pool.match_tags("subset").values("id")
        assert len(back) == len(chosen) and set(back.distinct("split")) == {"train", "val"}
        gone = {item.label_id for item, verdict in said[:-1] if verdict is False}
        kept = [d for s in pool.select(chosen) for d in s.sam3.detections if d.id not in gone]
        exported = [d for s in back for d in s.ground_truth.detections]
        assert sorted(d.label for d in exported) == sorted(d.label for d in kept)
        assert sorted(int(d.mask.sum()) for d in exported) == sorted(int(d.mask.sum()) for d in kept)
        absent = read_negatives(str(folder))
        assert len(absent) == len(back) and all(len(row) for row in absent.values())
    finally:
        back.delete()


# --- what a person sees, and what is stored ---


def shown(page, unlike=""):
    """The key of the question on the card, once there is one, and another."""
    item = page.locator(CARD)
    item.wait_for()
    eventually(page, lambda: item.get_attribute("data-item") not in ("", unlike))
    return item.get_attribute("data-item")


def panel_rows(found):
    """Rows of both tables: of the shares, and of why; the first concept is looked at."""
    first = CONCEPTS[0]
    return [*found.shares[:8], *found.of(concept=first)[:8]]


def log(dataset):
    """Every answer: sample, label, concept, verdict, and who gave it."""
    dataset.reload()
    return [
        (number, entry.label_id, entry.concept, entry.verdict, entry.by)
        for number, entries in zip(*dataset.values(["id", "sam3_review"]), strict=True)
        for entry in entries or ()
    ]


def verdicts(dataset):
    """Id of a label → what was said of it."""
    dataset.reload()
    held = zip(*dataset.values(["sam3.detections.id", "sam3.detections.verified"], unwind=True), strict=True)
    return {number: said for number, said in held if said is not None}
