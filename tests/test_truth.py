"""What is known to be there, and not there: by labels, by what is said about them, and by what people verified.

``facts`` writes a sample and a concept as "+" (present), "-" (absent) or "?" (not known); a row a concept.
"""

from __future__ import annotations

from collections.abc import Callable

import fiftyone as fo
import pytest
from fiftyone import ViewField as F
from support.ledgers import A, B, ask, picture, places, rectangle, shared, video

from curation.answers import read_answers
from curation.errors import CurationError
from curation.hard_negatives import find_hard_negatives
from curation.label_errors import find_label_errors
from curation.review import answer, build_review
from curation.truth import Said, Truth, any_verified, names_path, read_truth, verify
from curation.verified import declare_verdicts
from evaluation.saco import NEGATIVES, NOT_EXHAUSTIVE
from zoo.ledger import Ledger

ALL = dict(exhaustive=True)


def truth_of(samples, said: Said | None = None, concepts=None, ledger: str = "sam3", **settings) -> Truth:
    said = said or Said(**{"gt_field": "ground_truth", **settings})
    return read_truth(samples, read_answers(samples, ledger, concepts), said, ledger)


def facts(truth: Truth) -> list[str]:
    assert not (truth.absent & truth.present).any()
    assert (truth.known | ~truth.complete).all()
    rows = zip(truth.known.T, truth.present.T, strict=True)
    return ["".join("?" if not k else "+" if p else "-" for k, p in zip(*row, strict=True)) for row in rows]


def boxes(*names: str | None) -> fo.Detections:
    return fo.Detections(detections=[rectangle(name, A) for name in names])


def tags(*names: str | None) -> fo.Classifications:
    return fo.Classifications(classifications=[fo.Classification(label=name) for name in names])


def outlines(*names: str) -> fo.Polylines:
    return fo.Polylines(polylines=[fo.Polyline(label=name, points=[[(0, 0), (1, 1), (0, 1)]]) for name in names])


@pytest.fixture
def pets(new_dataset) -> Callable[..., fo.Dataset]:
    """Makes samples with these ground truths, of which "dog" and "cat" were asked, all the same or as ``presence``."""

    def make(*held, presence=None, phrases=None, **columns) -> fo.Dataset:
        dataset = new_dataset([
            fo.Sample(f"/nowhere/{k}.png", ground_truth=one, **{name: column[k] for name, column in columns.items()})
            for k, one in enumerate(held)
        ])  # fmt: skip
        return ask(dataset, presence or {"dog": 0.5, "cat": 0.5}, phrases=phrases)

    return make


@pytest.fixture(scope="module")
def refused() -> fo.Dataset:
    odd = dict(spots=fo.Keypoints(), size=5, sizes=[5])
    sample = fo.Sample("/nowhere/0.png", ground_truth=boxes("dog"), partly=["dog"], **odd)
    with shared(sample) as dataset:
        yield ask(dataset, {"dog": 0.5, "cat": 0.5})


@pytest.fixture(scope="module")
def plain() -> fo.Dataset:
    """A dog, a cat, a tabby and a kitten, in fields of several kinds; and one that nobody has labelled."""
    names = "dog", "cat", "tabby", "Kitten"
    samples = [
        fo.Sample(f"/nowhere/{n}.png", ground_truth=boxes(n), kinds=tags(n), kind=fo.Classification(label=n))
        for n in names
    ]
    with shared(*samples, fo.Sample("/nowhere/none.png")) as dataset:
        yield ask(dataset, {"dog": 0.5, "cat": 0.5})


# --- labels ---


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([boxes("dog"), boxes("cat", "dog", "dog"), boxes("bird"), boxes(), None], ["++--?", "-+--?"]),
        ([tags("dog"), tags("cat", "dog"), tags("bird"), tags(), None], ["++--?", "-+--?"]),
        ([fo.Classification(label=name) for name in ("dog", "cat", "bird")] + [None], ["+--?", "-+-?"]),
        ([outlines("dog"), outlines("cat"), outlines(), None], ["+--?", "-+-?"]),
        ([boxes("DOG"), boxes("Cat"), boxes(None, "dog")], ["+-+", "-+-"]),
    ],
    ids=["Detections", "Classifications", "Classification", "Polylines", "capitals and nothing"],
)
def test_labels_of_every_kind(pets, held, expected):
    assert facts(truth_of(pets(*held), **ALL)) == expected


