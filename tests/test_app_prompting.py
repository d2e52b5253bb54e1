"""A person points in a real browser: two labels are selected, one of them is not meant, and its look-alikes go."""

from __future__ import annotations

import fiftyone as fo
import pytest
from support.browser import eventually, open_dataset, open_operator, screenshot

from curation.changes import recorded_changes
from emoji_world.dataset import build_scenes
from evaluation.match import box_iou
from evaluation.shapes import boxes
from zoo.source import load_model

FORM = "[data-cy=operators-prompt-modal]"
MODAL = "[data-cy=modal]"
#: three yellow caps and two green ones, on a scene that no training saw
SEED = 600_078
MEANT, REFUSED = "yellow", "green"


@pytest.fixture
def scene(tmp_path):
    dataset = build_scenes(f"prompting-{tmp_path.name}", tmp_path / "media", [SEED], persistent=True)
    model = load_model("concepts/sam3-tiny-image", classes=["cap"])
    dataset.apply_model(model, label_field="sam3", progress=False)
    # what lies on top of each other cannot be clicked apart
    dataset.app_config.active_fields = fo.ActiveFields(exclude=False, paths=["sam3"])
    dataset.save()
    yield dataset
    dataset.delete()


@pytest.mark.browser
def test_a_counter_example_takes_its_look_alikes_away(app, browser_page, scene):
    page = browser_page
    before = colours(scene)
    assert before.count(MEANT) > 1 and before.count(REFUSED) > 1, before
    open_dataset(page, app, scene.name)
    page.locator("[data-cy=looker]").first.click()
    page.locator(MODAL).wait_for()
    meant, refused = (clearest(scene, colour) for colour in (MEANT, REFUSED))
    for place in (meant, refused):
        select(page, scene, place)

    open_operator(page, "SAM 3: ask again with examples")
    form = page.locator(FORM)
    form.get_by_text("Not meant, nor what is like it").first.wait_for()
    # the form asks in the order of the labels
    form.get_by_text("Not meant, nor what is like it").nth(0 if refused < meant else 1).click()
    page.wait_for_timeout(1500)
    screenshot(page, "prompting ask again")
    execute = form.get_by_role("button", name="Execute", exact=True)
    eventually(page, execute.is_enabled)
    execute.click()
    eventually(page, lambda: scene.reload() or recorded_changes(scene))
    after = colours(scene)
    assert after.count(REFUSED) == 0 and after.count(MEANT) == before.count(MEANT), after
    marks = {mark.sam_label for mark in scene.first().sam3_marks.detections}
    assert marks == {True, False}
    page.get_by_role("button", name="Done").click()
    form.wait_for(state="detached")
    page.locator(MODAL).wait_for(state="detached")  # what was open would go on showing what is gone
    page.wait_for_timeout(5000)  # the grid is drawn anew
    screenshot(page, "prompting look-alikes gone")

    open_operator(page, "SAM 3: undo a change of labels")
    form.get_by_text("'cap' asked again").first.wait_for()
    eventually(page, execute.is_enabled)
    execute.click()
    eventually(page, lambda: scene.reload() or not recorded_changes(scene))
    assert colours(scene) == before and "sam3_marks" not in scene.get_field_schema()


def colours(dataset: fo.Dataset) -> list[str | None]:
    """Of each instance found, the colour of what it lies on."""
    return [colour for colour, _ in lying_on(dataset)]


def clearest(dataset: fo.Dataset, colour: str) -> int:
    """The place of the instance of a colour whose box is the best."""
    found = lying_on(dataset)
    return max((k for k, (name, _) in enumerate(found) if name == colour), key=lambda k: found[k][1])


def lying_on(dataset: fo.Dataset) -> list[tuple[str | None, float]]:
    """Of each instance found, the colour of what it lies on, and the IoU of their boxes."""
    sample = dataset.first()
    truth, found = sample.ground_truth.detections, sample.sam3.detections
    ious = box_iou(boxes(found), boxes(truth))
    return [(truth[row.argmax()].colour if row.max() > 0.4 else None, float(row.max())) for row in ious]


def select(page, dataset: fo.Dataset, place: int) -> None:
    """Click an instance in the opened sample, at a pixel of its mask that is deep inside."""
    sample = dataset.first()
    label = sample.sam3.detections[place]
    x, y, width, height = label.bounding_box
    rows, columns = label.mask.nonzero()
    middle = ((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2).argmin()
    x += width * (columns[middle] + 0.5) / label.mask.shape[1]
    y += height * (rows[middle] + 0.5) / label.mask.shape[0]
    canvas = page.locator(f"{MODAL} canvas").first
    page.wait_for_timeout(1500)
    box, size = canvas.bounding_box(), (sample.metadata.width, sample.metadata.height)
    scale = min(box["width"] / size[0], box["height"] / size[1])
    left, top = box["x"] + (box["width"] - scale * size[0]) / 2, box["y"] + (box["height"] - scale * size[1]) / 2
    page.mouse.move(left + x * size[0] * scale, top + y * size[1] * scale)
    page.wait_for_timeout(500)
    page.mouse.click(left + x * size[0] * scale, top + y * size[1] * scale)
    page.wait_for_timeout(500)
