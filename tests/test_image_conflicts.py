"""Conflicts settled while a dataset is segmented: what is stored, what the ledger says, what is refused."""

from __future__ import annotations

import pytest

from emoji_world.dataset import build_dataset
from zoo.engine.errors import ConceptError
from zoo.provenance import run_info
from zoo.segment import segment
from zoo.source import load_model

ASKED = {"cap": "cap", "red cap": "red cap", "blue cap": "blue cap", "fox": "fox", "dog": "dog"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    dataset = build_dataset("image-conflicts", tmp_path_factory.mktemp("media"), count=16)
    yield dataset
    dataset.delete()


def run(dataset, name, **settings):
    model = load_model("concepts/sam3-tiny-image", classes=ASKED, ledger=name, **settings)
    for _ in segment(dataset, model, label_field=name):
        pass
    return {label: dataset.count_values(f"{name}.detections.label").get(label, 0) for label in ASKED}


def test_a_thing_counts_once_and_presence_stays(scenes):
    plain = run(scenes, "plain")
    same = run(scenes, "same", conflicts={})
    settled = run(scenes, "settled", conflicts=dict(cross_nms_thresh=0.7))
    assert plain == same and plain["red cap"] and plain["cap"] >= plain["red cap"] + plain["blue cap"] - 1
    assert sum(settled.values()) < sum(plain.values())
    assert settled["cap"] + settled["red cap"] + settled["blue cap"] == plain["cap"], "every cap once"
    for concept in ASKED:
        assert scenes.values(f"plain_presence.{concept}") == scenes.values(f"settled_presence.{concept}")
        assert sum(scenes.values(f"settled_count.{concept}")) == settled[concept]
    assert run_info(scenes, "settled")["concepts"]["cap"]["conflicts"]["cross_nms_thresh"] == 0.7
    assert "conflicts" not in run_info(scenes, "same")["concepts"]["cap"]


def test_other_settings_are_another_question(scenes):
    run(scenes, "first")
    model = load_model("concepts/sam3-tiny-image", classes=ASKED, ledger="first", conflicts=dict(min_area=50))
    with pytest.raises(ConceptError, match="'cap' was asked before with conflicts settled by None"):
        list(segment(scenes, model, label_field="first", skip_existing=True))


@pytest.mark.parametrize(("said", "words"), [
    ("nms", "conflicts must be a mapping, {'nms_thresh': ...}, got 'nms'"),
    (dict(nms_tresh=0.5), "conflicts has no setting 'nms_tresh': did you mean 'nms_thresh'"),
    (dict(zzz=1), "there are nms_thresh, cross_nms_thresh"), (dict(nms_thresh=2), "between 0 and 1, got 2"),
])  # fmt: skip
def test_settings_that_make_no_sense(said, words):
    with pytest.raises(ConceptError, match=words):
        load_model("concepts/sam3-tiny-image", classes=["dog"], conflicts=said)
