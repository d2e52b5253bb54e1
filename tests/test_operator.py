"""The operator without a browser: its form, its run, its errors."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import deque
from types import SimpleNamespace

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext, ExecutionError
from fiftyone.operators.registry import OperatorRegistry

from emoji_world.dataset import build_dataset
from zoo.engine.errors import ConceptError
from zoo.engine.vocabulary_file import read_vocabulary

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


# ----------------------------------------------------------------------------------------------- how concepts are asked


CONCEPT_FILE = """\
concepts:
  - label: cap
    phrases: [cap, red cap]
    threshold: 0.3
    neighbours: [dog]
  - fox
"""


def test_a_concept_file_is_asked_from_the_form_and_from_python(scenes, tmp_path):
    file = tmp_path / "shop.yaml"
    file.write_text(CONCEPT_FILE, encoding="utf-8")
    fields = form(scenes, concept_file=str(file))
    assert not fields["classes"].required and not any(f.invalid for f in fields.values())
    assert foo.execute_operator(URI, dict(dataset=scenes), params=dict(concept_file=str(file))).error is None
    entry = scenes.get_run_info("sam3").config.concepts["cap"]
    assert (entry["phrases"], entry["threshold"], entry["neighbours"]) == (["cap", "red cap"], 0.3, ["dog"])
    assert None not in scenes.values("sam3_presence.fox")
    assert foo.get_operator(URI)(scenes, str(file), label_field="again").error is None
    assert scenes.values("again_presence.cap") == scenes.values("sam3_presence.cap")


def test_what_is_wrong_with_a_concept_file_is_said_in_the_form_with_its_line(scenes, tmp_path):
    file = tmp_path / "shop.yaml"
    file.write_text("concepts:\n  - cap\n  - label: fox\n    phrase: [fox]\n", encoding="utf-8")
    wrong = form(scenes, concept_file=str(file))
    assert wrong["concept_file"].invalid and "line 4" in wrong["concept_file"].error_message
    missing = form(scenes, concept_file=str(tmp_path / "none.yaml"))
    assert "does not exist" in missing["concept_file"].error_message


def test_concepts_are_saved_and_asked_of_another_dataset(scenes, tmp_path):
    foo.get_operator(URI)(scenes, {"cap": ["cap", "baseball cap"], "fox": "fox"}, thresholds={"fox": 0.4})
    sample = scenes.first()
    marks = [fo.Detection(label="cap", bounding_box=[0.1, 0.1, 0.2, 0.2], sam_label=sign) for sign in (True, False)]
    marks[1].bounding_box = [0.5, 0.5, 0.2, 0.2]
    sample["sam3_marks"] = fo.Detections(detections=marks)
    sample.save()
    file, save = tmp_path / "shop.yaml", "@concepts/sam3/save_concepts"
    result = foo.execute_operator(save, dict(dataset=scenes), params=dict(ledger="sam3", path=str(file)))
    assert result.result == dict(concepts=2)
    held = read_vocabulary(file)
    assert [(c.label, c.phrases, c.threshold) for c in held.concepts] == [
        ("cap", ("cap", "baseball cap"), None), ("fox", ("fox",), 0.4)
    ]  # fmt: skip
    assert [one["positive"] for one in held.exemplars["cap"]] == [[True, False]]
    with pytest.raises(ConceptError.__bases__[0], match="exists: choose another"):
        foo.get_operator(save)(scenes, str(file))
    assert foo.get_operator(save)(scenes, str(file), overwrite=True) == 2
    with pytest.raises(ConceptError.__bases__[0], match=r"ends with \.yaml or \.yml"):
        foo.get_operator(save)(scenes, str(tmp_path / "shop.txt"))


def test_the_form_offers_examples_tiles_and_conflicts(scenes):
    assert "tile_size" not in form(scenes)
    fields = form(scenes, how=True)
    assert {"box_prompt_field", "tile_size", "nms_thresh", "cross_nms_thresh", "fill_holes"} <= set(fields)
    assert "exemplars_alone" in form(scenes, how=True, box_prompt_field="ground_truth")
    params = dict(
        classes=["cap"], how=True, box_prompt_field="ground_truth", exemplars_required=True, tile_size=480,
        nms_thresh=0.7, cross_nms_thresh=1.0, fill_holes=9,
    )  # fmt: skip
    assert foo.execute_operator(URI, dict(dataset=scenes), params=params).error is None
    entry = scenes.get_run_info("sam3").config.concepts["cap"]
    assert entry["prompts"]["box_prompt_field"] == "ground_truth" and entry["prompts"]["exemplars_required"]
    assert entry["tiles"]["tile_size"] == 480
    assert entry["conflicts"]["nms_thresh"] == 0.7 and entry["conflicts"]["fill_holes"] == 9
    assert entry["conflicts"]["cross_nms_thresh"] is None


def test_settings_of_the_model_are_given_from_python_and_misspelt_ones_refused(scenes):
    call = foo.get_operator(URI)
    call(scenes, ["cap"], box_prompt_field="ground_truth", exemplars_of=["cap"], conflicts=dict(nms_thresh=0.5))
    entry = scenes.get_run_info("sam3").config.concepts["cap"]
    assert entry["prompts"]["exemplars_of"] == ["cap"] and entry["conflicts"]["nms_thresh"] == 0.5
    with pytest.raises(TypeError, match="no setting 'conflict'"):
        call(scenes, ["cap"], conflict=dict(nms_thresh=0.5))


def test_the_first_ctrl_c_ends_a_call_from_python():
    """FiftyOne runs operators in a loop, where the first one only cancels a task that waits for nothing."""
    form = sys.modules[type(foo.get_operator(URI)).__module__.rpartition(".")[0] + ".form"]
    done = []

    def work():
        for k in range(5):
            done.append(k)
            if k == 2:
                signal.raise_signal(signal.SIGINT)
            yield k

    async def drained():
        deque(form.notified(SimpleNamespace(params=dict(progress=None), delegated=False), work()), maxlen=0)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(drained())
    assert done == [0, 1, 2]