def test_what_is_complete_and_what_is_labelled(pets):
    truth = truth_of(pets(boxes("dog"), boxes(), None), **ALL)
    assert truth.complete.tolist() == [[True, True], [True, True], [False, False]]
    assert truth.labelled.tolist() == [True, False] and not truth.verified.any()
    assert truth.absent.tolist() == [[False, True], [True, True], [False, False]]


def test_what_was_not_asked_is_not_known(pets):
    dataset = pets(boxes("dog"), boxes("dog"), boxes(), presence={"dog": [0.5, None, None]})
    truth = truth_of(dataset, **ALL)
    assert facts(truth) == ["+??"]
    assert not (truth.present & ~truth.known).any()  # "False where it is not known"
    assert not (truth.complete & ~truth.known).any()


@pytest.mark.parametrize(
    ("exhaustive", "expected"),
    [
        (True, ["+---?", "-+--?"]),
        (["dog", "cat"], ["+---?", "-+--?"]),
        (["dog"], ["+---?", "?+???"]),
        ("cat", ["+????", "-+--?"]),
        ({"cat"}, ["+????", "-+--?"]),
    ],
)
def test_what_is_exhaustive(plain, exhaustive, expected):
    assert facts(truth_of(plain, exhaustive=exhaustive)) == expected


def test_what_is_exhaustive_can_be_said_once_and_read_twice(pets):
    dataset = pets(boxes("dog"), boxes())
    said = Said("ground_truth", exhaustive=iter(["dog"]))
    assert facts(truth_of(dataset, said)) == facts(truth_of(dataset, said)) == ["+-", "??"]


def test_negatives_that_people_found(pets):
    names = [["cat"], ["DOG", "cat"], None, ["cat"], ["cat", "bird"]]
    columns = {
        field: [None if held is None else kind(held) for held in names]
        for field, kind in (("listed", list), ("written", ", ".join), ("tagged", lambda held: tags(*held)))
    }
    dataset = pets(boxes("dog"), boxes(), boxes("cat"), None, boxes("cat"), **columns)
    for field in columns:
        truth = truth_of(dataset, negatives_field=field)
        assert facts(truth) == ["+-???", "--+?+"]
        # what is labelled at all is labelled completely
        assert truth.complete.T.tolist() == [[True, True, False, False, False], [True, True, True, False, True]]


def test_a_negative_by_the_name_that_its_labels_have(pets):
    dataset = pets(boxes(), boxes(), absent=[["hound"], ["tabby"]], phrases={"dog": ["dog", "hound"]})
    assert facts(truth_of(dataset, negatives_field="absent")) == ["-?", "??"]
    assert facts(truth_of(dataset, negatives_field="absent", gt_labels={"cat": "tabby"})) == ["-?", "?-"]


def test_what_is_not_exhaustive_in_a_sample(pets):
    dataset = pets(boxes("dog"), boxes(), boxes(), partly=[["dog"], ["Cat"], None])
    truth = truth_of(dataset, not_exhaustive_field="partly", **ALL)
    assert facts(truth) == ["+--", "-?-"]
    assert truth.complete.T.tolist() == [[False, True, True], [True, False, True]]
    both = truth_of(dataset, exhaustive=["dog"], not_exhaustive_field="partly")
    assert facts(both) == ["+--", "???"]


def test_an_import_from_saco_says_it_all(pets):
    dataset = pets(boxes("dog"), boxes(), **{NEGATIVES: [["cat"], ["dog"]], NOT_EXHAUSTIVE: [["dog"], []]})
    dataset.info["saco"] = {}
    dataset.save()
    truth = truth_of(dataset)
    assert facts(truth) == ["+-", "-?"] and truth.complete.T.tolist() == [[False, True], [True, False]]


# --- what labels mean ---


@pytest.mark.parametrize(
    ("gt_labels", "expected"),
    [
        (None, ["+---?", "-+--?"]),
        ({"cat": "tabby"}, ["+---?", "--+-?"]),
        ({"cat": ["Tabby", "kitten"]}, ["+---?", "--++?"]),
        ({"dog": "tabby", "cat": ("dog", "tabby")}, ["--+-?", "+-+-?"]),
        ({"dog": ["puppy"]}, ["----?", "-+--?"]),
    ],
)
@pytest.mark.parametrize("field", ["ground_truth", "kinds", "kind"])
def test_names_of_labels(plain, field, gt_labels, expected):
    assert facts(truth_of(plain, gt_field=field, gt_labels=gt_labels, **ALL)) == expected


