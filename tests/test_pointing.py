"""What a person does with a few labels: they are drawn anew, a concept is asked again with them, everything is masked.

All of it on the tiny checkpoint, from Python and through the operators, and taken back.
"""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone import ViewField as F
from fiftyone.operators.executor import ExecutionContext

from curation.again import ask_again
from curation.changes import recorded_changes, undo_change
from curation.errors import CurationError
from curation.refine import refine_labels
from curation.things import segment_everything
from emoji_world.dataset import build_scenes
from zoo.provenance import run_info
from zoo.source import load_model

PLUGIN = "@concepts/sam3"
#: of two scenes there are two colours of a noun, of one there are none
SEEDS = (600_078, 600_019, 600_002)
ASKED = ("cap", "book")
COARSE = dict(points_per_side=5, pred_iou_thresh=0.4, stability_score_thresh=0.4)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    dataset = build_scenes("pointing", tmp_path_factory.mktemp("scenes"), SEEDS)
    model = load_model("concepts/sam3-tiny-image", classes=list(ASKED), thresholds={"book": 0.4}, floor=0.3)
    dataset.apply_model(model, label_field="sam3", progress=False)
    yield dataset
    dataset.delete()


@pytest.fixture
def scenes(made):
    dataset = made.clone(persistent=True)
    yield dataset
    dataset.delete()


def stored(dataset: fo.Dataset) -> list[dict]:
    """Samples as they lie in the database; and which fields there are."""
    dataset.reload()
    fields = [f for f in dataset.get_field_schema() if f not in ("last_modified_at", "created_at")]
    return [{f: s.to_mongo_dict().get(f) for f in fields} for s in dataset]


def labels_of(dataset: fo.Dataset, name: str, field: str = "ground_truth", **wanted: str) -> list[fo.Detection]:
    """The labels of a name, in the first scene that has some; with an attribute that is as wanted."""
    dataset.reload()
    for sample in dataset:
        found = [d for d in sample[field].detections if d.label == name]
        if found:
            return [d for d in found if all(d[key] == value for key, value in wanted.items())]
    return []


def overlap(a: fo.Detection, b: fo.Detection) -> float:
    """Intersection over union of two masks of one image of 640 × 640 and more pixels."""
    canvas = []
    for label in (a, b):
        x, y, w, h = label.bounding_box
        mask = np.zeros((400, 400), bool)
        rows, columns = np.mgrid[0:400, 0:400]
        inside_x, inside_y = ((columns + 0.5) / 400 - x) / w, ((rows + 0.5) / 400 - y) / h
        inside = (inside_x >= 0) & (inside_x < 1) & (inside_y >= 0) & (inside_y < 1)
        height, width = label.mask.shape
        mask[inside] = label.mask[
            (inside_y[inside] * height).astype(int).clip(0, height - 1),
            (inside_x[inside] * width).astype(int).clip(0, width - 1),
        ]
        canvas.append(mask)
    return float((canvas[0] & canvas[1]).sum() / max(1, (canvas[0] | canvas[1]).sum()))


# ---------------------------------------------------------------------------------------------------------- refining


def test_boxes_get_masks_in_place_and_stay_what_they_were(scenes):
    truth = [d for s in scenes for d in s.ground_truth.detections]
    for sample in scenes.iter_samples(autosave=True):
        for label in sample.ground_truth.detections:
            label.mask = None
    before = stored(scenes)
    change = refine_labels(scenes, "ground_truth", progress=False)
    assert (change.changed, change.added, change.removed) == (len(truth), 0, 0)
    scenes.reload()
    drawn = [d for s in scenes for d in s.ground_truth.detections]
    assert [(d.id, d.label, d.bounding_box, d.colour) for d in drawn] == [
        (d.id, d.label, d.bounding_box, d.colour) for d in truth
    ]
    assert np.mean([overlap(a, b) for a, b in zip(drawn, truth, strict=True)]) > 0.7
    assert all(0 <= d.quality <= 1 for d in drawn)
    assert "ground_truth.detections.quality" in scenes.get_field_schema(flat=True)
    undo_change(scenes)
    assert stored(scenes) == before


