"""Labels in the App's Annotate tab: what its schema says, and that nobody's own choices are lost."""

from __future__ import annotations

import fiftyone as fo
import pytest
from support.ledgers import A, B, ask, instance, picture, rectangle, video

from curation.annotation import setup_annotation
from curation.errors import CurationError
from curation.review import build_review


@pytest.fixture
def pets(new_dataset):
    dataset = new_dataset([picture([rectangle("dog", A)], [instance("cap", B, 0.7)], weather="sunny")])
    return ask(dataset, {"cap": 0.9, "red cap": 0.1}, label_field="sam3")


def attributes(dataset: fo.Dataset, field: str) -> dict:
    return {one["name"]: one for one in dataset.label_schemas[field]["attributes"]}


def test_concepts_are_the_classes_and_what_the_model_wrote_is_read_only(pets):
    done = setup_annotation(pets)
    pets.reload()
    schema = pets.label_schemas["sam3"]
    assert schema["classes"] == ["cap", "red cap"] == list(done.classes) and schema["component"] == "radio"
    assert pets.active_label_schemas == ["sam3"] and done.new
    known = attributes(pets, "sam3")
    for name in ("confidence", "presence", "object_score"):
        assert known[name]["range"] == [0, 1] and known[name]["read_only"] and known[name]["component"] == "slider"
    assert known["phrase"]["read_only"] and known["id"]["read_only"]
    assert str(done) == "'sam3' can be annotated in the App, 2 classes: set up"


def test_of_labels_that_people_made_all_names_are_classes(pets):
    build_review(pets, "ground_truth", progress=False)
    assert setup_annotation(pets, "ground_truth").classes == ("cap", "red cap", "dog")
    known = attributes(pets, "ground_truth")
    assert not known["verified"].get("read_only") and known["verified_by"]["read_only"]
    assert setup_annotation(pets, "sam3", ["red cap"]).classes == ("red cap",)


def test_many_classes_are_a_list(pets):
    sample = pets.first()
    sample.ground_truth.detections = [rectangle(f"thing {k}", A) for k in range(9)]
    sample.save()
    setup_annotation(pets, "ground_truth")
    assert pets.label_schemas["ground_truth"]["component"] == "dropdown"


def test_what_somebody_chose_stays(pets):
    pets.set_label_schemas(pets.generate_label_schemas(["sam3", "weather"]))
    theirs = pets.label_schemas
    theirs["sam3"]["attributes"] = [dict(name="confidence", type="float", component="text", precision=2)]
    theirs["sam3"]["classes"], theirs["sam3"]["component"] = ["cap", "mine"], "dropdown"
    pets.set_label_schemas(theirs)
    pets.activate_label_schemas(["weather"])
    done = setup_annotation(pets)
    assert not done.new and {"red cap", "presence"} <= set(done.added) and "confidence" not in done.added
    assert pets.label_schemas["weather"] == theirs["weather"]
    assert pets.active_label_schemas == ["weather", "sam3"]
    now = pets.label_schemas["sam3"]
    assert now["classes"] == ["cap", "mine", "red cap"] and now["component"] == "dropdown"
    assert attributes(pets, "sam3")["confidence"] == theirs["sam3"]["attributes"][0]
    before = pets.label_schemas
    assert setup_annotation(pets).added == () and pets.label_schemas == before


def test_where_any_name_goes_it_goes_on(pets):
    bare = pets.generate_label_schemas("sam3", scan_samples=False)
    assert "classes" not in bare
    pets.update_label_schema("sam3", bare)
    assert setup_annotation(pets).classes == () and pets.label_schemas["sam3"]["component"] == "text"


def test_what_cannot_be_annotated_is_refused(pets, new_dataset):
    for said, words in (
        (("nothing",), "is not a field"), (("sam3", ["hat"]), "'hat' is no concept"), (("sam3_presence",), "are needed")
    ):  # fmt: skip
        with pytest.raises(CurationError, match=words):
            setup_annotation(pets, *said)
    with pytest.raises(CurationError, match="holds videos"):
        setup_annotation(new_dataset([video({"sam3": [rectangle("cap", A)]})]), "sam3")
    assert pets.label_schemas == {} and pets.active_label_schemas == []
