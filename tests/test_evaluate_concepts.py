"""Concepts of a dataset against ground truth: which pairs count, what is written, what is refused.

Images of 20 × 10 pixels that nobody looks at; labels are rectangles of pixels.
"""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone import ViewField as F
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext

from evaluation import cgf1, count_pair, place_mask
from evaluation.concepts import evaluate_concepts, load_concept_evaluation
from evaluation.policy import EvaluationError
from zoo.engine.concepts import parse_concepts
from zoo.engine.results import ConceptResult
from zoo.ledger import Ledger, declare, write
from zoo.provenance import start_run

WIDTH, HEIGHT = 20, 10
A, B, FAR = (1, 1, 6, 6), (9, 2, 6, 6), (16, 0, 3, 3)
SETTINGS = dict(exhaustive=True, progress=False)


def label(name: str, box: tuple, confidence: float | None = None, mask: bool = True, **attributes) -> fo.Detection:
    x, y, w, h = box
    return fo.Detection(
        label=name, bounding_box=[x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT], confidence=confidence,
        mask=np.ones((h, w), bool) if mask else None, **attributes,
    )  # fmt: skip


def sample(truth: list | None, found: list | None, **fields) -> fo.Sample:
    made = fo.Sample(
        filepath=f"/nowhere/{np.random.default_rng().integers(1 << 60)}.png",
        metadata=fo.ImageMetadata(width=WIDTH, height=HEIGHT), **fields,
    )  # fmt: skip
    made["ground_truth"] = truth if truth is None else fo.Detections(detections=truth)
    made["sam3"] = found if found is None else fo.Detections(detections=found)
    return made


def asked(dataset: fo.Dataset, *concepts: str, phrases: dict | None = None, but: int | None = None) -> fo.Dataset:
    """As after a run that asked these concepts of every sample (``but`` one)."""
    ledger = Ledger("sam3")
    declare(dataset, ledger, concepts, "sam3")
    start_run(dataset, ledger, parse_concepts({c: (phrases or {}).get(c, c) for c in concepts}), {})
    for k, one in enumerate(dataset):
        if k != but:
            write(one, ledger, [ConceptResult(concept, 0.5, 0.5, (), 0, 0.5) for concept in concepts])
            one.save()
    return dataset


@pytest.fixture
def pets(new_dataset) -> fo.Dataset:
    """Found; missed and made up; nothing there; a cat that is taken for a dog."""
    return asked(
        new_dataset([
            sample([label("dog", A), label("dog", B)], [label("dog", A, 0.9), label("dog", B, 0.8)]),
            sample([label("dog", A)], [label("cat", B, 0.7), label("dog", FAR, 0.3)]),
            sample([], []),
            sample([label("Cat", A)], [label("dog", A, 0.6)]),
        ]),
        "dog", "cat",
    )  # fmt: skip


# --- numbers ---


def test_numbers_are_those_of_the_pairs(pets):
    def rles(*boxes):
        return [place_mask(np.ones((h, w), bool), (x, y), (HEIGHT, WIDTH)) for x, y, w, h in boxes]

    pairs = [
        (rles(A, B), rles(A, B), [0.9, 0.8]), (rles(A), rles(FAR), [0.3]), ([], [], []), ([], rles(A), [0.6]),
        ([], [], []), ([], rles(B), [0.7]), ([], [], []), (rles(A), [], []),
    ]  # fmt: skip
    expected = cgf1(count_pair(*pair) for pair in pairs)
    found = evaluate_concepts(pets, **SETTINGS)
    assert found.table.cgf1().to_dict() == expected.to_dict()
    assert found.report()["pairs_evaluated"] == 8 and found.notes == ()
    assert found.table.by("concept")["cat"].cgf1().IL_FP == 1
    assert set(found.table.media) == set(pets.values("id"))


def test_thresholds_by_concept(pets):
    low = evaluate_concepts(pets, threshold={"dog": 0.2, "cat": 0.9}, **SETTINGS).table.by("concept")
    assert low["dog"].cgf1().IL_FN == 0 and low["cat"].cgf1().IL_FP == 0


