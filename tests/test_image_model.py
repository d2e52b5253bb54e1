"""The image model in ``apply_model``: what it writes, what its options do, and what it refuses."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from fiftyone import ViewField as F
from PIL import Image
from support import media
from support.media import counts, labels_of, scripted, states, told

from zoo.engine.errors import ConceptError
from zoo.image_model import Sam3ImageModel
from zoo.labels import ATTRIBUTES
from zoo.provenance import run_info

#: colours and sizes of an album's pictures
ALBUM = {"red": (32, 48), "green": (48, 32), "blue": (21, 33), "yellow": (64, 64), "white": (7, 90)}

apply = partial(fo.Dataset.apply_model, label_field="sam3", num_workers=0, skip_failures=False, progress=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("album")
    return [media.plain(folder / f"{colour}.png", colour, size) for colour, size in ALBUM.items()]


@pytest.fixture(scope="module")
def noises(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("noise")
    sizes = [(40, 60), (33, 71), (120, 90), (64, 64), (50, 200), (97, 31)]
    return [media.noise(folder / f"{k}.png", k, size) for k, size in enumerate(sizes)]


@pytest.fixture
def album(pictures, new_dataset) -> fo.Dataset:
    return new_dataset([fo.Sample(filepath=path, colour=path.stem) for path in pictures])


@pytest.fixture(scope="module")
def patient(pictures) -> Iterator[fo.Dataset]:
    """A dataset for many short tests that leave no trace that matters to each other."""
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=path, colour=path.stem) for path in pictures])
    dataset.set_values("kind", [fo.Classification(label="x")] * len(ALBUM))
    dataset.set_values("number", [1.0] * len(ALBUM))
    dataset.set_values("numbers", [[1.0]] * len(ALBUM))
    yield dataset
    dataset.delete()


def declared(dataset: fo.Dataset) -> set[str]:
    """Paths of the fields that the database itself knows, whatever this process believes."""
    import fiftyone.core.odm as foo

    def paths(fields: list[dict], prefix: str) -> Iterator[str]:
        for field in fields:
            path = f"{prefix}{field['name']}"
            yield path
            yield from paths(field.get("fields") or [], f"{path}.")

    return set(paths(foo.get_db_conn().datasets.find_one({"name": dataset.name})["sample_fields"], ""))


def numbers(dataset: fo.Dataset, label: str, kind: str = "presence") -> list[float | None]:
    return dataset.values(f"sam3_{kind}.{label}")


# ------------------------------------------------------------------------------------------------ what is written


def test_fields_are_those_of_the_data_model(album):
    apply(album, scripted(["dog", "fire truck"]))

    schema = album.get_field_schema(flat=True)
    assert schema["sam3"].document_type is fo.Detections
    for kind, number in (("presence", fo.FloatField), ("score", fo.FloatField), ("count", fo.IntField)):
        assert schema[f"sam3_{kind}"].document_type is fo.DynamicEmbeddedDocument
        assert isinstance(schema[f"sam3_{kind}.dog"], number)
        assert isinstance(schema[f"sam3_{kind}.fire truck"], number)
    assert isinstance(schema["sam3_error"], fo.StringField)
    assert {name: type(schema[f"sam3.detections.{name}"]) for name in ATTRIBUTES} == ATTRIBUTES
    assert {name for name in album.get_field_schema() if name.startswith("sam3")} == {
        "sam3", "sam3_presence", "sam3_score", "sam3_count", "sam3_error",
    }  # fmt: skip


@pytest.mark.parametrize("label_field", ["sam3", "preds"])
def test_fields_are_declared_before_the_first_result_is_stored(album, label_field):
    seen = []

    def watch() -> None:
        # with one sample a batch, the second is asked when the first has been answered
        stored = album._sample_collection.count_documents({"sam3_presence.dog": {"$exists": True}})
        noted = run_info(album).get("label_field") if album.has_run("sam3") else None
        seen.append((declared(album), stored, noted))

    apply(album, scripted(["dog"], watch=watch), label_field=label_field, batch_size=1)

    (first, none_yet, _), (second, _, noted), *_ = seen
    assert none_yet == 0
    assert {"sam3_presence.dog", "sam3_score.dog", "sam3_count.dog", "sam3_error"} <= first
    assert {f"{label_field}.detections.{name}" for name in ATTRIBUTES} <= second
    assert noted == label_field  # for whoever goes on, should this run be killed


def test_what_was_found_is_what_is_stored(album):
    apply(album, scripted(["dog", "cat"]), batch_size=2)

    for colour, kept in zip(ALBUM, states(album), strict=True):
        found = {label: told(colour, label) for label in ("cat", "dog")}
        assert kept["presence"] == {label: presence for label, (presence, _) in found.items()}
        assert kept["score"] == {label: max(scores, default=0.1) for label, (_, scores) in found.items()}
        assert kept["count"] == counts(colour, "cat", "dog")
        assert labels_of(kept) == ["dog"] * kept["count"]["dog"] + ["cat"] * kept["count"]["cat"]
        assert kept["error"] is None
        for instance in kept["instances"]:
            presence, scores = found[instance["label"]]
            assert instance["presence"] == presence
            assert instance["object_score"] in scores
            assert instance["confidence"] == presence * instance["object_score"]
            assert instance["phrase"] == instance["label"]
    assert any(labels_of(kept) for kept in states(album))


def test_the_network_itself_is_heard_when_it_finds_nothing(album):
    # at threshold 1 nothing can be found, whatever the network has learned
    apply(album, Sam3ImageModel(media.tiny(), "dog, cat", confidence_thresh=1.0), batch_size=3)

    for kept in states(album):
        assert kept["instances"] == []
        assert kept["count"] == {"cat": 0, "dog": 0}
        assert all(0 <= kept["presence"][label] <= 1 and 0 < kept["score"][label] <= 1 for label in ("cat", "dog"))


def test_the_network_s_boxes_and_masks_name_the_same_pixels(noises, new_dataset):
    dataset = new_dataset([fo.Sample(filepath=path) for path in noises])
    dataset.compute_metadata()

    # at threshold 0 everything is found, whatever the network has learned
    apply(dataset, Sam3ImageModel(media.tiny(), ["dog"], confidence_thresh=0.0))

    assert dataset.count("sam3.detections") > 20
    for sample in dataset:
        width, height = sample.metadata.width, sample.metadata.height
        for detection in sample.sam3.detections:
            left, top, across, down = np.array(detection.bounding_box) * [width, height, width, height]
            assert detection.mask.dtype == bool
            assert np.allclose((down, across), detection.mask.shape)
            assert np.allclose((left, top), np.round((left, top)))
            assert left + across < width + 0.01
            assert top + down < height + 0.01
            if detection.mask.any():  # no row or column to spare
                rows, columns = detection.mask.any(1), detection.mask.any(0)
                assert rows[[0, -1]].all() and columns[[0, -1]].all()


# ------------------------------------------------------------------------------------------------ how it is run


@pytest.fixture(scope="module")
def one_by_one(pictures):
    """What is stored when the samples go through one at a time."""
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=path) for path in pictures])
    apply(dataset, scripted(), batch_size=1)
    yield states(dataset)
    dataset.delete()


@pytest.mark.parametrize(("batch_size", "num_workers"), [(None, 0), (2, 0), (5, 2), (50, 0), (2, 2)])
def test_batches_and_workers_change_nothing(album, one_by_one, batch_size, num_workers):
    apply(album, scripted(), batch_size=batch_size, num_workers=num_workers)

    assert states(album) == one_by_one


def test_batches_of_the_real_network_change_nothing(noises, new_dataset):
    """Mixed sizes, and concepts of their own for each image."""
    asked = [["owl"], None, ["bat", "red cap"], [], ["owl"], ["lemon"]]
    alone, together = (
        new_dataset([fo.Sample(filepath=path, ask=own) for path, own in zip(noises, asked, strict=True)])
        for _ in range(2)
    )
    model = Sam3ImageModel(media.tiny(), ["dog"], confidence_thresh=0.0, prompt_field="ask")

    apply(alone, model, batch_size=1)
    apply(together, model, batch_size=4)

    strangers = total = 0
    for one, other in zip(states(alone), states(together), strict=True):
        assert one["presence"] == pytest.approx(other["presence"], abs=1e-5)
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        assert one["count"] == other["count"]
        # equal but for the last bits of their confidence, so that two may change places
        left, right = (
            {(i["label"], i["phrase"], i["box"], i["mask"], round(i["confidence"], 4)) for i in kept["instances"]}
            for kept in (one, other)
        )
        strangers += len(left ^ right)
        total += len(left)
    assert total > 50
    assert strangers <= total // 50, "more than a mask or two with a pixel on the border of its threshold"


def test_pinned_memory_is_refused_softly_without_a_gpu(album, one_by_one, caplog):
    with caplog.at_level(logging.WARNING):
        apply(album, scripted(), pin_memory=True, batch_size=2)

    assert "not using a GPU" in caplog.text
    assert states(album) == one_by_one


def test_masks_go_to_an_output_folder(album, one_by_one, tmp_path):
    # two runs, so that instances that are on disk already are merged with new ones
    for concept in ("dog", "cat"):
        apply(album, scripted([concept]), batch_size=2, output_dir=str(tmp_path / "masks"), label_field="sam3")

    by_file = {Path(path).stem: kept for path, kept in zip(album.values("filepath"), one_by_one, strict=True)}
    written = 0
    for sample in album.view():
        expected = [i for i in by_file[Path(sample.filepath).stem]["instances"]]
        assert len(sample.sam3.detections) == len(expected)
        for detection, instance in zip(sample.sam3.detections, expected, strict=True):
            assert detection.mask is None
            assert detection.label == instance["label"]
            with Image.open(detection.mask_path) as picture:
                mask = np.array(picture) > 0
            assert (mask.shape, mask.tobytes()) == instance["mask"]
            written += 1
    assert written == len(list((tmp_path / "masks").glob("*.png"))) > 0


@pytest.mark.parametrize("workers", [0, 1])
def test_progress_may_be_a_function(album, workers):
    heard = []

    hear = lambda bar: heard.append((bar.iteration, bar.total))  # noqa: E731
    apply(album, scripted(), batch_size=2, num_workers=workers, progress=hear)

    assert heard[-1] == (5, 5)


def test_several_runs_within_one(album):
    model = scripted()

    with model:
        apply(album.limit(2), model)
        instances = sum(sum(counts(colour, "dog", "cat").values()) for colour in ("red", "green"))
        assert model.totals == dict(samples=2, failed=0, instances=instances)
        apply(album.skip(2), model)
        assert model.totals["samples"] == 5

    assert model.totals["samples"] == 0
    assert album.load_run_results("sam3").summary["samples"] == 5


# ------------------------------------------------------------------------------------------------ thresholds

THREE_DOGS = {("red", "dog"): (0.5, (0.9, 0.7, 0.5)), ("red", "cat"): (0.5, (0.9, 0.7, 0.5))}


@pytest.mark.parametrize(
    ("settings", "asked", "dogs", "cats"),
    [
        ({}, None, 0, 0),  # 0.45, 0.35 and 0.25 are below 0.5
        ({}, 0.3, 2, 2),
        ({"confidence_thresh": 0.3}, None, 2, 2),
        ({"confidence_thresh": 0.2}, 0.4, 1, 1),  # higher than the model's own
        ({"confidence_thresh": 0.4}, 0.2, 3, 3),  # lower
        ({"thresholds": {"dog": 0.3}}, None, 2, 0),
        ({"thresholds": {"dog": 0.3}}, 0.4, 1, 1),  # nothing below what is asked, says FiftyOne
        ({"thresholds": {"dog": 0.3}}, 0.2, 2, 3),  # but a concept may be stricter
        ({"thresholds": {"dog": 0.0, "cat": 1.0}}, None, 3, 0),
        ({"confidence_thresh": 0}, None, 3, 3),
    ],
)
def test_thresholds(patient, settings, asked, dogs, cats):
    red = patient.limit(1)

    model = scripted(["dog", "cat"], THREE_DOGS, ledger="limits", **settings)
    apply(red, model, label_field="limits", confidence_thresh=asked)

    (kept,) = states(red, "limits", "limits")
    assert kept["count"] == {"cat": cats, "dog": dogs}
    assert labels_of(kept) == ["dog"] * dogs + ["cat"] * cats
    assert kept["presence"] == {"cat": 0.5, "dog": 0.5}
    assert kept["score"] == {"cat": 0.9, "dog": 0.9}  # what presence suppressed is visible


def test_a_floor_stores_more_and_counts_the_same(album):
    apply(album.limit(1), scripted(["dog"], THREE_DOGS, confidence_thresh=0.4, floor=0.3))

    (kept,) = states(album.limit(1))
    assert kept["count"] == {"dog": 1}
    assert labels_of(kept) == ["dog"] * 2


def test_a_run_s_options_end_with_it(album):
    model = scripted(["dog", "cat"])
    apply(album, model, confidence_thresh=0.1, classes=["dog"], prompt_field="colour")
    model.detector.asked.clear()

    apply(album, model)

    assert model.config.confidence_thresh == 0.5
    assert {labels for _, labels in model.detector.asked} == {("dog", "cat")}


# ------------------------------------------------------------------------------------------------ concepts


def test_classes_restrict_the_concepts(album):
    model = scripted(["dog", "cat", "owl"])

    apply(album, model, classes=["owl", "dog"])

    assert {labels for _, labels in model.detector.asked} == {("dog", "owl")}
    assert numbers(album, "owl") == [told(colour, "owl")[0] for colour in ALBUM]
    assert "sam3_presence.cat" not in album.get_field_schema(flat=True)


def test_classes_are_the_concepts_of_a_model_that_has_none(album):
    model = scripted(None)

    apply(album, model, classes=["owl", "bat"])

    assert {labels for _, labels in model.detector.asked} == {("bat", "owl")}
    assert model.concepts == ()


def test_a_label_may_stand_for_several_phrases(noises, new_dataset):
    dataset = new_dataset([fo.Sample(filepath=path) for path in noises[:2]])
    classes = {"pet": ["dog", "cat"], "dog": "dog", "cat": ["cat"]}

    apply(dataset, Sam3ImageModel(media.tiny(), classes, confidence_thresh=0.0))

    for kept in states(dataset):
        for kind in ("presence", "score"):
            assert kept[kind]["pet"] == pytest.approx(max(kept[kind]["dog"], kept[kind]["cat"]), abs=1e-6)
        pets = [i for i in kept["instances"] if i["label"] == "pet"]
        assert len(pets) == kept["count"]["pet"] > 0
        assert {i["phrase"] for i in pets} <= {"dog", "cat"}


@pytest.mark.parametrize(("where", "classes"), [("loading", ["dog"]), ("applying", ["dog"]), ("applying", None)])
def test_phrases_of_each_sample(album, where, classes):
    album.set_values("ask", [["owl", "bat"], None, [" owl "], [], ["dog", "Dog", "dog ", "lemon"]])
    at_loading, at_applying = ({"prompt_field": "ask"} if where == moment else {} for moment in ("loading", "applying"))
    model = scripted(classes, **at_loading)

    apply(album, model, batch_size=2, **at_applying)

    expected = [{"owl", "bat"}, set(), {"owl"}, set(), {"dog", "lemon"}]
    for colour, own, kept in zip(ALBUM, expected, states(album), strict=True):
        asked = own | set(classes or ())
        assert kept["presence"] == {label: told(colour, label)[0] for label in asked}
        assert kept["count"] == counts(colour, *asked)
        assert len(kept["instances"]) == sum(kept["count"].values())
    schema = album.get_field_schema(flat=True)
    assert {"sam3_presence.owl", "sam3_count.bat", "sam3_score.lemon"} <= set(schema)
    assert {"owl", "bat", "lemon"} <= set(album.get_run_info("sam3").config.concepts)


def test_a_phrase_of_each_sample_may_be_one_string(album):
    apply(album, scripted(None), prompt_field="colour")

    assert [list(kept["presence"]) for kept in states(album)] == [[colour] for colour in ALBUM]


def test_a_string_of_phrases_is_read_as_classes_are(album):
    """Split at commas; an empty cell, as tables have them, asks for nothing."""
    album.set_values("ask", ["owl, bat", "", " \t", None, "lemon,, owl "])

    apply(album, scripted(["dog"]), prompt_field="ask")

    own = [{"owl", "bat"}, set(), set(), set(), {"lemon", "owl"}]
    assert [set(kept["presence"]) for kept in states(album)] == [{"dog"} | phrases for phrases in own]
    assert not any(kept["error"] for kept in states(album))


@pytest.mark.parametrize(
    ("phrase", "reason", "batch_size"),
    [
        ([" \t"], "at least one word", 1),
        (["lemon", " \t"], "at least one word", 5),
        ("word " * 40, "tokens", 3),
        ("a\0b", "no database can store", 5),
    ],
)
def test_a_bad_phrase_costs_its_own_sample(album, phrase, reason, batch_size):
    if isinstance(phrase, list):
        album.set_values("ask", [["owl"], phrase, ["bat"], ["owl"], ["owl"]])
    else:
        album.set_values("ask", ["owl", phrase, "bat", "owl", "owl"])

    apply(album, scripted(["dog"]), prompt_field="ask", batch_size=batch_size, skip_failures=True)

    good = states(album)
    bad = good.pop(1)
    assert reason in bad["error"] and bad["error"].startswith("ask: ")
    assert bad["presence"] is None and bad["instances"] is None
    assert [set(kept["presence"]) for kept in good] == [{"dog", "owl"}, {"dog", "bat"}, {"dog", "owl"}, {"dog", "owl"}]
    assert all(len(kept["instances"]) == sum(kept["count"].values()) for kept in good)


# ------------------------------------------------------------------------------------------------ merging


@pytest.mark.parametrize(
    ("label_field", "ledger", "batch_size"),
    [("sam3", "sam3", 1), ("sam3", "sam3", 3), ("preds", "sam3", 1), ("sam3", "meta", 2), ("a", "b", 5)],
)
def test_other_concepts_join_and_same_concepts_replace(album, label_field, ledger, batch_size):
    go = partial(apply, album, label_field=label_field, batch_size=batch_size)
    more_dogs = {(colour, "dog"): (0.99, (0.9, 0.8, 0.7, 0.6)) for colour in ALBUM}

    go(scripted(["dog", "cat"], ledger=ledger))
    first = states(album, label_field, ledger)
    go(scripted(["owl"], ledger=ledger))
    second = states(album, label_field, ledger)
    go(scripted(["dog"], more_dogs, ledger=ledger))
    third = states(album, label_field, ledger)

    for colour, one, two, three in zip(ALBUM, first, second, third, strict=True):
        assert two["presence"] == {**one["presence"], "owl": told(colour, "owl")[0]}
        assert two["count"] == {**one["count"], **counts(colour, "owl")}
        assert two["instances"][: len(one["instances"])] == one["instances"]
        assert labels_of(two)[len(one["instances"]) :] == ["owl"] * two["count"]["owl"]
        assert three["presence"] == {**two["presence"], "dog": 0.99}
        assert three["score"] == {**two["score"], "dog": 0.9}
        assert three["count"] == {**two["count"], "dog": 4}
        others = [i for i in two["instances"] if i["label"] != "dog"]
        assert three["instances"][: len(others)] == others
        assert labels_of(three)[len(others) :] == ["dog"] * 4
    assert album.get_run_info(ledger).config.label_field == label_field


def test_the_same_run_again_changes_nothing(album):
    model = scripted()
    apply(album, model)
    before = states(album)

    apply(album, model, batch_size=2)

    assert states(album) == before


def test_two_ledgers_know_nothing_of_each_other(album):
    apply(album, scripted(["dog"], ledger="one"), label_field="one")
    alone = states(album, "one", "one")

    apply(album, scripted(["cat"], ledger="two"), label_field="two")

    assert states(album, "one", "one") == alone
    assert [set(kept["presence"]) for kept in states(album, "two", "two")] == [{"cat"}] * 5
    assert set(album.get_run_info("two").config.concepts) == {"cat"}
    assert set(album.list_runs()) == {"one", "two"}


def test_a_ledger_may_move_to_another_label_field_and_takes_its_instances_along(album):
    apply(album, scripted(["dog"]), label_field="old")
    old = states(album, "old")

    apply(album, scripted(["cat"]), label_field="new")

    assert states(album, "old") != old  # the ledger has grown,
    assert [labels_of(kept) for kept in states(album, "old")] == [labels_of(kept) for kept in old]  # not the old field
    for colour, kept in zip(ALBUM, states(album, "new"), strict=True):
        found = counts(colour, "dog", "cat")
        assert labels_of(kept) == ["dog"] * found["dog"] + ["cat"] * found["cat"]


def test_an_earlier_result_outlives_a_file_that_went_bad(album, tmp_path):
    path = media.plain(tmp_path / "red.png", "red")
    album.add_sample(fo.Sample(filepath=path))
    apply(album, scripted(["dog"]))
    before = states(album)[-1]
    path.write_bytes(b"gone")

    apply(album, scripted(["cat"]), skip_failures=True, batch_size=4)

    after = states(album)[-1]
    assert "not an image" in after.pop("error")
    assert after == {key: value for key, value in before.items() if key != "error"}


# ------------------------------------------------------------------------------------------------ views

VIEWS = {
    "match": lambda d: d.match(F("colour").is_in(["green", "white"])),
    "limit": lambda d: d.limit(2),
    "select": lambda d: d.select([d.values("id")[k] for k in (4, 0, 2)], ordered=True),
    "shuffle": lambda d: d.shuffle(seed=3),
    "sort": lambda d: d.sort_by("colour", reverse=True),
    "select_fields": lambda d: d.select_fields("colour"),
    "exclude_fields": lambda d: d.exclude_fields("colour"),
    "empty": lambda d: d.match(F("colour") == "pink"),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_all_that_is_looked_at(album, one_by_one, name):
    view = VIEWS[name](album)
    chosen = view.values("id")

    apply(view, scripted(), batch_size=2)

    untouched = dict(error=None, presence=None, score=None, count=None, instances=None)
    for id_, kept, expected in zip(album.values("id"), states(album), one_by_one, strict=True):
        assert kept == (expected if id_ in chosen else untouched)


def test_a_view_that_hides_instances_hides_them_from_the_user_only(album):
    apply(album, scripted(["dog", "cat"]))
    dogs = album.filter_labels("sam3", F("label") == "dog", only_matches=False)
    assert dogs.distinct("sam3.detections.label") == ["dog"]

    apply(dogs, scripted(["owl"]), batch_size=2)

    for colour, kept in zip(ALBUM, states(album), strict=True):
        found = counts(colour, "cat", "dog", "owl")
        assert kept["count"] == found
        assert sorted(labels_of(kept)) == sorted(itertools.chain(*([label] * n for label, n in found.items())))


# ------------------------------------------------------------------------------------------------ what is refused


def untouched(dataset: fo.Dataset) -> bool:
    """No sample holds anything of a ledger, declared or not."""
    holding = {"$or": [{f"sam3_{kind}": {"$ne": None}} for kind in ("presence", "score", "count", "error")]}
    return dataset._sample_collection.count_documents(holding) == 0


@pytest.mark.parametrize(
    ("classes", "options", "reason"),
    [
        (["dog"], {"sam_label": "colour"}, "Unknown argument 'sam_label'"),
        (None, {}, "No concepts to look for"),
        (["dog"], {"confidence_thresh": 1.5}, "between 0 and 1, got 1.5"),
        (["dog"], {"confidence_thresh": float("nan")}, "between 0 and 1, got nan"),
        (["dog"], {"confidence_thresh": "0.5"}, "between 0 and 1, got '0.5'"),
        (["dog"], {"classes": ["dog", "cat"]}, r"classes='cat' is not among this model's concepts \['dog'\]"),
        (["dog"], {"classes": []}, "No concepts to look for"),
        (None, {"classes": [3]}, "must be a string, got 3"),
        (["dog"], {"prompt_field": "number"}, "'number' holds .*FloatField, but phrases must be strings"),
        (["dog"], {"prompt_field": "numbers"}, "'numbers' holds .*, but phrases must be strings"),
        (["dog"], {"label_field": "kind"}, "'kind' already holds Classification, not Detections"),
        (["dog"], {"label_field": "kind", "skip_failures": False}, "'kind' already holds Classification"),
        (["dog"], {"label_field": "number"}, "'number' already holds FloatField, not Detections"),
        (["dog"], {"label_field": "sam3_presence"}, "'sam3_presence' already holds DynamicEmbeddedDocument"),
    ],
)
def test_a_run_that_cannot_be_right_does_not_begin(patient, classes, options, reason):
    """Also where FiftyOne skips failures, as it does unless told otherwise."""
    patient.delete_sample_fields([name for name in patient.get_field_schema() if name.startswith("sam3")])
    patient.delete_runs()
    model = scripted(classes)

    with pytest.raises(ConceptError, match=reason):
        apply(patient, model, **{"batch_size": 2, "skip_failures": True, **options})

    assert untouched(patient)
    assert not {name for name in patient.get_field_schema() if name.startswith("sam3")} and not patient.list_runs()
    assert len(model.detector.asked) <= 2  # the label field is known to a model with its first answer, not before
    assert patient.distinct("kind.label") == ["x"]


def test_a_field_that_was_made_for_detections_and_holds_none_will_do(album):
    album.add_sample_field("ours", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)

    apply(album, scripted(["dog"]), label_field="ours")

    assert album.distinct("ours.detections.label") == ["dog"]


def test_annotations_made_by_hand_are_never_replaced(album):
    dog, cat = (fo.Detection(label=label, bounding_box=[0, 0, 0.5, 0.5]) for label in ("dog", "cat"))
    first = album.first()
    first["truth"] = fo.Detections(detections=[dog, cat])
    first.save()

    with pytest.raises(ConceptError, match="'truth' already holds Detections that this model did not make"):
        apply(album, scripted(["dog"]), label_field="truth")

    assert album.count_values("truth.detections.label") == {"dog": 1, "cat": 1}
    assert "sam3_presence" not in album.get_field_schema() and not album.list_runs()


def test_what_is_kept_was_asked_the_same(album):
    """Answers of other weights, words or thresholds are neither mixed with new ones nor renamed to them."""
    apply(album, scripted(["dog", "cat"], confidence_thresh=0.4))
    record = run_info(album)["concepts"]["dog"]

    others = [
        (scripted(["dog"], confidence_thresh=0.7, skip_existing=True), "threshold 0.4, now it is 0.7"),
        (scripted({"dog": "a dog"}, confidence_thresh=0.4, skip_existing=True), r"phrases \['dog'\], now it is"),
        (scripted(["dog"], thresholds={"dog": 0.1}, confidence_thresh=0.4, skip_existing=True), "now it is 0.1"),
    ]
    for model, reason in others:
        with pytest.raises(ConceptError, match=reason):
            apply(album, model)

    again = scripted(["dog"], thresholds={"dog": 0.4}, skip_existing=True)  # the same, said otherwise
    apply(album, again)
    assert again.detector.asked == []
    assert run_info(album)["concepts"]["dog"] == record  # nothing was asked, so nothing is told anew
    apply(album, scripted(["dog"], confidence_thresh=0.7))  # who does not resume may ask as they like
    assert run_info(album)["concepts"]["dog"]["confidence_thresh"] == 0.7


def test_a_refused_run_leaves_the_record_of_the_one_before(album):
    apply(album, scripted(["dog"], confidence_thresh=0.4))
    record, kept = run_info(album)["concepts"], states(album)
    album.set_values("kind", [fo.Classification(label="x")] * len(ALBUM))

    with pytest.raises(ConceptError, match="already holds Classification"):
        apply(album, scripted(["dog"], confidence_thresh=0.7), label_field="kind")

    assert run_info(album)["concepts"] == record
    assert states(album) == kept


def test_a_prompt_field_that_is_not_there(patient):
    with pytest.raises(ConceptError, match="prompt_field='nope' is not a field of .* it has .*'colour'"):
        apply(patient, scripted(["dog"], prompt_field="nope"))
    with pytest.raises(ValueError, match="nope"):  # FiftyOne's own words
        apply(patient, scripted(["dog"]), prompt_field="nope")

    assert untouched(patient)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_an_impossible_batch_size(patient, batch_size):
    with pytest.raises(ValueError, match="batch_size"):
        apply(patient, scripted(), batch_size=batch_size)

    assert untouched(patient)


@pytest.mark.parametrize(
    ("classes", "settings", "reason"),
    [
        ([], {}, "No concepts"),
        ("", {}, "No concepts"),
        (["dog", " "], {}, "at least one word"),
        (["dog", 3], {}, "must be a string"),
        (["dog", "Dog"], {}, "given twice"),
        (["St. Bernard", "St Bernard"], {}, "differ only in what a field name cannot hold"),
        (["word " * 40], {}, "tokens"),
        (["a\0b"], {}, "no database can store"),
        (["dog"], {"thresholds": {"cat": 0.5}}, "'cat', which is not among the concepts"),
        (["dog"], {"thresholds": {"dog": -0.1}}, "between 0 and 1, got -0.1"),
        (["dog"], {"confidence_thresh": 2}, "between 0 and 1, got 2"),
        (["dog"], {"floor": 2}, "floor must be a number between 0 and 1, got 2"),
        (["dog"], {"ledger": "a.b"}, "ledger's name must be a plain word"),
        (["dog"], {"ledger": ""}, "ledger's name must be a plain word"),
    ],
)
def test_a_model_that_cannot_be_right_is_not_built(classes, settings, reason):
    with pytest.raises(ConceptError, match=reason):
        Sam3ImageModel(media.tiny(), classes, **settings)


@pytest.mark.parametrize("field", ["sam3_presence", "sam3_score", "sam3_count", "sam3_error"])
def test_a_ledger_does_not_write_over_another_s_field(album, field):
    album.set_values(field, [fo.Classification(label="x")] * 5)

    with pytest.raises(ConceptError, match=f"{field}.* already holds"):
        apply(album, scripted())

    assert album.distinct(f"{field}.label") == ["x"]
    apply(album, scripted(ledger="other"))
    assert [set(kept["presence"]) for kept in states(album, "sam3", "other")] == [{"cat", "dog"}] * 5


# ------------------------------------------------------------------------------------------------ without a dataset


def test_images_may_be_asked_without_samples():
    model = scripted(["dog", "cat"])
    images = [np.full((40, 30, 3), media.COLOURS[colour], np.uint8) for colour in ("red", "green")]
    images[0].flags.writeable = False  # as readers of videos hand them out

    detections = model.predict_all(images)

    assert [type(d) for d in detections] == [fo.Detections] * 2
    for colour, found in zip(("red", "green"), detections, strict=True):
        labels = [d.label for d in found.detections]
        assert {label: labels.count(label) for label in ("cat", "dog")} == counts(colour, "cat", "dog")
    assert len(model.predict(images[1]).detections) == len(detections[1].detections)


@pytest.mark.parametrize("image", [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3))])
def test_what_is_no_image(image):
    with pytest.raises(ValueError, match="Images must be uint8"):
        scripted().predict(image)


def test_samples_are_written_within_a_run_only(album):
    with pytest.raises(RuntimeError, match="apply_model"):
        scripted().predict(np.zeros((4, 5, 3), np.uint8), album.first())


