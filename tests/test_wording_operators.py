"""The operators that compare wordings and choose one: forms, runs, delegated and from Python; and what other forms make
of a definition.
"""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext, ExecutionError

from curation.definitions import choose_wording, definition_of, definitions
from curation.wordings import compare_wordings, load_wordings
from emoji_world.dataset import build_scenes
from emoji_world.scenes import sample_scene
from zoo.provenance import run_info
from zoo.source import load_model

PLUGIN = "@concepts/sam3"
DEVICE = "n03793489"
FEW = ["mouse", "mice", "computer mouse"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    wanted = {"mouse", "computer mouse"}
    seeds = [s for s in range(700_000, 700_300) if wanted & {o.thing.noun for o in sample_scene(s).objects}][:5]
    dataset = build_scenes("wording-operators", tmp_path_factory.mktemp("scenes"), seeds)
    model = load_model("concepts/sam3-tiny-image", classes=["mouse", "keyboard"])
    dataset.apply_model(model, label_field="sam3", batch_size=8, progress=False)
    yield dataset
    dataset.delete()


@pytest.fixture
def scenes(made):
    dataset = made.clone(persistent=True)
    yield dataset
    dataset.delete()


@pytest.fixture
def compared(scenes) -> fo.Dataset:
    compare_wordings(scenes, "mouse", FEW, progress=False)
    return scenes


def form(dataset: fo.Dataset, name: str, **params) -> dict:
    uri = f"{PLUGIN}/{name}"
    ctx = ExecutionContext(request_params=dict(dataset_name=dataset.name, params=params), operator_uri=uri)
    return foo.get_operator(uri).resolve_input(ctx).type.properties


def run(dataset: fo.Dataset, name: str, **params):
    return foo.execute_operator(f"{PLUGIN}/{name}", dict(dataset=dataset), params=params)


def call(name: str, *args, **settings):
    return foo.get_operator(f"{PLUGIN}/{name}")(*args, **settings)


def sent(result, name: str) -> list[dict]:
    return [r.params for r in result.executor._requests if r.operator_uri.rsplit("/", 1)[-1] == name]


def notices(result) -> list[str]:
    return [r.params["message"] for r in result.executor._requests if "message" in (r.params or {})]


def problems(fields: dict) -> list[str]:
    return [p.error_message for p in fields.values() if p.invalid]


def proposed(fields: dict) -> list[str]:
    """The phrases in a form."""
    (name,) = [name for name in fields if name.startswith("phrases_")]
    return fields[name].default


# --- compare wordings ---


def test_the_form_proposes_wordings_of_each_concept(scenes):
    assert not [name for name in form(scenes, "compare_wordings") if name.startswith("phrases_")]
    fields = form(scenes, "compare_wordings", concept="mouse")
    assert proposed(fields) == ["mouse", "a mouse", "the mouse", "mice", "computer mouse"]
    assert problems(fields) == []
    assert "dogs" in proposed(form(scenes, "compare_wordings", concept="dog"))
    choices = [choice.value for choice in fields["concept"].view.choices]
    assert choices == ["mouse", "keyboard"]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (dict(concept="  "), "at least one word"),
        (dict(concept="mouse", phrases=["mouse", "Mouse"]), "given twice"),
        (dict(concept="mouse", limit=0), "limit must be"),
        (dict(concept="mouse", gt_field="ground_truth", absence="some", exhaustive=["hat"]), "'hat'"),
    ],
)
def test_the_form_says_what_is_wrong(scenes, params, words):
    assert any(words in problem for problem in problems(form(scenes, "compare_wordings", **params)))
    with pytest.raises(ExecutionError, match=words):
        run(scenes, "compare_wordings", **params).raise_exceptions()