def test_a_threshold_below_what_was_stored_is_said(pets):
    about = dict(floor=None, confidence_thresh=0.5)
    start_run(pets, Ledger("sam3"), parse_concepts(["dog", "cat"], {"dog": 0.3}), about)
    assert evaluate_concepts(pets, threshold={"dog": 0.3, "cat": 0.6}, **SETTINGS).notes == ()
    assert evaluate_concepts(pets, threshold=0.1, **SETTINGS).notes == (
        "'dog' was stored from 0.3 on, above the threshold here: what lies between is not known",
    )


def test_boxes_instead_of_masks(new_dataset):
    halved = label("dog", A, 0.9)
    halved.mask[:, :3] = False
    dataset = asked(new_dataset([sample([label("dog", A, mask=False)], [halved])]), "dog")
    assert evaluate_concepts(dataset, use_masks=False, **SETTINGS).table.cgf1().tp.tolist() == [1] * 10
    with pytest.raises(EvaluationError, match="The labels of 'ground_truth' have no masks; use_masks=False"):
        evaluate_concepts(dataset, **SETTINGS)


def test_crowds(new_dataset):
    crowd = label("dog", B, iscrowd=True)
    inside = label("dog", (10, 3, 2, 2), 0.9)
    dataset = asked(new_dataset([sample([label("dog", A), crowd], [label("dog", A, 0.9), inside])]), "dog")
    strict = evaluate_concepts(dataset, eval_key="strict", **SETTINGS).table.cgf1()
    lenient = evaluate_concepts(dataset, eval_key="lenient", crowd="ignore", **SETTINGS).table.cgf1()
    assert (strict.fp[0], lenient.fp[0]) == (1, 0)
    one = dataset.first()
    assert [x["strict"] for x in one.sam3.detections] == ["tp", "fp"]
    assert [x.get_attribute_value("lenient", None) for x in one.sam3.detections] == ["tp", None]
    assert one.ground_truth.detections[1].get_attribute_value("strict", None) is None


def test_masks_of_another_resolution_are_scaled(new_dataset):
    coarse = label("dog", A, 0.9)
    coarse.mask = np.ones((3, 3), bool)
    dataset = asked(new_dataset([sample([label("dog", A)], [coarse])]), "dog")
    assert evaluate_concepts(dataset, **SETTINGS).table.cgf1().tp.tolist() == [1] * 10


def test_without_metadata_the_masks_say_how_large_the_image_is(pets):
    pets.clear_sample_field("metadata")
    assert evaluate_concepts(pets, **SETTINGS).table.cgf1().tp[0] == 2


def test_several_annotators(new_dataset):
    dataset = asked(
        new_dataset([
            sample([label("dog", A)], [label("dog", B, 0.9)], second=fo.Detections(detections=[label("dog", B)])),
            sample([label("dog", A)], [], second=fo.Detections()),
        ]),
        "dog",
    )
    alone = evaluate_concepts(dataset, **SETTINGS).table.cgf1()
    both = evaluate_concepts(dataset, gt_field=["ground_truth", "second"], eval_key="eval", **SETTINGS).table.cgf1()
    assert (alone.tp[0], alone.IL_FN) == (0, 1)
    assert (both.tp[0], both.IL_TP, both.IL_TN) == (1, 1, 1)
    assert dataset.count_values("second.detections.eval") == {"tp": 1}
    dataset.delete_evaluation("eval")
    assert not any("eval" in path for path in dataset.get_field_schema(flat=True))


# --- what counts ---


def test_absence_must_be_said(pets):
    for said in ({}, {"exhaustive": False}, {"exhaustive": []}):
        with pytest.raises(EvaluationError, match="What does it mean that a concept is not labelled"):
            evaluate_concepts(pets, progress=False, **said)


def test_exhaustive_for_some_concepts(pets):
    found = evaluate_concepts(pets, exhaustive=["dog"], progress=False)
    assert set(found.table.concepts) == {"dog"} and len(found.table) == 4


def test_negatives_that_people_checked(pets):
    for one, absent in zip(pets, (["cat"], [], [], ["Dog"]), strict=True):
        one["absent"] = absent
        one.save()
    found = evaluate_concepts(pets, negatives_field="absent", progress=False)
    counted = sorted(zip(found.table.concepts, (p.has_gt for p in found.table.counts), strict=True))
    assert counted == [("cat", False), ("cat", True), ("dog", False), ("dog", True), ("dog", True)]
    assert found.notes == ()


