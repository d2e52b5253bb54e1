"""The operators of curation without a browser: forms, runs, delegated and from Python; and swapped phrases."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import pytest
import yaml
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext, ExecutionError
from fiftyone.operators.registry import OperatorRegistry
from support.sandbox import REPOSITORY

from curation.answers import asked_concepts, thresholds_of
from curation.confusion import load_confusions
from curation.errors import CurationError
from curation.exhaustivity import load_exhaustivity
from curation.hard_negatives import find_hard_negatives, load_hard_negatives
from curation.label_errors import find_label_errors, load_label_errors
from curation.policies import applied_policies
from curation.presence import present, suppressed, where
from curation.review import load_review
from curation.subset import load_subset
from curation.swaps import ask_swaps
from curation.thresholds import find_thresholds, load_thresholds, set_threshold
from curation.wordings import load_wordings
from emoji_world.dataset import GT_LABELS, SENSES, build_dataset
from emoji_world.faults import plant_faults
from evaluation.record import METRICS
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


def call(name: str, *args, **settings):
    return foo.get_operator(f"{PLUGIN}/{name}")(*args, **settings)


def notices(result) -> list[str]:
    return [r.params["message"] for r in result.executor._requests if "message" in (r.params or {})]


def problems(fields: dict) -> list[str]:
    return [p.error_message for p in fields.values() if p.invalid]


def test_every_operator_and_the_panel_are_registered():
    registry = OperatorRegistry()
    assert registry.list_errors() == []
    names = (
        "query_presence", "find_hard_negatives", "find_label_errors", "find_confusions", "settle_confusion",
        "undo_policy", "pick_thresholds", "reset_thresholds", "verify_presence", "delete_findings", "concepts",
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


def test_a_query_from_python_is_a_view(scenes):
    wanted = where(scenes, present=["cap"], absent=["dog"], thresholds={"cap": 0.7})
    said = dict(present=["cap"], absent=["dog"], thresholds={"cap": 0.7})
    assert call("query_presence", scenes, **said, save_as="caps").values("id") == wanted.values("id")
    assert scenes.load_saved_view("caps").values("id") == wanted.values("id")
    few = scenes.limit(9)
    assert call("query_presence", few, "suppressed", "fox", score=0.1) == suppressed(few, "fox", score=0.1)
    with pytest.raises(ValueError, match="query='abundant'; want one of"):
        call("query_presence", scenes, "abundant", "cap")
    with pytest.raises(ValueError, match=r"What of 'cap'\? Say present=\['cap'\]"):
        call("query_presence", scenes, concept="cap")
    with pytest.raises(ValueError, match="Say which concepts"):
        call("query_presence", scenes)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "Path: present. Reason: Required property"),
        (dict(query="rich"), "Path: concepts. Reason: Required property"),
        (dict(present=[]), "Validation error.*Say which concepts are to be present"),
    ],
)
def test_a_query_about_nothing_cannot_be_sent(scenes, params, words):
    with pytest.raises(ExecutionError, match=words):
        run(scenes, "query_presence", **params)


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


@pytest.mark.parametrize(
    ("name", "said", "load"),
    [
        ("find_label_errors", dict(exhaustive=True), load_label_errors),
        ("find_label_errors", dict(exhaustive=("dog",), negatives_field="lacking", use_masks=False), load_label_errors),
        ("find_hard_negatives", {}, load_hard_negatives),
        ("find_hard_negatives", dict(gt_field="ground_truth", exhaustive=True, use_masks=False), load_hard_negatives),
        ("find_confusions", {}, load_confusions),
    ],
)  # fmt: skip
def test_what_is_not_said_is_the_same_at_once_and_delegated(scenes, name, said, load):
    scenes.set_values("lacking", [["fox"]] * len(scenes))
    at_once = call(name, scenes, progress=False, **said)
    call("delete_findings", scenes, at_once.key)
    assert call(name, scenes, delegate=True, **said).delegated
    DelegatedOperationService().execute_queued_operations()
    scenes.reload()
    assert str(load(scenes)) == str(at_once)  # their classes are not the same: the plugin has its own


def test_delegated_thresholds_are_put_into_effect_unless_told_otherwise(scenes):
    said = dict(gt_field="ground_truth", exhaustive=True, goal="precision", target=0.9)
    before = thresholds_of(scenes)
    for apply in (False, True):
        assert call("pick_thresholds", scenes, delegate=True, apply=apply, **said).delegated
        DelegatedOperationService().execute_queued_operations()
        scenes.reload()
        found = find_thresholds(scenes, **said, store=False)
        assert str(load_thresholds(scenes)) == str(found)
        assert thresholds_of(scenes) == (before | found.points if apply else before)
        assert scenes.has_field("sam3_calibrated") == apply


def test_what_could_not_run_is_not_queued(scenes):
    known = dict(gt_field="labels", exhaustive=True, delegate=True)
    with pytest.raises(ValueError, match="is not a field"):
        call("find_label_errors", scenes, gt_field="nothing", exhaustive=True, delegate=True)
    with pytest.raises(ValueError, match="Nothing is known about these samples"):
        call("pick_thresholds", scenes, delegate=True)
    with pytest.raises(ValueError, match="of a delegated search there is nothing but what it stores"):
        call("find_label_errors", scenes, key=None, **known)
    for name in ("find_label_errors", "pick_thresholds"):
        with pytest.raises(ValueError, match="delegate=True stores the settings until they are used, and cannot"):
            call(name, scenes, gt_labels={"red cap": fo.ViewField("label") == "cap"}, **known)
    assert DelegatedOperationService().get_queued_operations() == []


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


def test_thresholds_go_back_to_those_of_the_run(scenes):
    before = thresholds_of(scenes)
    nothing = "No thresholds are in effect in this dataset but those of the run"
    assert problems(form(scenes, "reset_thresholds")) == [nothing]
    for reset in (lambda: run(scenes, "reset_thresholds"), lambda: call("reset_thresholds", scenes)):
        call("pick_thresholds", scenes, gt_field="ground_truth", exhaustive=True)
        set_threshold(scenes, "cap", 0.7)
        assert thresholds_of(scenes)["cap"] == 0.7 and scenes.has_field("sam3_calibrated")
        assert problems(form(scenes, "reset_thresholds")) == []
        reset()
        scenes.reload()
        assert thresholds_of(scenes) == before and not scenes.has_field("sam3_calibrated")
    with pytest.raises(ExecutionError, match=nothing):
        run(scenes, "reset_thresholds")


def test_findings_are_deleted_and_policies_are_not_among_them(scenes):
    fields = scenes.get_field_schema(flat=True)
    nothing = "Nothing was found in this dataset: there is nothing to delete"
    assert problems(form(scenes, "delete_findings")) == [nothing]
    call("settle_confusion", scenes, "cap", "red cap", "keep")
    assert problems(form(scenes, "delete_findings")) == [nothing]
    call("find_label_errors", scenes, gt_field="labels", exhaustive=True, progress=False)
    call("find_hard_negatives", scenes, key="hard", progress=False)
    call("find_confusions", scenes, progress=False)
    call("pick_thresholds", scenes, gt_field="ground_truth", exhaustive=True, apply=False)
    keys = ["hard", "label_errors", "confusions", "sam3_thresholds"]
    assert form(scenes, "delete_findings")["key"].type.values == keys
    with pytest.raises(ExecutionError, match="Path: key. Reason: Invalid enum value"):
        run(scenes, "delete_findings", key="policy_1")
    with pytest.raises(ValueError, match="use undo_policy"):
        call("delete_findings", scenes, "policy_1")
    run(scenes, "delete_findings", key=keys[0])
    for key in keys[1:]:
        call("delete_findings", scenes, key)
    scenes.reload()
    assert scenes.get_field_schema(flat=True).keys() == fields.keys()
    assert set(scenes.list_runs()) == {"sam3", "policy_1"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("compare_wordings", dict(concept="mouse", phrases=["mouse", "computer mouse"], limit=4)),
        ("check_exhaustivity", dict(label_field="labels", concepts=["dog"])),
        ("build_review", dict(label_field="labels")),
        ("choose_subset", dict(n=8, senses="usual")),
    ],
)
def test_every_finding_goes_by_its_key(scenes, name, said):
    """All but what is true of the labels themselves, and what people's verdicts are declared in."""
    scenes.limit(2).tag_samples("mine")
    before = set(scenes.get_field_schema(flat=True)), scenes.list_runs(), scenes.list_saved_views()
    call(name, scenes, key="found", progress=False, **said)
    scenes.reload()
    assert form(scenes, "delete_findings")["key"].type.values == ["found"]
    call("delete_findings", scenes, "found")
    scenes.reload()
    kept = {"sam3.detections.stability"} if name == "compare_wordings" else set()
    if name == "build_review":  # where verdicts are written, declared once for all
        kept = {p for p in scenes.get_field_schema(flat=True) if p.startswith(("labels.detections.", "sam3_"))}
    assert set(scenes.get_field_schema(flat=True)) - kept == before[0] - kept
    assert (scenes.list_runs(), scenes.list_saved_views(), scenes.count_sample_tags()) == (*before[1:], {"mine": 2})
    load = {"compare_wordings": load_wordings, "check_exhaustivity": load_exhaustivity, "build_review": load_review}
    with pytest.raises(CurationError, match=rf"'found'; run {name}\(\) first"):
        load.get(name, load_subset)(scenes, "found")