def test_only_the_labels_that_are_named_are_drawn(scenes):
    before = stored(scenes)
    one = labels_of(scenes, "cap", "sam3")[0]
    change = refine_labels(scenes, "sam3", [one.id], boxes="fit", choice="largest", progress=False)
    assert (change.samples, change.changed, change.fields) == (1, 1, ("sam3",))
    scenes.reload()
    again = {d.id: d for d in scenes[scenes.match_labels(ids=[one.id]).first().id].sam3.detections}[one.id]
    assert (again.label, again.confidence, again.presence) == (one.label, one.confidence, one.presence)
    assert again.mask.shape != one.mask.shape or (again.mask != one.mask).any()
    rest = [d for row in stored(scenes) for d in row["sam3"]["detections"] if str(d["_id"]) != one.id]
    assert rest == [d for row in before for d in row["sam3"]["detections"] if str(d["_id"]) != one.id]


def test_labels_join_another_field_and_replace_only_themselves_there(scenes):
    caps = labels_of(scenes, "cap")
    refine_labels(scenes, "ground_truth", [caps[0].id], into="masks", progress=False)
    change = refine_labels(scenes, "ground_truth", [d.id for d in caps], into="masks", progress=False)
    assert change.added == len(caps) - 1 and change.removed == 0
    scenes.reload()
    assert scenes.distinct("masks.detections.id") == sorted(d.id for d in caps)
    undo_change(scenes)
    undo_change(scenes)
    assert "masks" not in scenes.get_field_schema()