@pytest.mark.parametrize(
    "held", ["cat, bird", ["cat"], fo.Classification(label="cat"), fo.Classifications(classifications=[])]
)
def test_fields_of_negatives_of_every_kind(new_dataset, held):
    dataset = asked(new_dataset([sample([label("dog", A)], [], absent=held)]), "dog", "cat")
    found = evaluate_concepts(dataset, negatives_field="absent", progress=False).table.concepts
    assert found == (("dog",) if held == fo.Classifications(classifications=[]) else ("dog", "cat"))


def test_what_is_not_exhaustive_in_a_sample_is_left_out(pets):
    pets.set_values("partly", [["dog"], None, None, ["cat", "dog"]])
    found = evaluate_concepts(pets, not_exhaustive_field="partly", **SETTINGS)
    assert len(found.table) == 5 and found.notes == ("3 pairs are left out: partly lists them",)


def test_what_was_not_asked_is_left_out(new_dataset):
    dataset = asked(new_dataset([sample([label("dog", A)], []), sample([], [])]), "dog", but=1)
    found = evaluate_concepts(dataset, **SETTINGS)
    assert len(found.table) == 1 and found.notes == ("1 pairs are left out: the model was not asked",)


def test_no_ground_truth_is_not_empty_ground_truth(new_dataset):
    dataset = asked(new_dataset([sample(None, []), sample([], [])]), "dog")
    found = evaluate_concepts(dataset, **SETTINGS)
    assert len(found.table) == 1
    assert "1 pairs are left out: there is no ground truth (an empty Detections says" in found.notes[0]


def test_phrases_and_names(new_dataset):
    dataset = asked(
        new_dataset([sample([label("tabby", A), label("puppy", B), label("kitten", FAR, colour="red")], [])]),
        "cat", "dog", "red", phrases={"dog": ["hound", "PUPPY"]},
    )  # fmt: skip
    plain = evaluate_concepts(dataset, **SETTINGS)
    assert [p.has_gt for p in plain.table.counts] == [False, True, False]
    assert plain.notes == (
        "nowhere in what was evaluated: 'cat', 'red'. Labelled by another name? Say gt_labels={concept: name}",
    )
    named = evaluate_concepts(dataset, gt_labels={"cat": ["tabby", "kitten"], "red": F("colour") == "red"}, **SETTINGS)
    assert [int(p.fn[0]) for p in named.table.counts] == [2, 1, 1] and named.notes == ()


def test_fields_without_a_ledger(pets):
    pets.clone_sample_field("sam3", "other")
    with pytest.raises(EvaluationError, match="No ledger says what was asked of 'other': name the concepts"):
        evaluate_concepts(pets, "other", **SETTINGS)
    found = evaluate_concepts(pets, "other", concepts="dog, bird", **SETTINGS)
    assert len(found.table) == 8


# --- what is written ---


def test_labels_and_samples_are_marked(pets):
    found = evaluate_concepts(pets, eval_key="eval", **SETTINGS)
    assert [[x.get_attribute_value("eval", None) for x in one.sam3.detections] for one in pets] == [
        ["tp", "tp"], ["fp", None], [], ["fp"],
    ]  # fmt: skip
    assert [[x.eval for x in one.ground_truth.detections] for one in pets] == [["tp", "tp"], ["fn"], [], ["fn"]]
    assert [(one.eval_tp, one.eval_fp, one.eval_fn) for one in pets] == [(2, 0, 0), (0, 1, 1), (0, 0, 0), (0, 1, 1)]
    first, second = pets.first().ground_truth.detections[0], pets.first().sam3.detections[0]
    assert (first.eval_id, first.eval_iou, second.eval_id, second.eval_iou) == (second.id, 1.0, first.id, 1.0)
    assert pets.skip(3).first().ground_truth.detections[0].eval_missed == ["cat"]

    assert len(pets.match(F("eval_outcome.fp").contains("cat"))) == 1
    assert [list(one.eval_outcome.tn) for one in pets] == [["cat"], [], ["dog", "cat"], []]
    assert len(pets.filter_labels("sam3", F("eval") == "fp")) == 2
    assert pets.count("eval_error") == 0
    results = pets.load_evaluation_results("eval")
    assert results.metrics()["cgF1"] == found.report()["cgF1"]
    assert {p["lower_is_better"] for p in results.custom_metrics.values()} == {False}
    assert results.confusion_matrix(classes=["dog", "cat"], include_missing=True).tolist() == [
        [2, 0, 1], [0, 0, 1], [1, 1, 0],
    ]  # fmt: skip
    assert len(pets.to_evaluation_patches("eval")) == 7  # a pair is one; what is below the threshold, too


