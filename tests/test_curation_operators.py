"""The operators of curation without a browser: forms, runs, delegated and from Python; and swapped phrases."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext, ExecutionError
from fiftyone.operators.registry import OperatorRegistry

from curation.answers import asked_concepts, thresholds_of
from curation.errors import CurationError
from curation.hard_negatives import find_hard_negatives, load_hard_negatives
from curation.label_errors import find_label_errors, load_label_errors
from curation.policies import applied_policies
from curation.presence import present, where
from curation.swaps import ask_swaps
from curation.thresholds import load_thresholds
from emoji_world.dataset import GT_LABELS, SENSES, build_dataset
from emoji_world.faults import plant_faults
from zoo.source import load_model

PLUGIN = "@concepts/sam3"
ASKED = ("cap", "red cap", "blue cap", "red fire truck", "bat", "cricket bat", "mouse", "computer mouse", "dog", "fox")
KNOWN = dict(exhaustive=True, gt_labels={name: said for name, said in GT_LABELS.items() if name in ASKED})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    dataset = build_dataset("curation-operators", tmp_path_factory.mktemp("scenes"), count=24)
    model = load_model("concepts/sam3-tiny-image", classes=list(ASKED), floor=0.05)
    dataset.apply_model(model, label_field="sam3", batch_size=8, progress=False)
    plant_faults(dataset, "labels", nouns=["cap", "fire truck", "bat", "cricket bat", "mouse", "dog", "fox"])
    yield dataset
    dataset.delete()


@pytest.fixture
def scenes(made):
    """A copy with everything, the ledger's record included."""
    dataset = made.clone(persistent=True)
    yield dataset
    dataset.delete()


def form(dataset: fo.Dataset, name: str, **params) -> dict:
    uri = f"{PLUGIN}/{name}"
    ctx = ExecutionContext(request_params=dict(dataset_name=dataset.name, params=params), operator_uri=uri)
    return foo.get_operator(uri).resolve_input(ctx).type.properties


def run(dataset: fo.Dataset, name: str, **params):
    return foo.execute_operator(f"{PLUGIN}/{name}", dict(dataset=dataset), params=params)


def notices(result) -> list[str]:
    return [r.params["message"] for r in result.executor._requests if "message" in (r.params or {})]


def problems(fields: dict) -> list[str]:
    return [p.error_message for p in fields.values() if p.invalid]


def test_every_operator_and_the_panel_are_registered():
    registry = OperatorRegistry()
    assert registry.list_errors() == []
    names = (
        "query_presence", "find_hard_negatives", "find_label_errors", "find_confusions", "settle_confusion",
        "undo_policy", "pick_thresholds", "verify_presence", "concepts",
    )  # fmt: skip
    assert [name for name in names if not registry.can_execute(f"{PLUGIN}/{name}")] == []


def test_a_combination_becomes_a_saved_view(scenes):
    result = run(scenes, "query_presence", present=["cap"], absent=["dog"], save_as="caps, no dogs")
    wanted = where(scenes, present=["cap"], absent=["dog"])
    assert result.result == {"samples": len(wanted)} and len(wanted) > 0
    scenes.reload()
    assert scenes.load_saved_view("caps, no dogs").values("id") == wanted.values("id")


def test_one_concept_at_a_threshold(scenes):
    result = run(scenes, "query_presence", query="present", concepts=["cap"], threshold=0.9)
    assert result.result["samples"] == len(present(scenes, "cap", threshold=0.9))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (dict(query="present", concepts=["hat"]), "'hat' was not asked of this dataset"),
        (dict(present=["cap"], absent=["cap"]), "cannot be in two of"),
    ],
)
def test_a_query_that_means_nothing_is_refused_in_the_form(scenes, params, words):
    assert any(words in problem for problem in problems(form(scenes, "query_presence", **params)))
    with pytest.raises(ExecutionError, match=words):
        run(scenes, "query_presence", **params).raise_exceptions()


def test_label_errors_are_found_and_told(scenes):
    said = dict(label_field="sam3", gt_field="labels", absence="exhaustive", key="errors")
    assert problems(form(scenes, "find_label_errors", **said)) == []
    result = run(scenes, "find_label_errors", **said)
    scenes.reload()
    found = load_label_errors(scenes, "errors")
    assert found.errors and notices(result)[-1].startswith("Label errors: ")
    assert found.counts == find_label_errors(
        scenes, "sam3", "labels", None, exhaustive=True, progress=False
    ).counts


def test_a_delegated_run_finds_the_same(scenes):
    operator = foo.get_operator(f"{PLUGIN}/find_label_errors")
    at_once = operator(scenes, label_field="sam3", gt_field="labels", key=None, exhaustive=True, progress=False)
    operator(scenes, label_field="sam3", gt_field="labels", key="later", exhaustive=True, delegate=True)
    DelegatedOperationService().execute_queued_operations()
    scenes.reload()
    assert load_label_errors(scenes, "later").counts == at_once.counts


def test_a_form_that_says_nothing_about_absence_is_refused(scenes):
    with pytest.raises(ExecutionError, match="Path: absence. Reason: Required property"):
        run(scenes, "find_label_errors", label_field="sam3", gt_field="labels").raise_exceptions()


