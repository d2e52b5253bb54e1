"""A ledger of more concepts than a schema should know: the same questions, the same answers, a short sidebar."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import fiftyone as fo
import pytest
from fiftyone import ViewField as F
from support import films, media
from support.media import scripted

from curation.answers import asked_concepts, read_answers
from curation.overview import companions, overview
from curation.presence import absent, present, rich, where, without_instances
from curation.truth import verify
from evaluation.concepts import evaluate_concepts
from zoo.documents import document_of
from zoo.engine.concepts import Concept
from zoo.engine.results import ConceptResult
from zoo.ledger import MOST_DECLARED, Ledger, answered, declare, declared, pending, presence_path, recorded, write
from zoo.most_found import declare_most_found, found_in_most
from zoo.provenance import asked_phrases, run_info, start_run, vocabulary_of
from zoo.segment import segment
from zoo.sidebar import show

MANY = [f"thing {k}" for k in range(100)]
#: of MANY, with how many instances in the k-th of four pictures
FOUND = {"thing 3": (1, 0, 2, 1), "thing 97": (0, 0, 5, 0), "thing 50": (1, 1, 0, 0)}

apply = partial(fo.Dataset.apply_model, label_field="sam3", num_workers=0, skip_failures=False, progress=False)


def numbers(label: str, k: int) -> ConceptResult:
    """What a picture says of a concept; "thing 8" is present nowhere, and nearly in the second."""
    count = FOUND.get(label, (0,) * 4)[k]
    presence = 0.9 if count else (0.4 if (label, k) == ("thing 8", 1) else 0.1)
    return ConceptResult(label, presence, presence, (), count, 0.5)


def fill(dataset: fo.Dataset, labels: list[str]) -> None:
    """As a run would."""
    ledger = Ledger()
    declare(dataset, ledger, labels, "sam3")
    start_run(dataset, ledger, [Concept(label, (label,)) for label in labels], dict(confidence_thresh=0.5))
    for k, sample in enumerate(dataset.view()):
        write(sample, ledger, [numbers(label, k) for label in labels], sample)
        sample["sam3"] = fo.Detections()
        sample.save()


@pytest.fixture
def empty(new_dataset) -> fo.Dataset:
    """Four samples whose files nobody looks at."""
    return new_dataset([fo.Sample(filepath=f"/nowhere/{k}.png") for k in range(4)])


@pytest.fixture
def wide(empty) -> fo.Dataset:
    fill(empty, MANY)
    return empty


def flat(dataset: fo.Dataset) -> list[str]:
    return [path for path in dataset.get_field_schema(flat=True) if ".thing" in path]


# ---------------------------------------------------------------------------------------------- the schema


def test_up_to_so_many_concepts_are_declared_and_of_more_none(empty):
    declare(empty, Ledger(), MANY[:40])
    declare(empty, Ledger(), MANY[20:MOST_DECLARED])
    assert declared(empty, Ledger()) == MANY[:MOST_DECLARED]
    declare(empty, Ledger(), MANY)  # not the first few of them: which those are would be chance
    assert declared(empty, Ledger()) == MANY[:MOST_DECLARED]
    assert len(flat(empty)) == 3 * MOST_DECLARED


def test_after_the_run_what_was_found_most_often_is_declared(wide):
    assert flat(wide) == []
    assert found_in_most(wide, Ledger()) == ["thing 3", "thing 50", "thing 97"]

    assert declare_most_found(wide, Ledger()) == ["thing 3", "thing 50", "thing 97"]

    assert declared(wide, Ledger()) == ["thing 3", "thing 50", "thing 97"]
    assert wide.values("sam3_count.thing 97") == [0, 0, 5, 0]
    show(wide, Ledger(), MANY)
    (group,) = [g for g in wide.app_config.sidebar_groups if g.name == "sam3_presence"]
    assert sorted(group.paths) == sorted(presence_path(label) for label in FOUND)


def test_no_more_are_declared_than_there_is_room_for(empty):
    labels = [f"thing {k}" for k in range(90)]
    declare(empty, Ledger(), labels)
    start_run(empty, Ledger(), [Concept(label, (label,)) for label in labels], {})
    for k, sample in enumerate(empty.view()):  # the later, the more often
        results = [ConceptResult(n, 0.9, 0.9, (), int(i >= 20 * k), 0.5) for i, n in enumerate(labels)]
        write(sample, Ledger(), results, sample)
        sample.save()

    shown = declare_most_found(empty, Ledger())

    assert len(shown) == len(declared(empty, Ledger())) == MOST_DECLARED
    assert set(shown) == {*labels[60:], *labels[40:60], *labels[20:30]}  # in 4, in 3, and the first of those in 2
    assert declare_most_found(empty, Ledger()) == declared(empty, Ledger())  # and again: no change


def test_a_narrow_ledger_shows_what_was_never_found(empty):
    fill(empty, MANY[:5])
    assert declare_most_found(empty, Ledger()) == declared(empty, Ledger()) == MANY[:5]


# ------------------------------------------------------------------------------------------- the same questions


def test_queries_by_path_are_those_of_any_ledger(wide):
    path = presence_path("thing 3")
    assert wide.values(path) == [0.9, 0.1, 0.9, 0.9]
    assert wide.bounds(path) == (0.1, 0.9) and wide.sum("sam3_count.thing 3") == 4
    assert len(wide.match(F(path) > 0.5)) == 3 and len(wide.exists(path)) == 4
    assert wide.sort_by(path).first().id == wide.values("id")[1]
    copy = wide.clone()
    assert copy.select_fields("sam3_presence").match(F(path) < 0.5).count() == 1
    assert recorded(copy.first(), Ledger()) == answered(copy.first(), Ledger()) == set(MANY)
    sample = wide.first()
    sample.tags.append("seen")
    sample.save()
    assert wide.values(path)[0] == 0.9  # a sample that is saved otherwise keeps its numbers


def test_pending_and_what_was_asked(wide):
    assert len(pending(wide, MANY)) == 0
    assert len(pending(wide, ["thing 99", "new"])) == 4
    sample = wide.last()
    sample["sam3_presence"], sample["sam3_count"] = document_of({"thing 1": 0.5}), document_of({"thing 1": 1})
    sample.save()
    assert pending(wide, ["thing 1"]).values("id") == []
    assert pending(wide, ["thing 99"]).values("id") == [sample.id]
    assert list(asked_phrases(wide, Ledger())) == list(asked_concepts(wide)) == MANY
    assert [c.label for c in vocabulary_of(wide).concepts] == MANY


def test_a_second_run_joins_and_replaces(wide):
    others = ["thing 3", *(f"other {k}" for k in range(30))]
    for sample in wide.view():
        write(sample, Ledger(), [ConceptResult(n, 0.2, 0.2, (), 0, 0.5) for n in others], sample)
        sample.save()
    start_run(wide, Ledger(), [Concept(label, (label,)) for label in others], {})

    assert wide.values(presence_path("thing 3")) == [0.2] * 4
    assert wide.values(presence_path("other 29")) == [0.2] * 4
    assert wide.values(presence_path("thing 97")) == [0.1, 0.1, 0.9, 0.1]
    assert len(asked_phrases(wide, Ledger())) == 130
    assert found_in_most(wide, Ledger()) == ["thing 50", "thing 97"]


def test_curation_reads_what_the_schema_does_not_know(wide):
    ids = wide.values("id")
    answers = read_answers(wide)
    assert answers.concepts == tuple(MANY) and answers.presence.shape == (4, 100)
    assert answers.count[:, answers.place("thing 97")].tolist() == [0, 0, 5, 0]
    assert sorted(present(wide, "thing 3").values("id")) == sorted([ids[0], ids[2], ids[3]])
    assert absent(wide, "thing 8").values("id")[0] == ids[1]  # the closest call
    assert rich(wide, "thing 97").values("id") == [ids[2]]
    assert len(without_instances(wide, "thing 97")) == 0
    assert where(wide, present=["thing 3", "thing 50"]).values("id") == [ids[0]]
    assert overview(answers, "thing 3").present == 3
    assert companions(wide, "thing 3") == [
        dict(concept="thing 50", both=1, share=0.333), dict(concept="thing 97", both=1, share=0.333),
    ]  # fmt: skip
    assert verify(wide[:1], "thing 97", False) == 1


def test_evaluation_knows_what_was_asked(wide):
    truth = [("thing 3",), (), ("thing 97", "thing 60"), ()]
    for sample, names in zip(wide.view(), truth, strict=True):
        sample["ground_truth"] = fo.Detections(
            detections=[fo.Detection(label=name, bounding_box=[0, 0, 0.5, 0.5]) for name in names]
        )
        sample.save()
    found = evaluate_concepts(wide, "sam3", "ground_truth", exhaustive=True, use_masks=False, progress=False)
    assert len(found.table) == 400  # every concept of every picture was an answer, right or wrong
    assert {c for c, p in zip(found.table.concepts, found.table.counts, strict=True) if p.has_gt} == {
        "thing 3", "thing 60", "thing 97",
    }  # fmt: skip


def test_deleting_a_wide_ledger_deletes_it(wide):
    declare_most_found(wide, Ledger())
    wide.delete_sample_fields(list(Ledger().fields))
    wide.delete_run("sam3")
    assert asked_phrases(wide, Ledger()) == {} and flat(wide) == []
    assert not any("sam3_presence" in document for document in wide._sample_collection.find())
    fill(wide, ["thing 3"])
    assert declared(wide, Ledger()) == ["thing 3"]


# ------------------------------------------------------------------------------------------------- real runs


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("album")
    return [media.plain(folder / f"{c}.png", c) for c in ("red", "green", "blue")]


@pytest.fixture
def album(pictures, new_dataset) -> Iterator[fo.Dataset]:
    return new_dataset([fo.Sample(filepath=path) for path in pictures])


def test_a_run_of_many_concepts_goes_on_where_it_stopped(album):
    asked: list[int] = []

    def model(labels):
        sam3 = scripted(labels)
        batch = sam3._batch
        sam3._batch = lambda i, q: asked.append(sum(len(x.concepts) for x in q)) or batch(i, q)
        return sam3

    apply(album.limit(2), model(MANY))
    assert sum(asked) == 200
    assert 0 < len(declared(album, Ledger())) <= MOST_DECLARED
    asked.clear()
    more = [*MANY, "one more"]
    list(segment(album, model(more), skip_existing=True))

    assert sum(asked) == 2 + 101  # two pictures lack one concept, the third lacks all
    assert len(pending(album, more)) == 0
    assert list(run_info(album)["concepts"]) == more
    assert sum(bool(n) for n in album.values("sam3_count.thing 0")) == len(
        album.match(F("sam3.detections.label").contains("thing 0"))
    )


def test_frames_of_videos(tmp_path, new_dataset):
    clip = new_dataset([fo.Sample(films.film(tmp_path / "film.mp4", 3))])
    apply(clip, scripted(MANY))
    path = presence_path("thing 99", frames=True)
    assert [v is not None for v in clip.values(path)[0]] == [True] * 3
    assert clip.match_frames(F("sam3_presence.thing 99") >= 0).count("frames") == 3
    assert len(pending(clip, MANY, Ledger(frames=True))) == 0
    assert len(declared(clip, Ledger(frames=True))) <= MOST_DECLARED


def test_a_vocabulary_as_large_as_lvis(empty):
    """In seconds, and as cheap in the schema as 100: what may grow with the concepts is numbers alone."""
    labels = [f"thing {k}" for k in range(1203)]
    start = time.monotonic()
    fill(empty, labels)
    assert declare_most_found(empty, Ledger()) == ["thing 3", "thing 50", "thing 97"]
    assert len(pending(empty, labels)) == 0
    answers = read_answers(empty)
    assert len(companions(empty, "thing 3")) == 2 and len(present(empty, "thing 3")) == 3
    assert time.monotonic() - start < 15  # of the clock: the database works elsewhere
    assert answers.presence.shape == (4, 1203) and answers.presence[2, 97] == 0.9
    assert len(empty.get_field_schema(flat=True)) < 60
    (document,) = empty._sample_collection.find().limit(1)
    held = sum(len(document[field]) for field in ("sam3_presence", "sam3_score", "sam3_count"))
    assert held == 3 * (1203 + 1)  # and the class


def test_a_document_of_numbers_is_one_of_fiftyone_s():
    held = {f"thing {k}": k / 7 for k in range(5)} | {"none": None}
    ours, theirs = document_of(held), fo.DynamicEmbeddedDocument(**held)
    assert ours == theirs and ours.to_dict() == theirs.to_dict()
    assert ours.field_names == theirs.field_names and type(ours) is type(theirs)
    ours["thing 1"], theirs["thing 1"] = 2.0, 2.0
    ours["new"], theirs["new"] = 3, 3
    assert ours.copy() == ours == theirs and ours.copy()["new"] == 3