def test_a_label_found_as_one_concept_and_missed_as_another(new_dataset):
    dataset = asked(new_dataset([sample([label("cap", A, colour="red")], [label("cap", A, 0.9)])]), "cap", "red cap")
    names = {"red cap": F("colour") == "red"}
    evaluate_concepts(dataset, eval_key="eval", gt_labels=names, **SETTINGS)
    truth = dataset.first().ground_truth.detections[0]
    assert (truth.eval, truth.eval_missed, truth.eval_iou) == ("fn", ["red cap"], 1.0)


def test_the_run_has_all_numbers(pets):
    found = evaluate_concepts(pets, eval_key="eval", **SETTINGS)
    dataset = fo.load_dataset(pets.name)
    dataset.clear_cache()
    loaded = load_concept_evaluation(dataset, "eval")
    assert loaded.report() == found.report() and loaded.table.concepts == found.table.concepts
    assert loaded.table.intervals(resamples=20).keys() >= {"cgF1", "IL_MCC"}
    about = dataset.get_run_info("eval").config
    assert (about.pred_field, about.exhaustive, about.concepts) == ("sam3", True, ["dog", "cat"])
    with pytest.raises(EvaluationError, match=r"has no concept evaluation 'other'; it has \['eval'\]"):
        load_concept_evaluation(dataset, "other")


def test_numbers_by_group(pets):
    pets.set_values("weather", ["sun", "rain", "sun", None])
    pets.set_values("kind", [fo.Classification(label=name) for name in "aabb"])
    evaluate_concepts(pets, eval_key="eval", groups=["weather", "kind"], **SETTINGS)
    table = load_concept_evaluation(pets, "eval").table
    assert {name: len(part) for name, part in table.by("weather").items()} == {"sun": 4, "rain": 2, None: 2}
    assert table.by("kind")["a"].cgf1().tp[0] == 2 and "kind" in table.to_pandas(by=None)


def test_evaluated_again_nothing_of_before_is_left(pets):
    evaluate_concepts(pets, eval_key="eval", **SETTINGS)
    evaluate_concepts(pets, eval_key="eval", concepts=["cat"], **SETTINGS)
    assert pets.count_values("sam3.detections.eval") == {None: 4, "fp": 1}
    assert pets.list_evaluations() == ["eval"] and len(load_concept_evaluation(pets, "eval").table) == 4


def test_without_the_plugin_too_nothing_of_before_is_left(pets, monkeypatch):
    monkeypatch.setattr(foo, "operator_exists", lambda name: False)
    evaluate_concepts(pets, eval_key="eval", **SETTINGS)
    assert "cgF1" in pets.load_evaluation_results("eval").metrics()
    assert pets.count("ground_truth.detections.eval_missed") == 2
    evaluate_concepts(pets, eval_key="eval", concepts=["dog"], **SETTINGS)
    assert pets.values("ground_truth.detections.eval_missed", unwind=True) == ["dog"]
    assert pets.values("eval_outcome.tn", unwind=True) == ["dog"]


def test_renamed_and_deleted_as_fiftyone_does(pets):
    evaluate_concepts(pets, eval_key="eval", **SETTINGS)
    before = set(pets.get_field_schema(flat=True))
    pets.rename_evaluation("eval", "better")
    assert set(pets.get_field_schema(flat=True)) == {path.replace("eval", "better") for path in before}
    assert load_concept_evaluation(pets, "better").table.cgf1().tp[0] == 2
    pets.delete_evaluation("better")
    assert not any("better" in path for path in pets.get_field_schema(flat=True))
    assert pets.list_runs() == ["sam3"]


def test_a_view_is_evaluated_and_the_rest_left_alone(pets):
    found = evaluate_concepts(pets.limit(1), eval_key="eval", **SETTINGS)
    assert len(found.table) == 2 and pets.values("eval_tp") == [2, None, None, None]