def test_phrases_are_names_too(pets):
    dataset = pets(boxes("hound"), boxes("dog"), boxes("puppy"), phrases={"dog": ["a dog", "Hound"]})
    assert facts(truth_of(dataset, **ALL))[0] == "++-"
    assert facts(truth_of(dataset, gt_labels={"dog": "puppy"}, **ALL))[0] == "--+"


@pytest.mark.parametrize("kind", [fo.Detections, fo.Classifications, fo.Classification, fo.Polylines])
def test_an_expression_says_which_labels_mean_it(pets, kind):
    def label(colour):
        if kind is fo.Detections:
            return fo.Detections(detections=[rectangle("pet", A, colour=colour), rectangle("pet", B, colour="white")])
        if kind is fo.Polylines:
            held = outlines("pet")
            held.polylines[0]["colour"] = colour
            return held
        one = fo.Classification(label="pet", colour=colour)
        return one if kind is fo.Classification else fo.Classifications(classifications=[one])

    dataset = pets(label("black"), label("brown"), None)
    said = {"dog": F("colour") == "brown", "cat": (F("label") == "pet") & (F("colour") == "black")}
    truth = truth_of(dataset, gt_labels=said, **ALL)
    assert facts(truth) == ["-+?", "+-?"] and truth.labelled.tolist() == [True, True]


def test_an_expression_that_no_label_fulfils(pets):
    truth = truth_of(pets(boxes("dog"), boxes()), gt_labels={"dog": F("label") == "wolf"}, **ALL)
    assert facts(truth) == ["--", "--"] and not truth.labelled.any()


# --- views and videos ---


def test_rows_and_columns_are_those_of_the_answers(pets):
    dataset = pets(boxes("dog"), boxes("cat"), None, boxes())
    view = dataset.sort_by("filepath", reverse=True).limit(3)
    assert facts(truth_of(view, concepts=["cat", "dog"], **ALL)) == ["-?+", "-?-"]
    assert facts(truth_of(view, concepts=["dog"], exhaustive=["dog"])) == ["-?-"]


def test_every_ledger_has_its_own_concepts(pets):
    dataset = ask(pets(boxes("bird"), boxes()), {"bird": [0.5, None]}, ledger="other")
    assert facts(truth_of(dataset, ledger="other", **ALL)) == ["+?"]


@pytest.mark.parametrize("field", ["ground_truth", "frames.ground_truth"])
def test_labels_in_the_frames_of_a_video(new_dataset, field):
    dog, cat = [rectangle("dog", A)], [rectangle("cat", A)]
    dataset = new_dataset([
        video({"ground_truth": []}, {"ground_truth": dog}),
        video({"ground_truth": dog}, {"ground_truth": None}, {"ground_truth": cat}),
        video({"ground_truth": []}, {"ground_truth": []}),
        video({"ground_truth": None}, {"ground_truth": None}),  # nobody looked at any of its frames
    ])  # fmt: skip
    ask(dataset, {"dog": 0.5, "cat": 0.5})
    assert facts(truth_of(dataset, gt_field=field, **ALL)) == ["++-?", "-+-?"]
    brown = {"dog": F("label").is_in(["cat"])}
    assert facts(truth_of(dataset, gt_field=field, gt_labels=brown, **ALL))[0] == "-+-?"


def test_labels_in_frames_that_a_reviewer_rejected_do_not_count(new_dataset):
    dog = [rectangle("dog", A)]
    dataset = new_dataset([video({"ground_truth": dog}, {"ground_truth": dog}), video({"ground_truth": dog})])
    dataset.add_frame_field("ground_truth.detections.verified", fo.BooleanField)
    ask(dataset, {"dog": 0.5})
    assert facts(truth_of(dataset, **ALL)) == ["++"]
    dataset.set_values("frames.ground_truth.detections.verified", [[[False], [None]], [[False]]])
    assert facts(truth_of(dataset, **ALL)) == ["+-"]


def test_verdicts_count_that_the_schema_does_not_know(new_dataset):
    """Of very many concepts, none is declared, and people may verify all the same."""
    dataset = ask(new_dataset([picture([], []) for _ in range(2)]), {"violin": 0.4, "cello": 0.9})
    kind = dict(embedded_doc_type=fo.DynamicEmbeddedDocument)
    dataset.add_sample_field("sam3_verified", fo.EmbeddedDocumentField, **kind)
    asked = ("violin", "cello")
    assert not any_verified(dataset, asked)
    dataset._sample_collection.update_one({}, {"$set": {"sam3_verified": {"violin": False, "kite": True}}})
    assert any_verified(dataset, asked) and not any_verified(dataset, ("cello",))
    assert any_verified(dataset[:1], asked) and not any_verified(dataset[1:], asked)
    assert not any_verified(dataset, asked, "other")
    found = {one.sample_id: one for one in find_hard_negatives(dataset, key=None, concepts=["violin"]).found}
    assert [found[number].verified for number in dataset.values("id")] == [True, False]