def test_the_result_is_shown_as_a_table_and_kept(scenes):
    params = dict(concept="mouse", phrases=FEW, gt_field="ground_truth", absence="exhaustive", limit=4)
    assert problems(form(scenes, "compare_wordings", **params)) == []
    result = run(scenes, "compare_wordings", **params)
    result.raise_exceptions()
    scenes.reload()
    found = load_wordings(scenes)
    assert found.phrases == tuple(FEW) and len(found.samples) == 4
    (shown,) = sent(result, "show_output")
    rows = shown["results"]["rows"]
    assert [row["phrase"] for row in rows] == FEW
    assert rows[0]["f1"] == f"{found.of('mouse').f1:.2f}" and set(rows[0]) == set(found.rows()[0])
    assert found.reasons[0] in shown["results"]["text"]
    columns = shown["outputs"]["type"]["properties"]["rows"]["view"]["columns"]
    assert [column["key"] for column in columns] == list(rows[0])
    assert notices(result)[-1].startswith("3 wordings of 'mouse' on 4 images, 2 groups: take ")
    (progress, *_) = sent(result, "set_progress")
    assert progress["label"] == "0 of 4 samples"


def test_the_forms_own_field_of_phrases_is_what_is_asked(scenes):
    fields = form(scenes, "compare_wordings", concept="mouse")
    (name,) = [name for name in fields if name.startswith("phrases_")]
    run(scenes, "compare_wordings", concept="mouse", **{name: ["mouse", "mice"]}, limit=2).raise_exceptions()
    scenes.reload()
    assert load_wordings(scenes).phrases == ("mouse", "mice")


def test_a_comparison_from_python_and_delegated(scenes):
    result = call("compare_wordings", scenes, concept="mouse", phrases=FEW, limit=3, key=None, progress=False)
    assert result.phrases == tuple(FEW) and not scenes.list_runs(method="sam3_wordings")
    call("compare_wordings", scenes, concept="mouse", phrases=FEW, limit=3, delegate=True)
    DelegatedOperationService().execute_queued_operations(dataset_name=scenes.name)
    scenes.reload()
    assert load_wordings(scenes).rows() == result.rows()
    with pytest.raises(ValueError, match="limit must be"):
        call("compare_wordings", scenes, concept="mouse", limit=0, delegate=True)
    with pytest.raises(TypeError, match="compare_wordings: got an unexpected keyword argument 'limits'"):
        call("compare_wordings", scenes, concept="mouse", limits=3)


# --- choose a wording ---


def test_the_form_offers_what_was_compared(compared):
    found = load_wordings(compared)
    fields = form(compared, "choose_wording")
    assert fields["key"].default == "wordings" and fields["concept"].default == "mouse"
    assert proposed(fields) == [found.recommended]
    told = [f.view.label for name, f in fields.items() if name.startswith("row_")]
    assert [line.split(":")[0] for line in told] == FEW and any("(recommended)" in line for line in told)
    assert problems(fields) == []
    (sense,) = [name for name in fields if name.startswith("sense_")]
    assert DEVICE in [choice.value for choice in fields[sense].view.choices]
    other = form(compared, "choose_wording", concept="dog")
    assert proposed(other) == ["dog"] and not [name for name in other if name.startswith("row_")]


def test_the_form_without_a_comparison(scenes):
    assert not [name for name in form(scenes, "choose_wording") if name.startswith("phrases_")]
    fields = form(scenes, "choose_wording", concept="keyboard")
    assert "key" not in fields and proposed(fields) == ["keyboard"]
    with pytest.raises(ExecutionError, match="concept. Reason: Required"):
        run(scenes, "choose_wording")