def test_nothing_is_written_without_a_key(pets):
    before = set(pets.get_field_schema(flat=True))
    evaluate_concepts(pets, **SETTINGS)
    assert set(pets.get_field_schema(flat=True)) == before and pets.list_evaluations() == []


def test_a_sample_that_cannot_be_judged_costs_itself(pets):
    broken = pets.skip(1).first()
    broken.sam3.detections[0].label = "dog"
    broken.sam3.detections[0].mask = None
    broken.save()
    found = evaluate_concepts(pets, eval_key="eval", **SETTINGS)
    assert len(found.table) == 6 and found.notes == ("1 samples could not be evaluated; see eval_error",)
    assert "the 'dog' with the id" in pets.skip(1).first().eval_error and pets.count("eval_error") == 1
    assert pets.skip(1).first().eval_tp is None
    assert pets.load_evaluation_results("eval").metrics()["support"] == 3


def test_progress_is_shown_as_everywhere(pets):
    seen = []
    evaluate_concepts(pets, exhaustive=True, progress=lambda bar: seen.append((bar.iteration, bar.total)))
    assert seen[-1] == (4, 4)


# --- what is refused, before anything is stored ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(pred_field="none"), r"pred_field='none' is no field of .* it has \['ground_truth', 'sam3'\]"),
        (dict(gt_field="frames.ground_truth"), "gt_field='frames.ground_truth' is no field"),
        (dict(gt_field="metadata"), "gt_field='metadata' holds ImageMetadata; want Detections"),
        (dict(gt_field=[]), r"gt_field is \[\]; want one field"),
        (dict(concepts=["bird"]), "'bird' was never asked; asked were 'dog', 'cat'"),
        (dict(concepts=[]), "concepts is empty"),
        (dict(exhaustive=["bird"]), "exhaustive names 'bird', which is not evaluated; evaluated are 'dog', 'cat'"),
        (dict(gt_labels={"bird": "x"}), "gt_labels names 'bird'"),
        (dict(negatives_field="none"), "negatives_field='none' is not a field"),
        (dict(not_exhaustive_field="none"), "not_exhaustive_field='none' is not a field"),
        (dict(threshold={"bird": 0.5}), "threshold names 'bird', which is not evaluated"),
        (dict(threshold="high"), "the threshold of 'dog' is 'high'; want a number between 0 and 1"),
        (dict(threshold=2), "the threshold of 'dog' is 2; want a number between 0 and 1"),
        (dict(groups=["none"]), "groups names 'none', which is not a field"),
        (dict(groups="weather"), r"groups is 'weather'; want a list of fields: \['weather'\]"),
        (dict(iou=0), "iou is 0; want a number above 0"),
        (dict(crowd="drop"), r"crowd is 'drop'; want one of \['official', 'ignore'\]"),
        (dict(eval_key="sam3"), "eval_key='sam3' is the name of a run already"),
        (dict(eval_key="label"), "eval_key='label' would overwrite 'sam3.detections.label'"),
        (dict(eval_key="mask"), "eval_key='mask' would overwrite 'sam3.detections.mask'"),
        (dict(eval_key="mine"), "eval_key='mine' would overwrite 'mine_tp'"),
        (dict(eval_key="not a word"), "eval_key is 'not a word'; want a plain word"),
    ],
)
def test_what_is_wrong_is_said_before_the_run(pets, settings, message):
    pets.add_sample_field("mine_tp", fo.IntField)
    before = set(pets.get_field_schema(flat=True))
    with pytest.raises(EvaluationError, match=message):
        evaluate_concepts(pets, **{**SETTINGS, "eval_key": "eval", **settings})
    assert set(pets.get_field_schema(flat=True)) == before and pets.list_evaluations() == []


def test_an_evaluation_of_another_kind_is_not_replaced(pets):
    pets.evaluate_detections("sam3", gt_field="ground_truth", eval_key="eval", progress=False)
    with pytest.raises(EvaluationError, match="eval_key='eval' is an evaluation already .coco., which this would repl"):
        evaluate_concepts(pets, eval_key="eval", **SETTINGS)


