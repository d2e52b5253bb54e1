"""The App in a real browser: concepts are evaluated with a click, and the Model Evaluation panel has the numbers."""

from __future__ import annotations

import pytest
from support.browser import eventually, open_dataset, open_operator, screenshot
from support.panel import attempt

from emoji_world.clip_dataset import build_clips
from emoji_world.dataset import build_dataset
from evaluation.concepts import evaluate_concepts, load_concept_evaluation
from zoo.source import load_model
from zoo.track import track

ASKED = ("dog", "fox", "cricket bat", "apple")


@pytest.fixture
def segmented(tmp_path):
    dataset = build_dataset("evaluation-app-test", tmp_path / "media", count=16)
    model = load_model("concepts/sam3-tiny-image", classes=list(ASKED))
    dataset.apply_model(model, label_field="sam3", batch_size=8, progress=False)
    yield dataset
    dataset.delete()


@pytest.fixture
def tracked(tmp_path):
    clips = build_clips("evaluation-app-clips", tmp_path / "clips", seeds=(4,), frames=16)
    for _ in track(clips, load_model("concepts/sam3-tiny-video", classes=["lion", "tiger"]), "sam3"):
        pass
    evaluate_concepts(clips, "sam3", "ground_truth", "eval", exhaustive=True, progress=False)
    yield clips
    clips.delete()


@pytest.mark.browser
def test_concepts_are_evaluated_and_the_panel_has_the_numbers(app, browser_page, segmented):
    page = browser_page
    open_dataset(page, app, segmented.name)
    open_operator(page, "SAM 3: evaluate concepts")
    modal = page.locator("[data-cy=operators-prompt-modal]")
    modal.get_by_text("Everything is labelled").click()
    execute = modal.get_by_role("button", name="Execute", exact=True)
    eventually(page, execute.is_enabled)
    screenshot(page, "evaluation form")
    execute.click()
    page.get_by_text("16 of 16 samples").wait_for()
    page.get_by_role("button", name="Done").click()

    segmented.reload()
    numbers = load_concept_evaluation(segmented, "eval").report()
    assert numbers["pairs_evaluated"] == 16 * len(ASKED)
    in_panel(page, {name: numbers[name] for name in ("cgF1", "pmF1", "IL_MCC")})
    screenshot(page, "evaluation panel")


@pytest.mark.browser
def test_the_panel_has_the_numbers_of_clips(app, browser_page, tracked):
    page = browser_page
    open_dataset(page, app, tracked.name)
    page.locator("[data-cy=new-panel-btn]").first.click()
    page.locator("[data-cy=new-panel-option-model_evaluation_panel_builtin]").click()
    numbers = load_concept_evaluation(tracked, "eval").report()
    in_panel(page, {name: numbers[name] for name in ("cgF1", "pHOTA")})
    screenshot(page, "evaluation panel of clips")


def in_panel(page, numbers):
    """The panel is open; it shows these numbers once its evaluation is."""
    card = page.get_by_text("eval", exact=True).first
    card.wait_for()
    rows = {name: page.locator("tr", has=page.get_by_text(name, exact=True)).first for name in numbers}
    attempt(page, card.click, next(iter(rows.values())).is_visible)
    for name, value in numbers.items():
        rows[name].wait_for()
        eventually(page, lambda row=rows[name], value=value: f"{value:.3f}".rstrip("0") in row.inner_text())