def test_where_samples_are_selected_the_verdict_is_on_them(scenes):
    chosen = scenes.take(3, seed=1).values("id")
    uri, said = f"{PLUGIN}/verify_presence", dict(concept="fox", verdict="present")
    result = foo.execute_operator(uri, dict(dataset=scenes, selected=chosen), params=said)
    scenes.reload()
    assert result.result == {"samples": 3}
    assert set(scenes.match(fo.ViewField("sam3_verified.fox") == True).values("id")) == set(chosen)  # noqa: E712
    few = dict(view=scenes.limit(5), selected=chosen)
    for target, count in (("CURRENT_VIEW", 5), ("DATASET", len(scenes)), ("SELECTED_SAMPLES", None)):
        wanted = len(scenes.limit(5).select(chosen)) if count is None else count
        assert foo.execute_operator(uri, few, params=dict(said, view_target=target)).result["samples"] == wanted


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("query_presence", dict(query="absent", concepts=["fox"])),
        ("find_label_errors", dict(label_field="sam3", gt_field="labels", absence="exhaustive", key="errors")),
        ("find_hard_negatives", dict(label_field="sam3", gt_field="labels", absence="exhaustive", key="hard")),
        ("find_confusions", dict(label_field="sam3", key="mixed")),
        ("pick_thresholds", dict(gt_field="ground_truth", absence="exhaustive", apply=False)),
        ("evaluate_concepts", dict(pred_field="sam3", gt_field="ground_truth", absence="exhaustive", eval_key="some")),
        ("segment_concepts", dict(classes=["dog"], checkpoint="tiny", label_field="again")),
    ],
)
def test_where_samples_are_selected_every_operator_takes_them(scenes, monkeypatch, name, params):
    seen = []
    monkeypatch.setattr(ExecutionContext, "target_view", lambda self: pytest.fail("the target would be all samples"))
    select = fo.DatasetView.select
    monkeypatch.setattr(fo.DatasetView, "select", lambda self, ids, **kw: seen.append(ids) or select(self, ids, **kw))
    chosen = scenes.take(6, seed=1).values("id")
    foo.execute_operator(f"{PLUGIN}/{name}", dict(dataset=scenes, selected=chosen), params=params)
    assert chosen in seen