def test_what_is_recommended_is_taken_unless_something_else_is_said(compared):
    found = load_wordings(compared)
    run(compared, "choose_wording", concept="mouse").raise_exceptions()
    compared.reload()
    assert definitions(compared) == {"mouse": [found.recommended]}
    fields = form(compared, "choose_wording", concept="mouse")
    (phrases,) = [name for name in fields if name.startswith("phrases_")]
    (sense,) = [name for name in fields if name.startswith("sense_")]
    result = run(compared, "choose_wording", concept="mouse", **{phrases: ["mouse", "mice"], sense: DEVICE})
    result.raise_exceptions()
    compared.reload()
    made = definition_of(compared, "mouse")
    assert (made.phrases, made.sense) == (("mouse", "mice"), DEVICE)
    assert notices(result)[-1] == "'mouse' is asked as 'mouse' or 'mice'"
    assert form(compared, "choose_wording", concept="mouse")[sense].default == DEVICE
    run(compared, "choose_wording", concept="mouse", **{sense: "none"}).raise_exceptions()
    compared.reload()
    assert definition_of(compared, "mouse").sense == ""


def test_asked_again_from_the_form(scenes):
    result = run(scenes, "choose_wording", concept="mouse", phrases=["mice"], ask=True)
    result.raise_exceptions()
    scenes.reload()
    assert run_info(scenes)["concepts"]["mouse"]["phrases"] == ["mice"]
    assert "asked as 'mice': " in notices(result)[-1]


def test_a_choice_that_makes_no_sense_is_refused(scenes):
    wrong = dict(concept="mouse", phrases=["mice", "MICE"])
    assert any("given twice" in problem for problem in problems(form(scenes, "choose_wording", **wrong)))
    with pytest.raises(ExecutionError, match="given twice"):
        run(scenes, "choose_wording", **wrong).raise_exceptions()
    with pytest.raises(ValueError, match="no sense of 'mouse'"):
        call("choose_wording", scenes, concept="mouse", phrases="mice", sense="n02118333")
    choice = call("choose_wording", scenes, concept="mouse", phrases="mice", sense=DEVICE)
    assert str(choice) == "'mouse' is asked as 'mice'" and definition_of(scenes, "mouse").sense == DEVICE


# --- other forms ---


def test_segment_concepts_proposes_and_asks_what_is_defined(scenes):
    scenes.default_classes = ["dog", "Mouse"]
    scenes.save()
    choose_wording(scenes, "mouse", ["mice", "a mouse"])
    choose_wording(scenes, "keyboard", "keyboard")
    fields = form(scenes, "segment_concepts")
    assert fields["classes"].default == ["mouse", "keyboard", "dog"]
    assert fields["defined"].view.label == "Asked by their definition: mouse: mice, a mouse"
    assert "defined" not in form(scenes, "segment_concepts", classes=["dog"])
    assert "defined" not in form(scenes, "segment_concepts", label_field="other")
    assert "defined" not in form(scenes, "segment_concepts", label_field="no field")
    run(scenes, "segment_concepts", classes=["mouse"], skip_existing=False, checkpoint="tiny").raise_exceptions()
    assert run_info(scenes)["concepts"]["mouse"]["phrases"] == ["mice", "a mouse"]
    call("segment_concepts", scenes, ["mouse"], skip_existing=False)
    assert run_info(scenes)["concepts"]["mouse"]["phrases"] == ["mouse"], "a call from Python says it all"


def test_asking_again_with_examples_uses_the_chosen_words(scenes):
    choose_wording(scenes, "mouse", ["mice"])
    label = next(d for s in scenes for d in s.sam3.detections if d.label == "mouse")
    call("ask_again", scenes, concept="mouse", examples={label.id: True})
    assert run_info(scenes)["concepts"]["mouse"]["phrases"] == ["mice"]


def test_hard_negatives_ask_no_more_for_a_sense_that_is_chosen(scenes):
    from support.ledgers import ask

    ask(scenes, {"hamster": 0.4})
    said = dict(label_field="sam3")
    assert "mouse" in form(scenes, "find_hard_negatives", **said)["choose_senses"].view.description
    choose_wording(scenes, "mouse", "mouse", sense=DEVICE)
    left = form(scenes, "find_hard_negatives", **said).get("choose_senses")
    assert left is None or "mouse" not in left.view.description
