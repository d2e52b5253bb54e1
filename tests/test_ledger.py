"""The ledger: names, declared fields, what is pending, and where numbers came from."""

from __future__ import annotations

import time
from collections.abc import Callable

import fiftyone as fo
import pytest
from fiftyone import ViewField as F
from hypothesis import example, given
from hypothesis import strategies as st

from zoo.engine.concepts import Concept
from zoo.engine.errors import ConceptError
from zoo.engine.results import ConceptResult
from zoo.labels import ATTRIBUTES
from zoo.ledger import (
    MOST_DECLARED,
    Ledger,
    check,
    declare,
    field_of,
    kept,
    label_of,
    pending,
    presence_path,
    recorded,
    write,
    write_error,
)
from zoo.provenance import finish_run, instances_fields, note_label_field, run_info, start_run
from zoo.sidebar import show

#: labels that something in the chain from FiftyOne to MongoDB takes amiss
AWKWARD = [
    "St. Bernard", "...", "$", "$ bill", "US$ bill", "_", "__init__", "_id", "id", "pk", "7", "0", "a.b.c", "None",
    "clean", "copy", "validate", "get_field", "field_names", "to_dict", "STRICT",  # what a document calls its own
    "fire truck", "naïve café", "日本の犬", "🐕‍🦺 dog", "a/b:c;d'e\"f", "x" * 300,
    "a\u2024b", "\uff3fa", "\uff04", "\u2060", "\u2060clean",  # look-alikes
]  # fmt: skip

# what a user may ask: no lone surrogates and no null, which no database can store
LABELS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
# the characters that matter, much more often than chance would have them
TRICKY = st.text(st.sampled_from("ab ._$\u2024\uff04\uff3f\u2060"), min_size=1, max_size=8)


def found(label: str, presence: float = 0.75, count: int = 2) -> ConceptResult:
    return ConceptResult(label, presence, 0.5, (), count, 0.5)


@pytest.fixture
def pair(new_dataset) -> fo.Dataset:
    """Two samples whose files nobody looks at."""
    return new_dataset([fo.Sample(filepath=f"/nowhere/{k}.png") for k in range(2)])


@pytest.fixture
def fill(pair) -> Callable[..., None]:
    """Declares and writes results of the ``k``-th sample, as a run would."""

    def write_one(k: int, *results: ConceptResult, name: str = "sam3") -> None:
        ledger = Ledger(name)
        declare(pair, ledger, [r.label for r in results])
        sample = list(pair.view())[k]
        write(sample, ledger, results, sample)
        sample.save()

    return write_one


# ------------------------------------------------------------------------------------------------ names


@given(LABELS | TRICKY)
@example("a\u2024b")
@example("clean")
@example("\u2060clean")
def test_a_name_gives_its_label_back(label):
    name = field_of(label)

    assert label_of(name) == label
    assert not set(name) & {".", "$", "\0"}
    assert not name.startswith("_")
    assert not hasattr(fo.DynamicEmbeddedDocument, name) and name not in ("id", "pk")


@given(TRICKY, TRICKY)
def test_labels_never_share_a_name(one, other):
    assert (field_of(one) == field_of(other)) == (one == other)


@pytest.mark.parametrize("label", ["dog", "fire truck", "x-ray", "2 dogs", "naïve café", "日本の犬", "snake_case"])
def test_ordinary_labels_are_their_own_names(label):
    assert field_of(label) == label


@pytest.mark.parametrize("label", ["a\0b", "\ud800"])
def test_what_no_database_can_store(label):
    with pytest.raises(ConceptError, match="no database can store"):
        field_of(label)


def test_every_name_is_accepted_from_end_to_end(pair, fill):
    """By FiftyOne, by MongoDB, in views, after a reload, and in a copy: all labels on one sample."""
    fill(0, *(found(label, presence=0.6) for label in AWKWARD))

    pair.reload()
    (document, other) = pair.view()
    assert recorded(document, Ledger()) == set(AWKWARD)
    assert recorded(other, Ledger()) == set()
    schema = pair.get_field_schema(flat=True)
    for label in AWKWARD:
        path = presence_path(label)
        assert isinstance(schema[path], fo.FloatField)
        assert pair.values(path) == [0.6, None]
        assert pair.match(F(path) > 0.5).values("id") == [document.id]
        assert pending(pair, [label]).values("id") == [other.id]
    assert pair.bounds(presence_path("St. Bernard")) == (0.6, 0.6)
    assert recorded(pair.clone().first(), Ledger()) == set(AWKWARD)
    assert recorded(pair.first().copy(), Ledger()) == set(AWKWARD)
    pair.create_index(presence_path("US$ bill"))


def test_paths():
    assert presence_path("fire truck") == "sam3_presence.fire truck"
    assert presence_path("dog", "mine", frames=True) == "frames.mine_presence.dog"
    assert Ledger("mine", frames=True).path("error") == "frames.mine_error"
    assert Ledger("mine").fields == ("mine_presence", "mine_score", "mine_count", "mine_error")