def test_a_verdict_from_python(scenes):
    some = scenes.limit(4)
    assert call("verify_presence", some, "fox", "present") == 4
    assert call("verify_presence", some.limit(3), "fox", False) == 3
    assert scenes.count_values("sam3_verified.fox") == {True: 1, False: 3, None: len(scenes) - 4}
    assert call("verify_presence", some, "fox", None) == 4
    assert scenes.count_values("sam3_verified.fox") == {None: len(scenes)}
    with pytest.raises(ValueError, match="present='perhaps' of 'fox' must be True, False, or None"):
        call("verify_presence", some, "fox", "perhaps")


def test_every_operator_can_be_called():
    declared = yaml.safe_load((REPOSITORY / "fiftyone.yml").read_text(encoding="utf-8"))["operators"]
    operators = {name: foo.get_operator(f"{PLUGIN}/{name}") for name in declared}
    mute = [name for name, one in operators.items() if not callable(one)]
    assert set(mute) <= set(METRICS), "metrics are asked through FiftyOne"


def test_operators_are_declared_in_the_order_in_which_they_are_registered():
    """The App lists them in the one, and people read the other."""
    declared = yaml.safe_load((REPOSITORY / "fiftyone.yml").read_text(encoding="utf-8"))
    registered = [one.name for one in OperatorRegistry().list_operators() if one.plugin_name == PLUGIN]
    assert [name for name in registered if not name.startswith("_")] == declared["operators"] + declared["panels"]


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