def test_other_collections_are_refused(pets, new_dataset):
    with pytest.raises(EvaluationError, match="PatchesView cannot be evaluated"):
        evaluate_concepts(pets.to_patches("sam3"), **SETTINGS)
    with pytest.raises(EvaluationError, match="There are no samples to evaluate"):
        evaluate_concepts(pets.limit(0), **SETTINGS)
    with pytest.raises(EvaluationError, match="samples is 'pets'; want a dataset or a view"):
        evaluate_concepts("pets", **SETTINGS)


# --- operators ---


def test_the_operator_from_python(pets):
    operator = foo.get_operator("@concepts/sam3/evaluate_concepts")
    found = operator(pets, eval_key="eval", exhaustive=True, progress=False)
    operator(pets, exhaustive=True, concepts=["cat"], progress=False)  # without a key, nothing is stored
    assert found.report()["cgF1"] == load_concept_evaluation(pets, "eval").report()["cgF1"]


def test_the_operator_as_the_app_runs_it(pets):
    params = dict(pred_field="sam3", gt_field="ground_truth", eval_key="eval", absence="exhaustive",
                  gt_labels=["cat = Cat", "dog"], view_target="DATASET")  # fmt: skip
    result = foo.execute_operator("@concepts/sam3/evaluate_concepts", dict(dataset=pets, params=params))
    messages = [r.params.get("message") for r in result.executor._requests if r.operator_uri.endswith("notify")]
    assert messages and messages[-1].startswith("cgF1 ")
    assert any(r.operator_uri.endswith("open_panel") for r in result.executor._requests)
    assert len(load_concept_evaluation(pets, "eval").table) == 8


def test_the_operator_delegated(pets):
    operator = foo.get_operator("@concepts/sam3/evaluate_concepts")
    pets.persistent = True
    with pytest.raises(ValueError, match="Say eval_key="):
        operator(pets, delegate=True, exhaustive=["dog"])
    operator(pets, eval_key="eval", delegate=True, exhaustive=["dog"])
    DelegatedOperationService().execute_queued_operations()
    assert set(load_concept_evaluation(pets, "eval").table.concepts) == {"dog"}


def test_the_form_says_what_is_wrong(pets):
    uri = "@concepts/sam3/evaluate_concepts"

    def form(**params):
        params = dict(pred_field="sam3", gt_field="ground_truth", eval_key="eval", **params)
        ctx = ExecutionContext(request_params=dict(dataset_name=pets.name, params=params), operator_uri=uri)
        return foo.get_operator(uri).resolve_input(ctx).type.properties

    assert not any(field.invalid for field in form(absence="exhaustive").values())
    assert form(absence="some", exhaustive=["bird"])["gt_field"].error_message.startswith("exhaustive names 'bird'")
    assert form(absence="field", negatives_field="none")["gt_field"].invalid
    assert "negatives_field" in form(absence="field") and "negatives_field" not in form(absence="exhaustive")
    assert {"concepts", "threshold", "iou"} <= form(absence="exhaustive", more=True).keys()
    assert form()["pred_field"].type.values == ["ground_truth", "sam3"]


def test_metrics_of_fields_without_a_ledger(new_dataset):
    dataset = new_dataset([sample([label("Cat", A)], [label("cat", A, 0.9)]), sample([label("dog", A)], [])])
    results = dataset.evaluate_detections(
        "sam3", gt_field="ground_truth", eval_key="coco", use_masks=True, progress=False,
        custom_metrics=["@concepts/sam3/cgf1"],
    )  # fmt: skip
    expected = evaluate_concepts(dataset, concepts=["cat", "dog"], **SETTINGS).report()
    assert results.metrics()["cgF1"] == expected["cgF1"] > 0


def test_metrics_of_fiftyones_own_evaluations(pets):
    ours = evaluate_concepts(pets, **SETTINGS).report()
    uris = [f"@concepts/sam3/{name}" for name in ("cgf1", "pmf1", "il_mcc")]
    results = pets.evaluate_detections(
        "sam3", gt_field="ground_truth", eval_key="coco", use_masks=True, custom_metrics=uris, progress=False
    )
    for name in ("cgF1", "pmF1", "IL_MCC"):
        assert results.metrics()[name] == ours[name]
    assert all(not metric["lower_is_better"] for metric in results.custom_metrics.values())
    pets.delete_evaluation("coco")
    assert not any("coco" in path for path in pets.get_field_schema(flat=True))