@pytest.mark.parametrize("name", ["", "a.b", "a b", "_a", "$a", "1a", "frames.sam3", None, 3])
def test_a_ledger_s_name_must_be_a_plain_word(name):
    with pytest.raises(ConceptError, match="plain word"):
        Ledger(name)


# ------------------------------------------------------------------------------------------------ fields


def test_declaring_is_adding(pair):
    declare(pair, Ledger(), ["dog"])
    before = set(pair.get_field_schema(flat=True))

    declare(pair, Ledger(), ["dog", "St. Bernard"], "preds")

    added = set(pair.get_field_schema(flat=True)) - before
    name = field_of("St. Bernard")
    assert {f"sam3_{kind}.{name}" for kind in ("presence", "score", "count")} == {a for a in added if name in a}
    assert {f"preds.detections.{attribute}" for attribute in ATTRIBUTES} <= added
    assert pair.values("sam3_presence.dog") == [None, None]


def test_declaring_many_concepts_takes_no_longer_than_a_few():
    """FiftyOne writes the whole schema anew for each field added: one at a time, 60 concepts took half a minute."""
    dataset = fo.Dataset()
    start = time.process_time()
    declare(dataset, Ledger(), [f"concept {k}" for k in range(MOST_DECLARED)], "sam3")
    elapsed = time.process_time() - start

    assert len([path for path in dataset.get_field_schema(flat=True) if ".concept " in path]) == 3 * MOST_DECLARED
    assert elapsed < 5
    dataset.delete()


def test_presence_stands_open_below_the_labels_in_the_app(pair):
    declare(pair, Ledger(), ["dog"], "sam3")
    show(pair, Ledger(), ["dog"])
    declare(pair, Ledger(), ["St. Bernard"])
    show(pair, Ledger(), ["St. Bernard"])

    groups = {group.name: group for group in fo.load_dataset(pair.name, reload=True).app_config.sidebar_groups}
    names = list(groups)
    assert names[names.index("labels") + 1] == "sam3_presence"
    assert names.count("sam3_presence") == 1
    assert groups["sam3_presence"].paths == [presence_path("dog"), presence_path("St. Bernard")]
    assert groups["sam3_presence"].expanded
    assert "sam3" in groups["labels"].paths


@pytest.mark.parametrize("kind", ["presence", "score", "count", "error"])
@pytest.mark.parametrize("value", [1.5, fo.Classification(label="x"), {"dog": 0.5}])
def test_a_field_that_holds_something_else(pair, kind, value):
    pair.set_values(f"sam3_{kind}", [value] * 2)

    with pytest.raises(ConceptError, match=f"'sam3_{kind}' already holds .* ledger="):
        check(pair, Ledger())

    check(pair, Ledger("other"))


@pytest.mark.parametrize(
    ("value", "held"),
    [(1.5, "FloatField"), (fo.Classification(label="x"), "Classification"), (fo.Keypoints(), "Keypoints")],
)
def test_a_label_field_that_holds_something_else(pair, value, held):
    pair.set_values("theirs", [value] * 2)

    with pytest.raises(ConceptError, match=f"'theirs' already holds {held}, not Detections: choose another field"):
        check(pair, Ledger(), "theirs")

    pair.set_values("ours", [fo.Detections()] * 2)
    check(pair, Ledger(), "ours")
    check(pair, Ledger(), "new")


def test_a_declared_ledger_passes_its_own_check(pair):
    declare(pair, Ledger(), ["dog"], "sam3")

    check(pair, Ledger(), "sam3")


def test_numbers_of_other_concepts_stay(pair, fill):
    fill(0, found("dog", 0.9, 3), found("cat", 0.1, 0))
    fill(0, found("cat", 0.2, 1), found("owl", 0.3, 2))

    assert pair.values("sam3_presence.dog") == [0.9, None]
    assert pair.values("sam3_presence.cat") == [0.2, None]
    assert pair.values("sam3_count.cat") == [1, None]
    assert recorded(list(pair.view())[0], Ledger()) == {"dog", "cat", "owl"}


def test_an_error_stays_until_the_next_result(pair, fill):
    declare(pair, Ledger(), [])
    sample = list(pair.view())[0]
    write_error(sample, Ledger(), "no such file")
    sample.save()
    assert pair.values("sam3_error") == ["no such file", None]

    fill(0, found("dog"))

    assert pair.values("sam3_error") == [None, None]


def test_instances_of_concepts_not_asked_are_kept():
    def detections(*labels: str) -> fo.Detections:
        return fo.Detections(detections=[fo.Detection(label=label) for label in labels])

    sample = fo.Sample(filepath="x.png", ours=detections("dog", "cat", "dog"), old=detections("owl"), none=None)

    def labels(*args) -> list[str]:
        return [d.label for d in kept(sample, *args)]

    assert labels(["ours"], ["cat"]) == ["dog", "dog"]
    assert labels(["none", "nowhere", "ours", "old"], []) == ["dog", "cat", "dog"]
    assert labels(["old", "ours"], ["dog"]) == ["owl"]
    assert labels([], []) == labels(["nowhere"], []) == []


# ------------------------------------------------------------------------------------------------ pending