def test_senses_are_shown_and_chosen_in_the_form(scenes):
    said = dict(label_field="sam3", gt_field="ground_truth", absence="exhaustive")
    fields = form(scenes, "find_hard_negatives", **said)
    assert "choose_senses" in fields and "mouse" in fields["choose_senses"].view.description
    fields = form(scenes, "find_hard_negatives", **said, choose_senses=True)
    ambiguous = fields["ambiguous"].default
    choices = fields[f"sense_{ambiguous.index('mouse')}"].view.choices
    assert any("rodent" in choice.label for choice in choices) and any("device" in choice.label for choice in choices)
    chosen = {f"sense_{k}": SENSES.get(name, "none") for k, name in enumerate(ambiguous)}
    result = run(
        scenes, "find_hard_negatives", **said, choose_senses=True, ambiguous=ambiguous, key="hard", per_concept=5,
        **chosen,
    )  # fmt: skip
    scenes.reload()
    found = load_hard_negatives(scenes, "hard")
    assert not found.ambiguous and max(found.counts.values(), default=0) <= 5
    (note,) = found.notes  # the labels say neither what is red nor what is blue
    assert note.startswith("No label means 'red cap', 'blue cap', 'red fire truck': they count as absent.")
    assert notices(result)[-1] == f"{len(found)} hard negatives of {len(found.counts)} concepts. {note}"


def test_swapped_phrases_are_asked_where_there_is_something_to_swap(scenes):
    steps = list(ask_swaps(scenes, "sam3", concepts=["red cap", "red fire truck"], limit=2))
    new = [name for name in asked_concepts(scenes) if name not in ASKED]
    assert new == ["green cap", "blue fire truck", "green fire truck"]
    caps = scenes.match((fo.ViewField("sam3_presence.red cap") >= 0.5) | (
        fo.ViewField("sam3_presence.red fire truck") >= 0.5
    ))  # fmt: skip
    assert steps[-1].done == len(caps) > 0
    assert scenes.exists("sam3_presence.green cap").values("id") == caps.values("id"), "and nowhere else"
    found = find_hard_negatives(
        scenes, "sam3", "ground_truth", None, sources=["swap"], progress=False, exhaustive=True,
        gt_labels=dict(KNOWN["gt_labels"], **{
            name: (fo.ViewField("label") == name.split(" ", 1)[1]) & (fo.ViewField("colour") == name.split(" ", 1)[0])
            for name in new
        }),
    )  # fmt: skip
    assert all(one.sources == ("swap",) for one in found.found)
    assert list(ask_swaps(scenes, "sam3", concepts=["red cap", "red fire truck"], limit=2))[-1].total == 0, "asked once"


def test_nothing_to_swap_is_said(scenes):
    with pytest.raises(CurationError, match="No concept has an attribute that can be swapped"):
        next(ask_swaps(scenes, "sam3", concepts=["dog"]))


def test_a_confusion_is_settled_and_undone(scenes):
    before = scenes.count_values("sam3.detections.label")
    assert problems(form(scenes, "undo_policy")) == ["Nothing was settled in this dataset: there is nothing to undo"]
    run(scenes, "find_confusions", label_field="sam3", key="mixed")
    said = dict(first="cap", second="red cap", policy="relabel", parent="headgear")
    done = run(scenes, "settle_confusion", label_field="sam3", **said).result
    scenes.reload()
    assert scenes.count_values("sam3.detections.label")["headgear"] == done["changed"]
    assert done["key"] in [one.key for one in applied_policies(scenes)]
    run(scenes, "undo_policy", key=done["key"])
    scenes.reload()
    assert scenes.count_values("sam3.detections.label") == before and applied_policies(scenes) == []


def test_thresholds_are_picked_and_put_into_effect(scenes):
    said = dict(gt_field="ground_truth", absence="exhaustive")
    assert problems(form(scenes, "pick_thresholds", **said)) == []
    result = run(scenes, "pick_thresholds", **said, goal="f1", apply=True)
    scenes.reload()
    assert "expected calibration error" in result.result["text"]
    points = load_thresholds(scenes).points
    assert points.items() <= thresholds_of(scenes).items()
    assert scenes.bounds("sam3_calibrated.cap")[1] <= 1


def test_what_was_verified_teaches_thresholds(scenes):
    with pytest.raises(ExecutionError, match="Nothing is known about these samples"):
        run(scenes, "pick_thresholds").raise_exceptions()
    for verdict, view in (("present", present(scenes, "cap")), ("absent", scenes.limit(0))):
        if len(view):
            params = dict(concept="cap", verdict=verdict, view_target="CURRENT_VIEW")
            foo.execute_operator(f"{PLUGIN}/verify_presence", dict(view=view), params=params)
    scenes.reload()
    assert scenes.count_values("sam3_verified.cap")[True] == len(present(scenes, "cap"))
    text = run(scenes, "pick_thresholds", apply=False).result["text"]
    assert "too few" in text and "review" in text


@pytest.mark.parametrize("name", ["find_label_errors", "find_hard_negatives", "find_confusions", "pick_thresholds"])
def test_a_dataset_without_a_ledger_is_told_how_to_make_one(new_dataset, name):
    plain = new_dataset([fo.Sample(
        filepath="/nowhere/1.png", sam3=fo.Detections(detections=[]), ground_truth=fo.Detections(detections=[])
    )])  # fmt: skip
    params = dict(label_field="sam3", gt_field="ground_truth", absence="exhaustive")
    with pytest.raises(ExecutionError, match="has no concept ledger 'sam3': ask SAM 3 first"):
        run(plain, name, **params).raise_exceptions()
    assert any("has no concept ledger" in problem for problem in problems(form(plain, name, **params)))