# --- embeddings, and a training subset ---


def test_embeddings_are_computed_and_told(scenes):
    said = dict(embeddings_field="sam3_embedding", checkpoint="tiny")
    assert problems(form(scenes, "compute_embeddings", **said)) == []
    result = run(scenes, "compute_embeddings", **said)
    assert notices(result) == ["24 images embedded in sam3_embedding, 128 numbers each"]
    assert scenes.count("sam3_embedding") == 24
    said = dict(what="instances", label_field="ground_truth", attribute="vector", checkpoint="tiny")
    fields = form(scenes, "compute_embeddings", **said)
    assert problems(fields) == [] and {"label_field", "attribute"} <= fields.keys()
    (notice,) = notices(run(scenes, "compute_embeddings", **said))
    many = scenes.count("ground_truth.detections")
    assert notice == f"{many} instances embedded in ground_truth.detections.vector, 128 numbers each"
    wrong = form(scenes, "compute_embeddings", what="instances", label_field="ground_truth", attribute="two words")
    assert any("must be a plain word" in problem for problem in problems(wrong))


def test_a_subset_is_chosen_and_told(scenes):
    said = dict(n=8, key="chosen", usual_senses=True, val=0.25)
    assert problems(form(scenes, "choose_subset", **said)) == []
    result = run(scenes, "choose_subset", **said)
    found = load_subset(scenes, "chosen")
    assert len(found) == 8 and found.sizes == {"train": 6, "val": 2}
    assert notices(result)[0].startswith("8 samples chosen: ") and "(train 6, val 2)" in notices(result)[0]
    scenes.reload()
    assert set(scenes.load_saved_view("chosen").values("id")) == found.by_id.keys()
    assert form(scenes, "delete_findings")["key"].type.values == ["chosen"]
    run(scenes, "delete_findings", key="chosen")
    scenes.reload()
    assert scenes.list_saved_views() == [] and scenes.count_sample_tags() == {}


def test_every_setting_of_the_form_of_a_subset_arrives(scenes):
    said = dict(
        n=6, key="chosen", more=True, ratio_positive=0.0, ratio_hard=0.0, ratio_easy=1.0, val=0.0, test=0.5,
        diversity="none", duplicates=False, gt_field="ground_truth", absence="exhaustive", concepts=["dog"],
        seed=7, balance=False,
    )  # fmt: skip
    assert problems(form(scenes, "choose_subset", **said)) == []
    run(scenes, "choose_subset", **said)
    found = load_subset(scenes, "chosen")
    assert found.counts["easy"] == 6 and found.sizes == {"train": 3, "test": 3}
    assert {one.concept for one in found.chosen} == {"dog"} and all(one.known for one in found.chosen)
    about = scenes.get_run_info("chosen").config.settings
    assert (about["seed"], about["balance"], about["diversity"], about["duplicates"]) == (7, False, None, None)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (dict(n=900), "n=900, but there are only 24 samples"),
        (dict(n=8, val=0.6, test=0.5), "must be a number above 0"),
        (dict(n=2, val=0.1), "'val' would get none of 2 samples"),
        (dict(n=8, more=True, concepts=["hat"]), "'hat' was not asked"),
        (dict(n=8, key="sam3"), "key='sam3' is already the name of a run"),
    ],
)
def test_a_subset_that_cannot_be_is_refused_in_the_form(scenes, params, words):
    said = dict(dict(key="chosen"), **params)
    assert any(words in problem for problem in problems(form(scenes, "choose_subset", **said)))
    with pytest.raises(ExecutionError, match=words):
        run(scenes, "choose_subset", **said).raise_exceptions()
    assert "chosen" not in scenes.list_runs()


def test_a_subset_from_python_and_delegated(scenes):
    found = call("choose_subset", scenes, n=8, key=None, senses="usual", progress=False)
    assert len(found) == 8
    with pytest.raises(ValueError, match="n=0 must be"):
        call("choose_subset", scenes, n=0)
    call("choose_subset", scenes, n=8, key="later", senses="usual", delegate=True)
    DelegatedOperationService().execute_queued_operations()
    scenes.reload()
    assert load_subset(scenes, "later").by_id.keys() == found.by_id.keys()
    embedded = call("compute_embeddings", scenes, what="images", progress=False)
    assert embedded.vectors == 24