def test_points_become_masks_in_a_field_of_their_own(scenes):
    cap = labels_of(scenes, "cap", colour="yellow")[-1]
    rows, columns = cap.mask.nonzero()
    middle = ((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2).argmin()
    x, y, w, h = cap.bounding_box
    point = [x + w * (columns[middle] + 0.5) / cap.mask.shape[1], y + h * (rows[middle] + 0.5) / cap.mask.shape[0]]
    sample = scenes.match_labels(ids=[cap.id]).first()
    sample = scenes[sample.id]
    sample["clicks"] = fo.Keypoints(keypoints=[fo.Keypoint(label="cap", points=[point])])
    sample.save()
    with pytest.raises(CurationError, match="'clicks' holds points, and masks have no place there: say into="):
        refine_labels(scenes, "clicks", progress=False)
    refine_labels(scenes, "clicks", into="masks", progress=False)
    scenes.reload()
    (drawn,) = scenes[sample.id].masks.detections
    assert drawn.label == "cap" and drawn.id == sample.clicks.keypoints[0].id and overlap(drawn, cap) > 0.4


def test_a_sample_and_a_label_that_cannot_be_drawn_cost_themselves(scenes, tmp_path):
    first, second, _ = scenes
    path, first.filepath = first.filepath, str(tmp_path / "gone.jpg")
    box = second.ground_truth.detections[0].bounding_box
    second.ground_truth.detections[0].bounding_box = [0.5, 0.5, 0.0, 0.1]
    first.save()
    second.save()
    before = stored(scenes)
    change = refine_labels(scenes, "ground_truth", progress=False)
    assert change.samples == 2 and change.what.endswith("; 2 samples failed, see sam3_error")
    assert change.changed == sum(len(s.ground_truth.detections) for s in list(scenes)[1:]) - 1
    after = stored(scenes)
    assert after[0]["ground_truth"] == before[0]["ground_truth"]
    assert after[1]["ground_truth"]["detections"][0] == before[1]["ground_truth"]["detections"][0]
    reasons = scenes.values("sam3_error")
    assert "gone.jpg does not exist" in reasons[0] and "A box must have an area" in reasons[1] and reasons[2] is None
    first, second, _ = scenes
    first.filepath, second.ground_truth.detections[0].bounding_box = path, box
    first.save()
    second.save()
    refine_labels(scenes, "ground_truth", progress=False)
    scenes.reload()
    assert scenes.values("sam3_error") == [None] * 3, "what went well clears what went wrong before"


@pytest.mark.parametrize(("said", "words"), [
    (dict(label_field="nothing"), "'nothing' is no field of boxes or points"),
    (dict(label_field="frames.boxes"), "Labels of frames are drawn by tracking them"),
    (dict(labels=["cap"]), "'cap' is no id of a label"),
    (dict(labels=["0" * 24]), "is no label of 'ground_truth' in these samples"),
    (dict(labels="0" * 24), "labels must be a list of ids"),
    (dict(labels=[]), "no label is chosen"),
    (dict(into="filepath"), "into='filepath' holds"),
    (dict(into="two words"), "must be the name of a field"),
    (dict(boxes="shrink"), "boxes must be one of 'keep', 'fit', got 'shrink'"),
    (dict(choice="any"), "choice must be one of"),
])  # fmt: skip
def test_what_cannot_be_refined_is_refused_before_anything_changes(scenes, said, words):
    before = stored(scenes)
    with pytest.raises(CurationError, match=words):
        refine_labels(scenes, **dict(dict(label_field="ground_truth", progress=False), **said))
    assert stored(scenes) == before and not recorded_changes(scenes)


# ------------------------------------------------------------------------------------------------------- asking again


def test_a_concept_is_asked_again_as_it_was_and_with_what_is_shown(scenes):
    before, record = stored(scenes), run_info(scenes)["concepts"]
    book = labels_of(scenes, "book", colour="blue")[0]
    change = ask_again(scenes, "Book", {book.id: True}, progress=False)
    assert change.what == "'book' asked again with 1 example" and set(change.fields) == {"sam3", "sam3_marks"}
    after, entry = stored(scenes), run_info(scenes)["concepts"]["book"]
    assert sum(was["sam3"] != now["sam3"] for was, now in zip(before, after, strict=True)) == 1
    for was, now in zip(before, after, strict=True):
        caps = [[d for d in row["sam3"]["detections"] if d["label"] == "cap"] for row in (was, now)]
        assert caps[0] == caps[1] and was["sam3_presence"]["cap"] == now["sam3_presence"]["cap"]
    assert (entry["phrases"], entry["threshold"], entry["floor"]) == (["book"], 0.4, 0.3)
    assert entry["prompts"]["box_prompt_field"] == "sam3_marks" and entry["prompts"]["exemplars_of"] == ["book"]
    (mark,) = scenes.exists("sam3_marks").first().sam3_marks.detections
    assert (mark.label, mark.sam_label, mark.bounding_box) == ("book", True, book.bounding_box)
    undo_change(scenes)
    assert stored(scenes) == before and run_info(scenes)["concepts"] == record


def test_marks_add_up_and_the_last_word_counts(scenes):
    one, two = labels_of(scenes, "cap", colour="yellow")[0], labels_of(scenes, "cap", colour="green")[0]
    ask_again(scenes, "cap", {one.id: True}, progress=False)
    ask_again(scenes, "cap", {two.id: True}, progress=False)
    ask_again(scenes, "cap", {two.id: False}, progress=False)
    ask_again(scenes, "book", {one.id: False}, progress=False)  # another concept's marks are not this one's
    scenes.reload()
    marks = scenes.exists("sam3_marks").first().sam3_marks.detections
    assert [(m.label, m.sam_label) for m in marks] == [("cap", True), ("cap", False), ("book", False)]
    for _ in range(4):
        undo_change(scenes)
    assert "sam3_marks" not in scenes.get_field_schema()


def test_what_is_shown_in_one_image_is_looked_for_in_others(scenes):
    cap = labels_of(scenes, "cap", colour="yellow")[0]
    change = ask_again(scenes, "cap", {cap.id: True}, elsewhere=True, progress=False)
    assert "exemplars" in run_info(scenes)["concepts"]["cap"]["prompts"]
    assert None not in scenes.values("sam3_presence.cap")
    assert recorded_changes(scenes) == [change]


def test_something_new_is_shown_without_a_word(scenes):
    cap = labels_of(scenes, "cap", colour="green")[0]
    with pytest.raises(CurationError, match="only counter-examples of 'that' .* and no words are asked"):
        ask_again(scenes, "that", {cap.id: False}, alone=True, progress=False)
    ask_again(scenes, "that", {cap.id: True}, alone=True, progress=False)
    scenes.reload()
    assert len(scenes.exists("sam3_presence.that")) == 1 and run_info(scenes)["concepts"]["that"]["phrases"] == []
    found = scenes.exists("sam3_presence.that").first().sam3.detections
    assert max((overlap(d, cap) for d in found if d.label == "that"), default=0) > 0.5


@pytest.mark.parametrize(("concept", "examples", "settings", "words"), [
    ("", {"0" * 24: True}, {}, "concept='': A concept must hold at least one word"),
    ("cap", {}, {}, "examples must map ids of labels to True or False"),
    ("cap", {"cap": True}, {}, "'cap' is no id of a label"),
    ("cap", {"0" * 24: "yes"}, {}, "is True, an example, or False, a counter-example: got 'yes'"),
    ("cap", {"0" * 24: True}, {}, "is no label of these samples"),
    ("cap", {"first": True}, dict(marks_field="filepath"), "marks_field='filepath' holds"),
    ("cap", {"first": True}, dict(marks_field="ground_truth"), "holds labels that are no marks"),
    ("cap", {"first": True}, dict(label_field="ground_truth"), "already holds Detections that this model did not make"),
    ("cap", {"first": True}, dict(label_field="sam4"), "label_field='sam4' holds no instances"),
    ("cap", {"first": True}, dict(nonsense=1), "has no setting 'nonsense'"),
])  # fmt: skip
def test_what_cannot_be_asked_again_is_refused_before_anything_changes(scenes, concept, examples, settings, words):
    before = stored(scenes)
    first = labels_of(scenes, "cap")[0].id
    with pytest.raises(CurationError, match=words):
        ask_again(scenes, concept, {first if k == "first" else k: v for k, v in examples.items()},
                  **settings, progress=False)  # fmt: skip
    assert stored(scenes) == before and not recorded_changes(scenes)
    with pytest.raises(CurationError, match="is no label of these samples"):
        ask_again(scenes.limit(0), "cap", {first: True}, progress=False)


def test_the_same_thing_cannot_be_meant_and_not_meant(scenes):
    cap = labels_of(scenes, "cap")[0]
    sample = scenes[scenes.match_labels(ids=[cap.id]).first().id]
    sample["copy"] = fo.Detections(detections=[fo.Detection(label="cap", bounding_box=cap.bounding_box)])
    sample.save()
    twin = sample.copy.detections[0] if not callable(sample.copy) else sample["copy"].detections[0]
    ask_again(scenes, "cap", {cap.id: True, twin.id: False}, progress=False)
    scenes.reload()
    (mark,) = scenes[sample.id].sam3_marks.detections  # the last word counts
    assert mark.sam_label is False


# ---------------------------------------------------------------------------------------------------------- everything


def test_everything_is_masked_and_taken_back(scenes):
    before = stored(scenes)
    change = segment_everything(scenes, **COARSE, progress=False)
    assert change.added == scenes.count("things.detections") > len(scenes)
    truth = [[d for d in s.ground_truth.detections] for s in scenes]
    found = [[d for d in s.things.detections] for s in scenes]
    best = [max(overlap(d, t) for d in some) for some, them in zip(found, truth, strict=True) for t in them]
    assert np.mean(np.array(best) > 0.5) > 0.5, "most things of a scene are among all that is masked"
    assert scenes.distinct("things.detections.label") == []
    assert {"things.detections.quality", "things.detections.stability"} <= set(scenes.get_field_schema(flat=True))
    undo_change(scenes)
    assert stored(scenes) == before


@pytest.mark.parametrize(("said", "words"), [
    (dict(label_field="ground_truth"), "holds something else already"),
    (dict(label_field="all things"), "must be a plain word"),
    (dict(points_per_side=0), "points_per_side must be a whole number of at least 1"),
    (dict(pred_iou_thresh=2), "pred_iou_thresh"),
    (dict(batch_size=0), "batch_size must be"),
])  # fmt: skip
def test_what_cannot_be_masked_is_refused(scenes, said, words):
    with pytest.raises(CurationError, match=words):
        segment_everything(scenes, progress=False, **said)
    with pytest.raises(CurationError, match="There is nothing to look at"):
        segment_everything(scenes.limit(0), progress=False)
    assert "things" not in scenes.get_field_schema()


# ----------------------------------------------------------------------------------------------------------- operators


def selected(dataset: fo.Dataset, chosen: list[fo.Detection], field: str) -> list[dict]:
    """Labels as the App says that they are selected."""
    ids = {d.id for d in chosen}
    return [
        dict(label_id=d.id, sample_id=s.id, field=field, frame_number=None)
        for s in dataset if s[field] is not None for d in s[field].detections if d.id in ids
    ]  # fmt: skip


def form(
    dataset: fo.Dataset, name: str, chosen: list[fo.Detection] = (), field: str = "sam3", **params
) -> dict:
    labels = selected(dataset, chosen, field)
    request = dict(dataset_name=dataset.name, params=params, selected_labels=labels)
    ctx = ExecutionContext(request_params=request, operator_uri=f"{PLUGIN}/{name}")
    return foo.get_operator(ctx.operator_uri).resolve_input(ctx).type.properties


def run(
    dataset: fo.Dataset, name: str, chosen: list[fo.Detection] = (), field: str = "sam3", **params
) -> list[str]:
    """Executes as the App does; what it is told."""
    ctx = dict(dataset=dataset, selected_labels=selected(dataset, chosen, field))
    result = foo.execute_operator(f"{PLUGIN}/{name}", ctx, params=params)
    return [r.params["message"] for r in result.executor._requests if "message" in (r.params or {})]


def problems(fields: dict) -> list[str]:
    return [p.error_message for p in fields.values() if p.invalid]


def test_the_form_asks_of_each_selected_label_what_it_is(scenes):
    assert problems(form(scenes, "ask_again")) == [
        "Select labels first: open a sample and click them, then run this again"
    ]
    caps = labels_of(scenes, "cap", "sam3")[:2]
    fields = form(scenes, "ask_again", caps)
    assert fields["concept"].default == "cap" and problems(fields) == []
    asked = [fields[f"sign_{d.id}"] for d in caps]
    assert all(one.default == "example" and one.view.label.startswith("cap 0.") for one in asked)
    wrong = form(scenes, "ask_again", caps, concept="that", alone=True, **{f"sign_{d.id}": "counter" for d in caps})
    assert "only counter-examples of 'that'" in problems(wrong)[0]
    nothing = form(scenes, "ask_again", caps, **{f"sign_{d.id}": "none" for d in caps})
    assert "examples must map" in problems(nothing)[0]


def test_selected_labels_ask_again_and_the_change_is_undone(scenes):
    before = stored(scenes)
    one, two = labels_of(scenes, "cap", "sam3")[:2]
    told = run(scenes, "ask_again", [one, two], concept="cap", **{f"sign_{two.id}": "counter"})
    assert any("'cap' asked again with 1 example and 1 counter-example" in message for message in told)
    scenes.reload()
    marks = scenes.exists("sam3_marks").first().sam3_marks.detections
    assert {m.sam_label for m in marks} == {True, False}
    (change,) = recorded_changes(scenes)
    assert form(scenes, "undo_change")["key"].default == change.key
    assert run(scenes, "undo_change", key=change.key) == [f"Undone: {change.what}"]
    assert stored(scenes) == before
    assert problems(form(scenes, "undo_change")) == ["No change is recorded in this dataset: there is nothing to undo"]


def test_selected_labels_are_refined_and_others_are_not(scenes):
    one = labels_of(scenes, "cap")[0]
    fields = form(scenes, "refine_labels", [one], "ground_truth")
    assert fields["label_field"].default == "ground_truth" and "view_target" not in fields and problems(fields) == []
    run(scenes, "refine_labels", [one], "ground_truth", label_field="ground_truth", into="masks")
    assert scenes.count("masks.detections") == 1
    fields = form(scenes, "refine_labels")
    assert fields["label_field"].default == "ground_truth" and "view_target" in fields
    assert "into='filepath' holds" in problems(form(scenes, "refine_labels", into="filepath"))[0]


def test_everything_from_the_form_and_from_python(scenes):
    fields = form(scenes, "segment_everything")
    assert problems(fields) == [] and fields["points_per_side"].default == 12  # of the tiny checkpoint
    assert form(scenes, "segment_everything", checkpoint="facebook/sam3")["points_per_side"].default == 32
    assert problems(form(scenes, "segment_everything", label_field="ground_truth"))
    run(scenes, "segment_everything", **COARSE)
    assert scenes.count("things.detections") > 0
    change = foo.get_operator(f"{PLUGIN}/segment_everything")(scenes.limit(1), label_field="more", **COARSE)
    assert change.samples == 1 and scenes.count("more.detections") == change.added
    assert str(undo_change(scenes)) == str(change)


def test_regions_from_the_form_and_from_python(scenes):
    fields = form(scenes, "segment_regions")
    assert fields["label_field"].default == "regions" and problems(fields) == []
    assert "is given twice" in problems(form(scenes, "segment_regions", classes=["cap", "Cap"]))[0]
    told = run(scenes, "segment_regions", classes=["cap", "backpack"], ledger="areas")
    assert told == ["Regions of 2 concepts in 3 samples"]
    scenes.reload()
    assert scenes.mask_targets["regions"] == {1: "cap", 2: "backpack"}
    assert {1, 2} <= set(np.unique(scenes.first().regions.mask)) and None not in scenes.values("areas_presence.cap")
    call = foo.get_operator(f"{PLUGIN}/segment_regions")
    assert call(scenes.limit(1), "cap", label_field="more", ledger="areas").error is None
    assert len(scenes.exists("more")) == 1


def test_operators_are_called_from_python_with_labels_by_id(scenes):
    one = labels_of(scenes, "book")[0]
    refined = foo.get_operator(f"{PLUGIN}/refine_labels")(scenes, label_field="ground_truth", labels=[one.id])
    again = foo.get_operator(f"{PLUGIN}/ask_again")(scenes, concept="book", examples={one.id: True})
    assert refined.changed == 1 and again.what == "'book' asked again with 1 example"
    view = scenes.match(F("ground_truth.detections.label").contains(["book"]))
    assert len(view) and foo.get_operator(f"{PLUGIN}/undo_change")(view) == again
    with pytest.raises(TypeError, match="ask_again: missing a required argument: 'examples'"):
        foo.get_operator(f"{PLUGIN}/ask_again")(scenes, concept="book")
    with pytest.raises(ValueError, match="no field of boxes"):  # the plugin's CurationError is a class of its own
        foo.get_operator(f"{PLUGIN}/refine_labels")(scenes, label_field="nothing")
