"""The operator without a browser: its form, its run, its errors."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext, ExecutionError
from fiftyone.operators.registry import OperatorRegistry

from emoji_world.dataset import build_dataset
from zoo.engine.errors import ConceptError

URI = "@concepts/sam3/segment_concepts"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    dataset = build_dataset("operator", tmp_path_factory.mktemp("scenes"), count=6)
    yield dataset
    dataset.delete()


@pytest.fixture
def scenes(drawn):
    dataset = drawn.clone(persistent=True)
    yield dataset
    dataset.delete()


def form(dataset: fo.Dataset, **params) -> dict:
    """The properties of the operator's form."""
    ctx = ExecutionContext(request_params=dict(dataset_name=dataset.name, params=params), operator_uri=URI)
    return foo.get_operator(URI).resolve_input(ctx).type.properties


def messages(result) -> list[dict]:
    return [request.params for request in result.executor._requests]


def test_the_plugin_loads():
    assert OperatorRegistry().list_errors() == []
    assert OperatorRegistry().can_execute(URI)


def test_form_is_complete_and_its_defaults_run(scenes):
    fields = form(scenes)
    assert {
        "classes",
        "checkpoint",
        "label_field",
        "confidence_thresh",
        "own_thresholds",
        "skip_existing",
        "batch_size",
    } <= set(fields)
    assert fields["classes"].default == list(scenes.default_classes)
    assert fields["checkpoint"].default == "tiny"
    defaults = {name: p.default for name, p in fields.items() if p.default is not None}
    result = foo.execute_operator(URI, dict(dataset=scenes), params=defaults)
    assert result.error is None
    assert None not in scenes.values("sam3_presence.red cap")


def test_form_suggests_ground_truth_labels_where_a_dataset_has_no_classes(scenes):
    scenes.default_classes = []
    scenes.save()
    assert set(form(scenes)["classes"].default) <= set(scenes.distinct("ground_truth.detections.label"))


def test_form_has_a_slider_for_each_concept_when_asked(scenes):
    fields = form(scenes, classes=["dog", "St. Bernard"], own_thresholds=True)
    assert [fields[f"threshold_{k}"].view.label or fields[f"threshold_{k}"].type for k in range(2)]
    assert "threshold_2" not in fields


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (dict(classes=["dog", "Dog"]), "given twice"),
        (dict(classes=["St. Bernard", "St Bernard"]), "field name cannot hold"),
        (dict(classes=["dog"], label_field="filepath"), "already holds"),
        (dict(classes=["dog"], label_field="phrases"), "already holds"),
        (dict(classes=["dog"], label_field="ground_truth"), "did not make"),
        (dict(classes=["dog"], label_field="two words"), "plain word"),
    ],
)
def test_form_says_what_is_wrong_before_the_run(scenes, params, said):
    fields = form(scenes, **params)
    wrong, right = ("label_field", "classes") if "label_field" in params else ("classes", "label_field")
    assert fields[wrong].invalid and said in fields[wrong].error_message
    assert not fields[right].invalid


def test_run_from_python_reports_progress_and_reloads(scenes):
    result = foo.get_operator(URI)(scenes, classes=["dog", "apple"])
    said = messages(result)
    assert said[0]["progress"] == 0 and any(m.get("progress") == 1.0 for m in said)
    assert any("sam3" in m.get("fields", []) for m in said)
    assert said[-1]["variant"] == "success"
    assert set(scenes.get_field_schema(flat=True)) >= {
        "sam3_presence.dog",
        "sam3_presence.apple",
        "sam3.detections.presence",
    }
    groups = [g.name for g in scenes.app_config.sidebar_groups]
    assert groups[groups.index("labels") + 1] == "sam3_presence"


def test_view_is_the_target_and_resume_asks_the_rest(scenes):
    operator = foo.get_operator(URI)
    operator(scenes.limit(2), classes="dog")
    assert [p is not None for p in scenes.values("sam3_presence.dog")] == [True] * 2 + [False] * 4
    stamps = scenes.values("last_modified_at")
    result = operator(scenes, classes="dog")
    assert "4 samples" in messages(result)[-1]["message"]
    assert scenes.values("last_modified_at")[:2] == stamps[:2]
    assert "asked before" in messages(operator(scenes, classes="dog"))[-1]["message"]
    assert "6 samples" in messages(operator(scenes, classes="dog", skip_existing=False))[-1]["message"]


def test_selected_samples_are_a_target(scenes):
    chosen = scenes.values("id")[3]
    ctx = dict(dataset=scenes, selected=[chosen], view_target="SELECTED_SAMPLES")
    foo.execute_operator(URI, ctx, params=dict(classes=["dog"], view_target="SELECTED_SAMPLES"))
    assert scenes.exists("sam3_presence.dog").values("id") == [chosen]


def test_phrases_thresholds_and_another_field(scenes):
    foo.get_operator(URI)(scenes, classes={"pet": ["dog", "a cat"]}, thresholds={"pet": 0.1}, label_field="found")
    info = scenes.get_run_info("found").config
    assert list(info.concepts["pet"]["phrases"]) == ["dog", "a cat"] and info.concepts["pet"]["threshold"] == 0.1
    assert None not in scenes.values("found_presence.pet")


def test_resume_with_another_threshold_says_so(scenes):
    operator = foo.get_operator(URI)
    operator(scenes, classes=["dog"])
    stamps = scenes.values("last_modified_at")
    with pytest.raises((ConceptError, ExecutionError), match="untick Resume"):
        raise ConceptError(str(operator(scenes, classes=["dog"], confidence_thresh=0.1).error))
    assert scenes.values("last_modified_at") == stamps
    assert operator(scenes, classes=["dog"], confidence_thresh=0.1, skip_existing=False).error is None


def test_delegated(scenes):
    foo.get_operator(URI)(scenes, classes=["dog"], delegate=True)
    assert not scenes.has_field("sam3_presence")
    DelegatedOperationService().execute_queued_operations()
    scenes.reload()
    assert None not in scenes.values("sam3_presence.dog")


def test_a_broken_file_is_reported_and_costs_itself(scenes, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")
    scenes.add_sample(fo.Sample(filepath=str(broken)))
    said = messages(foo.get_operator(URI)(scenes, classes=["dog"]))[-1]
    assert said["variant"] == "warning" and "1 samples failed" in said["message"]
    assert scenes.values("sam3_presence.dog").count(None) == 1
    assert "broken.jpg" in scenes.last().sam3_error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(classes=[]), "No concepts"),
        (dict(classes=["dog", " "]), "at least one word"),
        (dict(classes=["dog"], thresholds={"cat": 0.5}), "not among the concepts"),
        (dict(classes=["dog"], confidence_thresh=1.5), "confidence_thresh"),
        (dict(classes=["dog"], batch_size=0), "batch_size"),
        (dict(classes=["dog"], device="tpu"), "device"),
        (dict(classes=["dog"], checkpoint="/no/such/folder"), "no checkpoint folder"),
        (dict(classes=["word " * 40]), "tokens"),
        (dict(classes=["dog"], label_field="phrases"), "already holds"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(scenes, arguments, said):
    before = set(scenes.get_field_schema())
    with pytest.raises((ConceptError, ExecutionError, ValueError)) as refusal:
        result = foo.get_operator(URI)(scenes, **arguments)
        raise ValueError(str(result.error))
    assert said in str(refusal.value)
    assert set(scenes.get_field_schema()) == before