def test_tags_of_frames(new_dataset):
    dog, cat = fo.Classification(label="dog"), fo.Classification(label="cat")
    dataset = new_dataset([video({"kind": cat}, {"kind": dog}), video({"kind": cat}, {"kind": cat})])
    ask(dataset, {"dog": 0.5})
    assert facts(truth_of(dataset, gt_field="kind", **ALL)) == ["+-"]
    assert facts(truth_of(dataset, gt_field="kind", gt_labels={"dog": F("label") == "cat"}, **ALL)) == ["++"]


def test_labels_of_whole_videos(new_dataset):
    dataset = new_dataset([video(kind=tags("dog")), video({"sam3": []}, kind=tags())])
    assert facts(truth_of(ask(dataset, {"dog": 0.5}), gt_field="kind", **ALL)) == ["+-"]


# --- what people verified ---


def test_what_was_verified_goes_before_labels(pets):
    dataset = pets(boxes("dog"), boxes(), None, None)
    assert verify(dataset.limit(1), "dog", False) == 1
    assert verify(dataset.select([dataset.skip(1).first().id, dataset.skip(2).first().id]), "dog", True) == 2
    truth = truth_of(dataset, **ALL)
    assert facts(truth) == ["-++?", "--??"]
    assert truth.verified.T.tolist() == [[True, True, True, False], [False] * 4]
    # that something is there does not say that all of it is labelled
    assert truth.complete[:, 0].tolist() == [True, True, False, False]
    assert truth.labelled.tolist() == [True, False]


def test_only_what_was_verified_counts_without_ground_truth(pets):
    dataset = pets(boxes("dog"), boxes("cat"), boxes())
    verify(dataset.limit(2), "cat", False)
    truth = truth_of(dataset, gt_field=None)
    assert facts(truth) == ["???", "--?"] and not truth.complete.any() and not truth.labelled.any()


def test_a_verdict_can_be_reversed(pets):
    dataset = pets(None, None)
    verify(dataset, "dog", True)
    verify(dataset.limit(1), "dog", False)
    verify(dataset, "cat", True)
    assert facts(truth_of(dataset, gt_field=None)) == ["-+", "++"]
    assert dataset.values("sam3_verified.dog") == [False, True]
    assert dataset.match(F("sam3_verified.dog") == True).values("id") == [dataset.last().id]  # noqa: E712


@pytest.mark.parametrize(
    ("concept", "present", "words"),
    [
        ("dgo", True, "the nearest that were: 'dog'"),
        ("dog", "no", "must be True, False, or None"),
        ("dog", 1, "None"),
        (["dog", "cat"], True, r"One concept is wanted, got \['dog', 'cat'\]: verify each on its own"),
    ],
)
def test_verdicts_that_mean_nothing_are_refused(pets, concept, present, words):
    dataset = pets(None, None)
    with pytest.raises(CurationError, match=words):
        verify(dataset, concept, present)
    assert "sam3_verified" not in dataset.get_field_schema()


def test_a_verdict_can_be_taken_back(pets):
    dataset = pets(boxes(), boxes("dog"))
    verify(dataset, "dog", True)
    verify(dataset, "dog", None)
    assert dataset.count("sam3_verified.dog") == 0
    assert find_hard_negatives(dataset, None, None, None, progress=False).found == ()


def test_pairs_that_were_not_asked_can_be_verified(pets):
    dataset = pets(boxes(), boxes("dog"), presence={"dog": [None, None], "cat": 0.5})
    verify(dataset, "dog", True)
    assert facts(truth_of(dataset, **ALL)) == ["++", "--"]


@pytest.mark.parametrize("concept", ["St. Bernard", "_hidden", "$5 bill", "clean"])
def test_names_that_no_field_can_have(pets, concept):
    dataset = pets(None, None, boxes(concept), presence={concept: 0.5}, phrases={concept: "x"})
    verify(dataset.limit(1), concept, True)
    verify(dataset.skip(1).limit(1), concept, False)
    assert facts(truth_of(dataset, **ALL)) == ["+-+"]
    assert dataset.reload() is None and facts(truth_of(dataset, gt_field=None)) == ["+-?"]


