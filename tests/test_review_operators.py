"""The operators of reviews without a browser: forms, runs, delegated and from Python."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext, ExecutionError
from fiftyone.operators.registry import OperatorRegistry
from support.ledgers import FAR, A, B, ask, instance, picture, rectangle

from curation.exhaustivity import load_exhaustivity
from curation.review import build_review, load_review
from emoji_world.dataset import build_scenes

PLUGIN = "@concepts/sam3"


@pytest.fixture
def pets(new_dataset):
    dataset = new_dataset([
        picture([rectangle("cap", A), rectangle("dog", B)], [instance("cap", A, 0.9), instance("cap", B, 0.8)]),
        picture([], [instance("dog", FAR, 0.6)]),
    ])  # fmt: skip
    return ask(dataset, {"cap": [0.9, 0.1], "dog": [0.6, 0.7]}, label_field="sam3")


def form(dataset: fo.Dataset, name: str, **params) -> dict:
    uri = f"{PLUGIN}/{name}"
    ctx = ExecutionContext(request_params=dict(dataset_name=dataset.name, params=params), operator_uri=uri)
    return foo.get_operator(uri).resolve_input(ctx).type.properties


def problems(fields: dict) -> list[str]:
    return [p.error_message for p in fields.values() if p.invalid]


def run(dataset: fo.Dataset, name: str, **params):
    return foo.execute_operator(f"{PLUGIN}/{name}", dict(dataset=dataset), params=params)


def notices(result) -> list[str]:
    return [r.params["message"] for r in result.executor._requests if "message" in (r.params or {})]


def test_they_are_registered():
    registry = OperatorRegistry()
    assert registry.list_errors() == []
    names = "check_exhaustivity", "build_review", "setup_annotation"
    assert all(registry.can_execute(f"{PLUGIN}/{name}") for name in names)


def test_a_queue_is_built_from_the_form_and_told(pets):
    said = dict(label_field="ground_truth", key="review", task_masks=False, more=True, batch=5, gt_labels=["dog = dog"])
    assert problems(form(pets, "build_review", **said)) == []
    result = run(pets, "build_review", **said)
    pets.reload()
    review = load_review(pets)
    wanted = build_review(pets, "ground_truth", tasks=["exhaustivity"], batch=5, key=None, progress=False)
    assert [item.key for item in review.items] == [item.key for item in wanted.items] and review.items
    assert notices(result)[-1].startswith(f"{len(review)} questions: 0 masks, {len(review)} whether all are marked")


def test_what_makes_no_queue_is_said_in_the_form(pets):
    assert any("'hat' is no concept" in one for one in problems(form(pets, "build_review", concepts=["hat"])))
    nothing = form(pets, "build_review", label_field="sam3", task_masks=False, task_exhaustivity=False)
    assert any("want some of" in one for one in problems(nothing))
    with pytest.raises(ExecutionError, match="'hat' is no concept"):
        run(pets, "build_review", label_field="sam3", key="review", concepts=["hat"]).raise_exceptions()


def test_a_queue_from_python_and_delegated_is_the_same(pets):
    operator = foo.get_operator(f"{PLUGIN}/build_review")
    at_once = operator(pets, label_field="ground_truth", key=None, progress=False)
    assert operator(pets, label_field="ground_truth", delegate=True).delegated
    DelegatedOperationService().execute_queued_operations()
    pets.reload()
    assert [item.key for item in load_review(pets).items] == [item.key for item in at_once.items]
    with pytest.raises(ValueError, match="want some of"):
        operator(pets, label_field="ground_truth", tasks=[])


def test_exhaustivity_is_checked_from_the_form_and_told(new_dataset, tmp_path):
    from emoji_world.scenes import sample_scene

    seeds = [seed for seed in range(920_000, 920_100) if sample_scene(seed).objects][:3]
    scenes = build_scenes("exhaustivity-operator", tmp_path, seeds, persistent=True)
    try:
        said = dict(label_field="ground_truth", key="exhaustivity", unlabelled=False)
        said |= dict(more=True, batch_size=2, threshold=0.4)
        assert problems(form(scenes, "check_exhaustivity", **said)) == []
        result = run(scenes, "check_exhaustivity", **said)
        scenes.reload()
        found = load_exhaustivity(scenes)
        assert found.threshold == 0.4 and {pair.sample_id for pair in found.pairs} == set(scenes.values("id"))
        assert notices(result)[-1].startswith(f"{len(found.of())} of {len(found)} pairs of sample and concept lack")
        bad = problems(form(scenes, "check_exhaustivity", label_field="ground_truth", concepts=["zeppelin"]))
        assert any("'zeppelin' is no concept" in one for one in bad)
    finally:
        scenes.delete()


def test_annotation_is_set_up_from_the_form(pets):
    assert problems(form(pets, "setup_annotation", label_field="sam3")) == []
    result = run(pets, "setup_annotation", label_field="sam3", concepts=["cap"])
    pets.reload()
    assert pets.label_schemas["sam3"]["classes"] == ["cap"] and pets.active_label_schemas == ["sam3"]
    assert result.result["classes"] == 1 and "can be annotated in the App" in notices(result)[-1]
    assert any("'hat'" in one for one in problems(form(pets, "setup_annotation", label_field="sam3", concepts=["hat"])))
    done = foo.get_operator(f"{PLUGIN}/setup_annotation")(pets, "ground_truth")
    assert done.classes == ("cap", "dog") and pets.active_label_schemas == ["sam3", "ground_truth"]