def test_nothing_found_is_not_pending_and_not_asked_is(pair, fill):
    first, second = pair.values("id")
    assert pending(pair, ["dog"]).values("id") == [first, second]  # nothing is declared yet

    fill(0, found("dog", presence=0.0, count=0))

    assert pending(pair, ["dog"]).values("id") == [second]
    fill(1, found("dog", presence=1.0))
    assert len(pending(pair, ["dog"])) == 0


def test_pending_is_a_matter_of_each_concept(pair, fill):
    first, second = pair.values("id")
    fill(0, found("dog"), found("cat"))
    fill(1, found("dog"))

    assert pending(pair, ["dog"]).values("id") == []
    assert pending(pair, ["dog", "cat"]).values("id") == [second]  # done in part
    assert pending(pair, ["cat"]).values("id") == [second]
    assert pending(pair, ["dog", "owl"]).values("id") == [first, second]
    assert pending(pair, []).values("id") == []


def test_a_failed_sample_is_pending(pair, fill):
    fill(1, found("dog"))
    sample = list(pair.view())[0]
    write_error(sample, Ledger(), "no such file")
    sample.save()

    assert pending(pair, ["dog"]).values("id") == [pair.first().id]


def test_pending_of_a_view_is_within_it(pair, fill):
    fill(0, found("dog"))

    assert len(pending(pair.limit(1), ["dog"])) == 0
    assert len(pending(pair.skip(1), ["dog"])) == 1
    assert len(pending(pair.skip(1), ["never"])) == 1


def test_pending_of_another_ledger(pair, fill):
    fill(0, found("dog"), name="mine")

    assert len(pending(pair, ["dog"], Ledger("mine"))) == 1
    assert len(pending(pair, ["dog"])) == 2


def test_recorded_knows_every_kind_of_nothing(pair):
    assert recorded(None, Ledger()) == set()
    assert recorded(pair.first(), Ledger()) == set()  # no field
    declare(pair, Ledger(), ["dog"])
    assert recorded(pair.first(), Ledger()) == set()  # no document
    sample = pair.first()
    sample["sam3_presence"] = fo.DynamicEmbeddedDocument(dog=None)
    sample.save()
    assert recorded(pair.first(), Ledger()) == set()  # no value
    sample["sam3_presence"] = fo.DynamicEmbeddedDocument(dog=0.0)
    sample.save()
    assert recorded(pair.first(), Ledger()) == {"dog"}


# ------------------------------------------------------------------------------------------------ provenance


def test_runs_share_one_record_and_each_concept_has_its_own_entry(pair):
    about = dict(checkpoint="tiny", fingerprint="abc", versions=dict(torch="2"))
    start_run(pair, Ledger(), [Concept("dog", ("dog",)), Concept("pet", ("cat", "hamster"), 0.3)], about)
    note_label_field(pair, Ledger(), "preds")
    finish_run(pair, Ledger(), dict(samples=2, failed=0))
    start_run(pair, Ledger(), [Concept("dog", ("a dog",), 0.7)], dict(about, fingerprint="xyz"))

    assert pair.list_runs() == ["sam3"]
    config = pair.get_run_info("sam3").config
    assert (config.method, config.ledger, config.frames) == ("sam3_concepts", "sam3", False)
    assert config.label_field == "preds"
    info = run_info(pair)
    assert info["concepts"]["dog"]["phrases"] == ["a dog"]
    assert info["concepts"]["dog"]["threshold"] == 0.7
    assert info["concepts"]["dog"]["fingerprint"] == "xyz"
    assert info["concepts"]["pet"]["phrases"] == ["cat", "hamster"]
    assert info["concepts"]["pet"]["fingerprint"] == "abc"
    assert info["concepts"]["pet"]["started"] <= info["concepts"]["dog"]["started"]
    assert pair.load_run_results("sam3").summary["samples"] == 2


def test_the_record_outlives_the_session(pair):
    start_run(pair, Ledger(), [Concept("St. Bernard", ("dog",)), Concept("$", ("dollar",))], {})
    finish_run(pair, Ledger(), dict(samples=1))

    fresh = fo.load_dataset(pair.name, reload=True)

    assert list(run_info(fresh)["concepts"]) == ["St. Bernard", "$"]
    assert fresh.load_run_results("sam3", cache=False).summary["samples"] == 1


def test_no_run_no_record(pair):
    assert run_info(pair) == {}
    finish_run(pair, Ledger(), dict(samples=1))
    note_label_field(pair, Ledger(), "preds")
    assert pair.list_runs() == []


def test_where_instances_may_be(pair):
    assert instances_fields(pair, Ledger()) == ()

    pair.add_sample_field("sam3", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    assert instances_fields(pair, Ledger()) == ("sam3",)

    start_run(pair, Ledger(), [], {})
    note_label_field(pair, Ledger(), "preds")
    assert instances_fields(pair, Ledger()) == ("sam3",)  # not before it exists
    pair.add_sample_field("preds", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    assert instances_fields(pair, Ledger()) == ("preds", "sam3")
    assert instances_fields(pair, Ledger("other")) == ()