def test_samples_in_memory_see_the_verdict(pets):
    dataset = pets(None, None)
    held = dataset.first()
    verify(dataset, "dog", True)
    assert held["sam3_verified"]["dog"] is True
    held["tags"] = ["seen"]
    held.save()
    assert dataset.values("sam3_verified.dog") == [True, True]


def test_verdicts_belong_to_their_ledger(pets):
    dataset = ask(pets(None), {"dog": 0.5}, ledger="other")
    verify(dataset, "dog", True, ledger="other")
    assert facts(truth_of(dataset, gt_field=None, ledger="other")) == ["+"]
    with pytest.raises(CurationError, match="Nothing is known about these samples"):
        truth_of(dataset, gt_field=None)
    with pytest.raises(CurationError, match="has no concept ledger 'third'; there are 'sam3', 'other'"):
        verify(dataset, "dog", True, ledger="third")


def test_verdicts_outlive_the_next_run(pets):
    dataset = pets(None, None)
    verify(dataset, "dog", True)
    ask(dataset, {"dog": 0.1, "bird": 0.1})
    assert facts(truth_of(dataset, gt_field=None)) == ["++", "??", "??"]


def test_nobody_is_verified_by_an_empty_view(pets):
    dataset = pets(None)
    assert verify(dataset.limit(0), "dog", True) == 0
    with pytest.raises(CurationError, match="Nothing is known"):
        truth_of(dataset, gt_field=None)


def test_verified_videos(new_dataset):
    dataset = ask(new_dataset([video({"ground_truth": []}), video()]), {"dog": 0.5})
    verify(dataset.limit(1), "dog", True)
    assert facts(truth_of(dataset, gt_field=None)) == ["+?"]
    assert places(dataset, dataset.match(F("sam3_verified.dog"))) == [0]


# --- what is refused ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"What does it mean that a concept is not labelled\? Say exhaustive=True .* negatives_field='…'"),
        (dict(exhaustive=False), "What does it mean"),
        (dict(exhaustive=[]), "What does it mean"),
        (dict(not_exhaustive_field="partly"), "What does it mean"),
        (dict(gt_field=None), "Nothing is known about these samples: say gt_field='…' .* or verify some"),
        (dict(gt_field="labels", **ALL), r"gt_field 'labels' is not a field of '.*'; it has \['created_at', "),
        (dict(gt_field="frames.ground_truths", **ALL), "gt_field 'frames.ground_truths' is not a field"),
        (dict(gt_field="filepath", **ALL), "gt_field 'filepath' holds StringField; labels are needed, such as Dete"),
        (dict(gt_field="spots", **ALL), "gt_field 'spots' holds Keypoints; labels are needed"),
        (dict(gt_field="sam3_presence", **ALL), "gt_field 'sam3_presence' holds DynamicEmbeddedDocument"),
        (dict(exhaustive=["bird"]), "exhaustive names 'bird', which is not evaluated; evaluated are 'dog', 'cat'"),
        (dict(gt_labels={"bird": "dog"}, **ALL), "gt_labels names 'bird'"),
        (dict(negatives_field="none"), "negatives_field='none' is not a field of"),
        (dict(negatives_field="filepath"), "negatives_field='filepath' lists no concepts: it holds StringField; want"),
        (dict(negatives_field="spots"), "negatives_field='spots' lists no concepts: it holds Embedded"),
        (dict(not_exhaustive_field="size", **ALL), "not_exhaustive_field='size' lists no concepts: it holds IntField"),
        (dict(not_exhaustive_field="sizes", **ALL), "not_exhaustive_field='sizes' lists no concepts"),
        (dict(gt_field=None, exhaustive=["dog"]), r"exhaustive=\('dog',\) needs gt_field"),
        (dict(gt_field=None, negatives_field="partly"), "negatives_field='partly' needs gt_field"),
        (dict(not_exhaustive_field="none", **ALL), "not_exhaustive_field='none' is not a field of"),
    ],
)
def test_what_is_wrong_is_said(refused, settings, message):
    with pytest.raises(CurationError, match=message):
        truth_of(refused, **settings)


def test_what_was_said_without_a_field_is_no_policy(pets):
    dataset = pets(boxes("dog"))
    with pytest.raises(CurationError, match="Say gt_field='ground_truth'"):
        Said(**ALL).policy(dataset, ("dog", "cat"), "sam3")


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("ground_truth", "ground_truth.detections.label"), ("kinds", "kinds.classifications.label"),
        ("kind", "kind.label"),
    ],
)  # fmt: skip
def test_where_names_are(plain, field, expected):
    assert names_path(plain, field) == expected


def test_label_errors_ask_the_same(pets):
    dataset = pets(boxes("dog"))
    dataset.add_sample_field("sam3", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    with pytest.raises(CurationError, match="What does it mean that a concept is not labelled"):
        find_label_errors(dataset, progress=False)


# --- what a review said ---


def reviewed(dataset: fo.Dataset, *verdicts: bool | None, field: str | None = "ground_truth") -> fo.Dataset:
    """A verdict a sample on whether all of its dogs are labelled."""
    declare_verdicts(dataset, Ledger(), "ground_truth", ["dog"])
    about = dataset.get_field("sam3_exhaustive")
    about.info = {} if field is None else {"label_field": field}
    about.save()
    for sample, verdict in zip(dataset, verdicts, strict=True):
        sample["sam3_exhaustive"] = fo.DynamicEmbeddedDocument(dog=verdict)
        sample.save()
    return dataset


@pytest.mark.parametrize("field", ["ground_truth", None])
def test_where_a_reviewer_found_all_marked_they_are_and_where_not_not(pets, field):
    held = boxes("dog"), boxes("dog"), boxes(), boxes(), boxes(), None, None
    dataset = reviewed(pets(*held), True, False, True, False, None, True, None, field=field)
    truth = truth_of(dataset, **ALL)
    assert facts(truth) == ["++-?--?", "-----??"]
    assert truth.complete[:, 0].tolist() == [True, False, True, False, True, True, False]
    truth = truth_of(dataset, exhaustive=["cat"])
    assert facts(truth) == ["++-??-?", "-----??"] and not truth.verified.any()


def test_what_was_said_of_other_labels_is_none_of_these(pets):
    dataset = reviewed(pets(boxes("dog"), boxes()), True, False, field="sam3")
    assert facts(truth_of(dataset, **ALL)) == ["+-", "--"]


def test_rejected_labels_do_not_count(pets):
    dataset = pets(boxes("dog"), boxes("dog", "dog"), boxes("dog", "cat"), None)
    dataset.add_sample_field("ground_truth.detections.verified", fo.BooleanField)
    for sample, verdicts in zip(dataset.limit(3), ([False], [False, True], [False, None]), strict=True):
        for label, verdict in zip(sample.ground_truth.detections, verdicts, strict=True):
            label.verified = verdict
        sample.save()
    assert facts(truth_of(dataset, **ALL)) == ["-+-?", "--+?"]
    said = dict(gt_labels={"dog": F("label") == "dog"}, **ALL)
    assert facts(truth_of(dataset, **said)) == ["-+-?", "--+?"]


def test_a_review_makes_facts(pets):
    dataset = pets(boxes("dog"), boxes("dog"), boxes(), presence={"dog": 0.9, "cat": 0.1})
    review = build_review(dataset, "ground_truth", concepts=["dog"], progress=False)
    masks = {item.sample_id: item for item in review.of(task="mask")}
    full = {item.sample_id: item for item in review.of(task="exhaustivity")}
    first, second, third = dataset.values("id")
    answer(dataset, masks[first], False, reviewer="ana")
    assert facts(truth_of(dataset, exhaustive=["cat"], concepts=None))[0] == "?+?"
    answer(dataset, full[first], True, reviewer="ana")
    answer(dataset, full[third], False, reviewer="ana")
    truth = truth_of(dataset, **ALL)
    assert facts(truth)[0] == "-+?" and truth.verified[:, 0].tolist() == [True, False, False]
    answer(dataset, masks[second], True, reviewer="ana")
    assert truth_of(dataset, **ALL).verified[:, 0].tolist() == [True, True, False]


def test_more_concepts_than_the_schema_knows_are_read(pets):
    dataset = pets(boxes("dog"), boxes())
    dataset.add_sample_field("sam3_verified", fo.EmbeddedDocumentField, embedded_doc_type=fo.DynamicEmbeddedDocument)
    dataset._sample_collection.update_many({}, {"$set": {"sam3_verified": {"dog": False}}})
    dataset.reload()
    assert facts(truth_of(dataset, **ALL)) == ["--", "--"]
