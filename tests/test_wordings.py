"""Wordings: what is suggested, compared, recommended, chosen and refused; and what a trial leaves untouched."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ledgers import ask, picture

from curation.agreement import Shapes, Tally, contrast, groups_of, matched, overlaps, shapes_found
from curation.changes import undo_change
from curation.definitions import (
    choose_steps,
    choose_wording,
    chosen_senses,
    definition_of,
    definitions,
    forget_wording,
)
from curation.errors import CurationError
from curation.hard_negatives import find_hard_negatives
from curation.phrasing import Suggestion, forms, only_sense, plural, suggest_wordings
from curation.recommend import Wording, grouped, judged, recommended
from curation.records import delete_findings
from curation.stability import found_by, measure_stability, share
from curation.wordings import Wordings, compare_wordings, load_wordings, suggested_phrases, wordings_steps
from emoji_world.dataset import build_scenes
from emoji_world.scenes import sample_scene
from emoji_world.vocabulary import NOUNS
from emoji_world.vocabulary import plural as said_plural
from zoo.engine.results import Instance
from zoo.engine.vocabulary_file import read_vocabulary, write_vocabulary
from zoo.ledger import Ledger, presence_path
from zoo.provenance import run_info, vocabulary_of
from zoo.segment import segment
from zoo.source import load_model

MOUSE, DEVICE = "n02330245", "n03793489"
FOUR = ["mouse", "a mouse", "computer mouse", "a computer mouse"]
LEFT, RIGHT = (0, 0, 0.5, 1), (0.5, 0, 0.5, 1)


def scenes_with(nouns: set[str], each: int, first: int = 700_000) -> list[int]:
    """Seeds of scenes, so many with each of the nouns."""
    left, chosen, seed = dict.fromkeys(nouns, each), [], first
    while any(left.values()):
        here = {placed.thing.noun for placed in sample_scene(seed).objects} & nouns
        if any(left[noun] for noun in here):
            chosen.append(seed)
            left |= {noun: max(left[noun] - 1, 0) for noun in here}
        seed += 1
    return chosen


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    seeds = scenes_with({"mouse", "computer mouse", "dog"}, 4)
    dataset = build_scenes("wordings", tmp_path_factory.mktemp("scenes"), seeds)
    model = load_model("concepts/sam3-tiny-image", classes=["mouse", "dog", "computer mouse"], floor=0.05)
    dataset.apply_model(model, label_field="sam3", batch_size=8, progress=False)
    yield dataset
    dataset.delete()


@pytest.fixture
def scenes(made):
    dataset = made.clone(persistent=True)
    yield dataset
    dataset.delete()


@pytest.fixture(scope="module")
def compared(made) -> Wordings:
    return compare_wordings(made, "mouse", FOUR, None, label_field="sam3", progress=False)


# --- suggestions ---


def test_suggestions_are_forms_other_names_and_senses():
    assert suggest_wordings("mouse") == (
        Suggestion("mouse", "as it is"), Suggestion("a mouse", "with an article"),
        Suggestion("the mouse", "with a determiner"), Suggestion("mice", "plural"),
        Suggestion("computer mouse", "another sense", DEVICE),
    )  # fmt: skip
    assert {"red caps", "a red cap", "red cap"} <= {one.phrase for one in suggest_wordings("the red caps")}
    assert [one.phrase for one in suggest_wordings("people")][:3] == ["people", "person", "a person"]
    assert "birds of prey" in [one.phrase for one in suggest_wordings("bird of prey")]
    assert "computer mouse" not in forms("mouse")
    assert only_sense("computer mouse") == DEVICE and only_sense("mouse") is None


@pytest.mark.parametrize("concept", ["車", "St. Bernard", "glorp", "two white mice", "7", "sunglasses", "bag of keys"])
def test_odd_concepts_have_suggestions_too(concept):
    first, *_ = suggest_wordings(concept)
    assert first.phrase == concept


def test_no_policemen_among_pigs():
    assert not {"cop", "fuzz", "bull"} & {one.phrase for one in suggest_wordings("pig", 99)}


@given(st.text(min_size=1, max_size=30), st.integers(1, 12))
def test_suggestions_are_phrases_that_differ(concept, most):
    if not concept.split():
        with pytest.raises(CurationError, match="at least one word"):
            suggest_wordings(concept, most)
        return
    found = [one.phrase for one in suggest_wordings(concept, most)]
    assert found[0] == " ".join(concept.split())
    assert len({phrase.casefold() for phrase in found}) == len(found) <= most


def test_plurals_are_those_of_the_emoji_world():
    assert {noun: plural(noun) for noun in NOUNS} == {noun: said_plural(noun) for noun in NOUNS}


# --- agreement ---


def shapes(*boxes) -> Shapes:
    """Labels without masks."""
    return Shapes(np.array(boxes, np.float64).reshape(-1, 4), [None] * len(boxes))


def test_instances_are_matched_one_to_one():
    assert matched(np.array([[0.9, 0.6], [0.8, 0.0]])) == (2, pytest.approx(1.4))
    assert matched(np.array([[0.9], [0.8]])) == (1, pytest.approx(0.9))
    assert matched(np.array([[0.49]])) == (0, 0.0) and matched(np.zeros((0, 3))) == (0, 0.0)


def test_masks_are_compared_as_masks_and_an_empty_one_is_nothing():
    def instance(x, mask):
        return Instance(0.9, 0.9, 0.9, (0, 0, 4, 4), (x, 0), np.array(mask, bool), "cap")

    found = shapes_found([instance(0, [[1, 0], [1, 0]]), instance(0, np.zeros((0, 0)))], (2, 4))
    whole = shapes_found([instance(0, [[1, 1], [1, 1]])], (2, 4))
    assert overlaps(found, whole).tolist() == [[0.5], [0.0]]
    assert overlaps(found, shapes((0, 0, 0.5, 1)))[0, 0] == 1.0, "a label without a mask is its box"


def tally(*images) -> Tally:
    """Images of (presences, boxes of each wording, boxes that are there)."""
    made = Tally.empty(len(images), len(images[0][0]))
    for row, (presence, found, *truth) in enumerate(images):
        made.add(row, presence, [shapes(*boxes) for boxes in found], shapes(*truth[0]) if truth else None)
    return made


def test_agreement_groups_and_scores():
    made = tally(
        ([0.9, 0.8, 0.1, 0.1], [[LEFT], [LEFT], [], []], [LEFT]),
        ([0.9, 0.9, 0.9, 0.1], [[LEFT], [LEFT, RIGHT], [RIGHT], []], [LEFT]),
        ([0.1, 0.1, 0.9, 0.1], [[], [], [RIGHT], []], []),
    )
    assert made.agreement()[0, 1] == pytest.approx(2 * 2 / 5)
    assert made.agreement()[1, 2] == pytest.approx(2 * 1 / 5) and made.agreement()[0, 2] == 0
    assert np.isnan(made.agreement()[3, 3]) and made.mean_iou()[0, 1] == pytest.approx(1)
    assert groups_of(made.agreement(), made.counts.sum(axis=0)) == [1, 1, 2, 0]
    assert made.scores()[0].tolist() == [1, 1, 1]
    assert made.scores()[1].tolist() == pytest.approx([2 / 3, 1, 0.8])
    assert made.scores()[2].tolist() == [0, 0, 0]
    assert contrast(made.presence, [0, 1])[0].tolist() == pytest.approx([0.9, 0.1])
    there, known = np.array([True, True, False]), np.array([True, True, True])
    numbers = judged(["cap", "caps", "peaked cap", "zzz"], made, there, known)
    assert [one.presence_accuracy for one in numbers] == pytest.approx([1, 1, 1 / 3, 1 / 3])
    assert recommended("cap", numbers)[0] == "cap"
    assert [group.phrases for group in grouped("cap", numbers)] == [("cap", "caps"), ("peaked cap",)]


boxes_here = st.lists(st.sampled_from([LEFT, RIGHT, (0.2, 0.2, 0.3, 0.3), (0, 0, 1, 1)]), max_size=3)


@given(st.lists(st.tuples(boxes_here, boxes_here, boxes_here), min_size=1, max_size=4))
def test_agreement_is_symmetric_and_a_wording_agrees_with_itself(images):
    made = tally(*(([0.5] * 3, list(found)) for found in images))
    agreement = made.agreement()
    np.testing.assert_array_equal(agreement, agreement.T)
    total = made.counts.sum(axis=0)
    assert all(agreement[k, k] == 1 for k in np.flatnonzero(total))
    assert np.nanmax([*agreement.ravel(), 0]) <= 1 and np.nanmin([*agreement.ravel(), 1]) >= 0
    groups = groups_of(agreement, total)
    assert [group == 0 for group in groups] == [n == 0 for n in total]
    first_seen = list(dict.fromkeys(group for group in groups if group))
    assert first_seen == list(range(1, len(first_seen) + 1))


def test_without_labels_the_group_of_the_concepts_own_word_counts():
    rows = [
        Wording("cap", 2, 3, 3, 0.9, 0.1, 0.7), Wording("caps", 2, 3, 3, 0.9, 0.0, 0.8),
        Wording("hat", 1, 9, 9, 0.9, 0.1, 0.9), Wording("hats", 1, 9, 9, 0.9, 0.1, 0.9), Wording("zzz", 0, 0, 0),
    ]  # fmt: skip
    assert recommended("cap", rows)[0] == "caps"
    assert recommended("headgear", rows)[0] == "hat", "the largest group, and the first of equals"
    best, why = recommended("cap", rows[-1:])
    assert best is None and "found anything" in why[0]


def test_with_labels_f1_counts_then_presence():
    rows = [Wording("cap", 1, 3, 3, f1=0.701), Wording("caps", 1, 3, 3, f1=0.704, presence_accuracy=0.9)]
    assert recommended("cap", rows)[0] == "caps"
    assert "hardly be told apart" in recommended("cap", rows)[1][1]
    rows = [Wording("cap", 1, 3, 3, presence_accuracy=0.5), Wording("caps", 1, 3, 3, presence_accuracy=0.8)]
    assert recommended("cap", rows)[0] == "caps"


# --- comparison ---


def test_senses_are_groups(compared):
    first, second = compared.groups
    assert (first.phrases, second.phrases) == (("mouse", "a mouse"), ("computer mouse", "a computer mouse"))
    assert [group.sense for group in compared.groups] == [None, DEVICE]
    assert compared.recommended in ("mouse", "a mouse")
    assert compared.group_of("A mouse").number == 1
    assert compared.agreement.shape == (4, 4) and compared.presence.shape == (len(compared.samples), 4)
    assert compared.agreement[0, 1] > 0.8 > 0.2 > compared.agreement[0, 2]
    assert "wordings that find different things" in compared.reasons[-1]
    assert [row["phrase"] for row in compared.rows()] == FOUR
    assert set(compared.rows()[0]) == {"phrase", "group", "present", "instances", "agreement", "f1"}
    assert len(compared.to_pandas()) == 4 and f"* {compared.recommended}" in str(compared)


def test_differences_are_the_samples_where_one_finds_what_the_other_does_not(made, compared):
    found = compared.differences("mouse", "computer mouse")
    names = [{d.label for d in sample.ground_truth.detections} for sample in found]
    assert names and all(here & {"mouse", "computer mouse"} for here in names)
    same = compared.differences("mouse", "a mouse")
    assert len(same) < len(found) and len(compared.differences("mouse", "mouse")) == 0
    assert set(compared.view("computer mouse", made).values("id")) <= set(found.values("id"))
    assert compared.view(samples=made).values("id") == made.values("id")
    with pytest.raises(CurationError, match="'mous' is no wording of 'mouse'"):
        compared.differences("mous", "mouse")


def test_a_trial_changes_neither_labels_nor_ledger(scenes):
    def held():
        fields = [name for name in scenes.get_field_schema() if name != "last_modified_at"]
        rows = [sample.to_dict() for sample in scenes.view().select_fields(fields)]
        for row in rows:
            row.pop("_last_modified_at", None), row.pop("last_modified_at", None)
            for label in row["sam3"]["detections"]:
                label.pop("stability", None)
        return rows

    before, record, schema = held(), run_info(scenes), set(scenes.get_field_schema())
    compare_wordings(scenes, "mouse", FOUR, progress=False)
    assert held() == before and run_info(scenes) == record and set(scenes.get_field_schema()) == schema


def test_what_was_found_is_kept_replaced_and_deleted(scenes):
    first = compare_wordings(scenes, "mouse", FOUR, progress=False)
    again = load_wordings(scenes)
    assert again == first
    for name in ("agreement", "overlap", "presence", "counts", "matches"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    assert again.differences("mouse", "computer mouse").values("id") == (
        first.differences("mouse", "computer mouse", scenes).values("id")
    )
    second = compare_wordings(scenes, "dog", ["dog", "dogs"], progress=False)
    assert load_wordings(scenes) == second != first
    delete_findings(scenes, "wordings")
    with pytest.raises(CurationError, match="no wordings"):
        load_wordings(scenes)


def test_the_same_seed_gives_the_same(scenes):
    few = [compare_wordings(scenes, "mouse", FOUR, None, limit=5, seed=seed, progress=False) for seed in (3, 3, 4)]
    assert few[0] == few[1] and few[0].samples != few[2].samples


@pytest.mark.parametrize("limit", [1, 2, 6, 1000])
def test_the_limit_is_kept_and_present_and_doubtful_samples_come_first(made, limit):
    steps = wordings_steps(made, "mouse", FOUR, None, limit=limit)
    assert next(steps).total == min(limit, len(made))


def test_samples_where_the_ledger_knows_the_concept_are_among_those_looked_at(new_dataset):
    from curation.wordings import _chosen

    dataset = ask(new_dataset([picture() for _ in range(60)]), {"cap": [0.9] * 4 + [0.45] * 4 + [0.01] * 52})
    for seed in range(5):
        chosen = _chosen(dataset, ["cap"], "sam3", 12, seed)
        places = [dataset.values("id").index(one) for one in chosen]
        assert len(set(places)) == 12 and places == sorted(places)
        assert len([p for p in places if p < 4]) == 4 and len([p for p in places if 4 <= p < 8]) == 4


def test_labels_decide_where_there_are_some(made):
    said = dict(gt_field="ground_truth", exhaustive=True, progress=False)
    found = compare_wordings(made, "mouse", FOUR, None, **said)
    assert found.of("mouse").f1 > 0.7 > 0.1 > found.of("computer mouse").f1
    assert found.of("mouse").precision is not None and found.of("mouse").presence_accuracy > 0.8
    other = compare_wordings(made, "mouse", FOUR, None, gt_labels={"mouse": "computer mouse"}, **said)
    assert other.recommended in ("computer mouse", "a computer mouse")


def test_labels_without_boxes_decide_by_presence(scenes):
    names = [sorted({d.label for d in s.ground_truth.detections}) for s in scenes]
    labels = [fo.Classifications(classifications=[fo.Classification(label=n) for n in some]) for some in names]
    scenes.set_values("tags_of_things", labels)
    found = compare_wordings(
        scenes, "mouse", FOUR, None, gt_field="tags_of_things", exhaustive=True, label_field=None, progress=False
    )  # fmt: skip
    assert found.recommended in ("mouse", "a mouse") and found.of("mouse").f1 is None
    assert found.of("mouse").presence_accuracy > found.of("computer mouse").presence_accuracy


def test_a_bad_image_costs_that_image(scenes, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    scenes.add_samples([fo.Sample(filepath=str(bad)), fo.Sample(filepath=str(tmp_path / "none.png"))])
    found = compare_wordings(scenes, "mouse", FOUR, None, progress=False)
    assert sorted(found.failed) == sorted(scenes.values("id")[-2:])
    assert np.isnan(found.presence[-2:]).all() and not np.isnan(found.presence[:-2]).any()
    assert found.groups and "2 images could not be asked" in found.notes[-1]
    alone = compare_wordings(scenes.select(list(found.failed)), "mouse", FOUR, None, progress=False)
    assert alone.recommended is None and not alone.groups


def test_a_dataset_that_was_asked_nothing(made):
    dataset = made.select_fields("ground_truth").limit(3).clone()
    try:
        found = compare_wordings(dataset, "dog", progress=False)
        assert found.phrases == tuple(one.phrase for one in suggest_wordings("dog"))
        assert "Nothing was asked yet" in found.notes[0] and found.measured == 0
        assert not [name for name in dataset.get_field_schema() if name.startswith("sam3")]
    finally:
        dataset.delete()


def test_a_wide_ledger(new_dataset, made):
    dataset = new_dataset([fo.Sample(filepath=path) for path in made.values("filepath")[:6]])
    names = [f"thing {k}" for k in range(70)] + ["mouse"]
    ask(dataset, {name: [0.1, 0.9, 0.2, 0.3, 0.4, 0.5] for name in names}, label_field="sam3")
    found = compare_wordings(dataset, "mouse", FOUR, limit=3, progress=False)
    assert dataset.values("id")[1] in found.samples
    choose_wording(dataset, "mouse", found.recommended or "mouse", sense=MOUSE)
    choose_wording(dataset, "thing 69", ["thing", "things"])
    assert definitions(dataset)["thing 69"] == ["thing", "things"]
    assert chosen_senses(dataset, "sam3", names) == {"mouse": MOUSE}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (dict(concept=""), "at least one word"),
        (dict(concept=None), "None is no word"),
        (dict(phrases=[]), "phrases is empty"),
        (dict(phrases=["mouse", " "]), "at least one word"),
        (dict(phrases=["mouse", "Mouse"]), "given twice"),
        (dict(phrases=["mouse", 7]), "7 is no word"),
        (dict(phrases=["mouse"]), "only 'mouse' to ask"),
        (dict(phrases=["mouse", " ".join(["very"] * 40) + " old mouse"]), "42 words; SAM 3 reads 32 tokens"),
        (dict(limit=0), "limit must be a whole number of at least 1"),
        (dict(limit=True), "limit must be a whole number"),
        (dict(batch_size=0), "batch_size must be"),
        (dict(seed=-1), "seed must be"),
        (dict(label_field="sam4"), "label_field 'sam4' is not a field"),
        (dict(label_field="sam3_presence"), "Detections are needed"),
        (dict(ledger="other"), "other"),
        (dict(gt_field="labels"), "gt_field 'labels' is not a field"),
        (dict(gt_field="ground_truth"), "What does it mean that a concept is not labelled"),
        (dict(exhaustive=True), "needs gt_field"),
        (dict(gt_field="sam3", exhaustive=True), "are both 'sam3'"),
        (dict(key="sam3"), "already the name of a run"),
        (dict(key="two words"), "must be a plain word"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(made, said, words):
    said = dict(dict(concept="mouse", phrases=FOUR), **said)
    with pytest.raises(CurationError, match=words):
        next(wordings_steps(made, **said))


def test_a_phrase_that_is_too_long_in_tokens_is_refused(made):
    long = "supercalifragilisticexpialidocious " * 12
    steps = wordings_steps(made, "mouse", ["mouse", long])
    next(steps)
    with pytest.raises(CurationError, match="tokens; SAM 3 reads at most 32"):
        next(steps)


def test_what_is_no_images_is_refused(made, new_dataset):
    with pytest.raises(CurationError, match="no images in this view"):
        compare_wordings(made.limit(0), "mouse")
    with pytest.raises(CurationError, match="holds video samples.*to_frames"):
        compare_wordings(new_dataset([fo.Sample(filepath="/nowhere/film.mp4")]), "mouse")
    with pytest.raises(CurationError, match="view of patches"):
        compare_wordings(made.to_patches("sam3"), "mouse")
    with pytest.raises(CurationError, match="no setting 'limits'"):
        compare_wordings(made, "mouse", limits=3)


def test_groups_are_refused_and_their_image_slices_are_not(made, new_dataset):
    dataset = new_dataset()
    dataset.add_group_field("group", default="left")
    paths = made.values("filepath")
    for k in range(3):
        group = fo.Group()
        dataset.add_samples([
            fo.Sample(filepath=paths[2 * k + j], group=group.element(name)) for j, name in enumerate(("left", "right"))
        ])  # fmt: skip
    with pytest.raises(CurationError, match="holds group samples.*select_group_slices"):
        compare_wordings(dataset, "mouse", FOUR)
    with pytest.raises(CurationError, match="select_group_slices"):
        choose_wording(dataset, "mouse", "mice", ask=True)
    every = dataset.select_group_slices(["left", "right"])
    known = dict(zip(paths, made.values("sam3"), strict=True))
    every.set_values("sam3", [known[path].copy() for path in every.values("filepath")])
    found = compare_wordings(every, "mouse", FOUR, progress=False)
    assert sorted(found.samples) == sorted(every.values("id")) and not found.failed
    right = compare_wordings(dataset.select_group_slices("right"), "mouse", FOUR, progress=False)
    assert right.samples == tuple(dataset.select_group_slices("right").values("id"))
    measured = measure_stability(every, concepts=["mouse", "dog"], progress=False)
    held = [v for some in every.values("sam3.detections.stability") for v in some or () if v is not None]
    labels = [name for some in every.values("sam3.detections.label") for name in some]
    assert len(held) == measured.instances == labels.count("mouse") + labels.count("dog") > 0


# --- stability ---


def test_stability_is_the_share_of_the_other_wordings():
    words, seen = ["mouse", "a mouse", "mice"], [True, True, False]
    assert share(words, seen, ["Mouse"]) == 0.5 and share(words, seen, []) == pytest.approx(2 / 3)
    assert share(words[:1], seen[:1], ["mouse"]) is None
    found = found_by(shapes(LEFT, RIGHT), [shapes(LEFT), shapes(), shapes(RIGHT, LEFT)])
    assert found.tolist() == [[True, False, True], [False, False, True]]


def test_instances_that_are_looked_at_get_their_stability(scenes):
    found = compare_wordings(scenes, "mouse", [*FOUR, "mice"], progress=False)
    assert found.label_field == "sam3" and found.measured > 0
    held = {}
    for sample in scenes:
        for label in sample.sam3.detections:
            held.setdefault(label.label, []).append(getattr(label, "stability", None))
    assert set(held["dog"]) | set(held["computer mouse"]) == {None}, "of the concept alone"
    assert len(held["mouse"]) == found.measured and set(held["mouse"]) <= {0.0, 0.5, 1.0}
    assert "sam3.detections.stability" in scenes.get_field_schema(flat=True)
    sure = [d.stability for s in scenes for d in s.sam3.detections if d.label == "mouse" and d.confidence > 0.8]
    unsure = [d.stability for s in scenes for d in s.sam3.detections if d.label == "mouse" and d.confidence < 0.2]
    assert np.mean(sure) > 0.9 > np.mean(unsure) + 0.2


def test_stability_is_measured_over_a_whole_view(scenes):
    result = measure_stability(scenes, concepts=["mouse", "dog"], phrases={"mouse": FOUR[:2]}, progress=False)
    assert result.phrases["mouse"] == ("mouse", "a mouse") and "dogs" in result.phrases["dog"]
    count = sum(d.label in ("mouse", "dog") for s in scenes for d in s.sam3.detections)
    assert result.instances == count == scenes.count("sam3.detections.stability")
    assert 0 <= min(result.means.values()) <= max(result.means.values()) <= 1
    assert {d.label for s in result.view(scenes, 0.5) for d in s.sam3.detections} <= {"mouse", "dog"}
    assert str(result).startswith(f"{count} instances measured")
    one = measure_stability(scenes.limit(2), concepts=["dog"], phrases=["dog", "dogs"], progress=False)
    assert one.phrases == {"dog": ("dog", "dogs")}


def test_a_bad_image_has_no_stability(scenes, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    label = fo.Detection(label="mouse", bounding_box=[0.1, 0.1, 0.2, 0.2])
    scenes.add_sample(fo.Sample(filepath=str(bad), sam3=fo.Detections(detections=[label])))
    result = measure_stability(scenes, concepts=["mouse"], progress=False)
    assert list(result.failed) == [scenes.last().id]
    assert getattr(scenes.last().sam3.detections[0], "stability", None) is None and result.instances > 0


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (dict(label_field="sam4"), "label_field 'sam4' is not a field"),
        (dict(concepts=["hat"]), "'hat' is no concept with instances"),
        (dict(phrases=["mouse", "mice"]), "of 3 concepts: say of which"),
        (dict(phrases={"hat": ["hat"]}), "'hat' is no concept to measure"),
        (dict(concepts=["mouse"], phrases=["mouse"]), "one wording of 'mouse'"),
        (dict(concepts=["mouse"], phrases=["mouse", "MOUSE"]), "given twice"),
        (dict(batch_size=0), "batch_size"),
    ],
)
def test_stability_of_what_is_not_there_is_refused(made, said, words):
    with pytest.raises(CurationError, match=words):
        measure_stability(made, **said)


def test_stability_needs_instances(new_dataset):
    dataset = new_dataset([picture(instances=[])])
    with pytest.raises(CurationError, match="holds no instances in these samples"):
        measure_stability(dataset)


# --- definitions ---


@pytest.fixture
def asked(new_dataset) -> fo.Dataset:
    """Nobody was asked."""
    return ask(new_dataset([picture() for _ in range(3)]), {"mouse": [0.9, 0.1, 0.5], "keyboard": 0.2, "cat": 0.9})


def test_a_definition_is_apart_from_what_was_asked(asked):
    before = run_info(asked)["concepts"]
    assert definition_of(asked, "mouse").phrases == ("mouse",) and not definition_of(asked, "mouse").chosen
    assert definition_of(asked, "hat") is None and definitions(asked) == {}
    choice = choose_wording(asked, "MOUSE", ["mice", "a mouse"])
    assert choice.definition == definition_of(asked, "mouse") and choice.definition.label == "mouse"
    assert str(choice) == "'mouse' is asked as 'mice' or 'a mouse'"
    assert definitions(asked) == {"mouse": ["mice", "a mouse"]} and run_info(asked)["concepts"] == before
    choose_wording(asked, "hat", "cap")  # never asked
    assert definitions(fo.load_dataset(asked.name)) == {"mouse": ["mice", "a mouse"], "hat": ["cap"]}
    forget_wording(asked, "mouse")
    assert definitions(asked) == {"hat": ["cap"]} and definition_of(asked, "mouse").phrases == ("mouse",)
    with pytest.raises(CurationError, match="'mouse' has no definition"):
        forget_wording(asked, "mouse")


def test_a_definition_before_anything_was_asked(new_dataset):
    dataset = new_dataset([picture()])
    choose_wording(dataset, "cap", ["cap", "baseball cap"], ledger="later")
    assert definitions(dataset, "later") == {"cap": ["cap", "baseball cap"]} and definitions(dataset) == {}
    ask(dataset, {"cap": 0.9, "dog": 0.1}, ledger="later")
    assert definitions(dataset, "later") == {"cap": ["cap", "baseball cap"]}
    assert definition_of(dataset, "cap", "later").chosen and not definition_of(dataset, "dog", "later").chosen


def test_the_sense_is_what_the_phrases_name_or_what_is_said(asked):
    assert choose_wording(asked, "mouse", "mice").definition.sense is None
    assert choose_wording(asked, "mouse", "mice", sense=MOUSE).definition.sense == MOUSE
    assert choose_wording(asked, "mouse", "a mouse").definition.sense == MOUSE, "as before"
    assert choose_wording(asked, "mouse", ["computer mouse"]).definition.sense == DEVICE, "there is no doubt"
    assert choose_wording(asked, "mouse", "mice", sense="").definition.sense == ""
    assert choose_wording(asked, "cat", "felines").definition.sense is None


def test_hard_negatives_go_by_the_sense(new_dataset):
    numbers = {"mouse": [0.9, 0.1, 0.4], "hamster": [0.1, 0.9, 0.1], "trackball": [0.1, 0.1, 0.9]}
    asked = ask(new_dataset([picture() for _ in range(3)]), numbers)

    def rivals(**said) -> set[str | None]:
        return {one.rival for one in find_hard_negatives(asked, key=None, **said).of("mouse")}

    assert rivals() == set()
    assert any("'mouse' has several senses" in note for note in find_hard_negatives(asked, key=None).ambiguous)
    choose_wording(asked, "mouse", "computer mouse")
    assert rivals() == {"trackball"} and not find_hard_negatives(asked, key=None).ambiguous
    assert rivals(senses="usual") == {"trackball"}, "the definition says more than a habit"
    assert rivals(senses={"mouse": MOUSE}) == {"hamster"}, "what is said now counts"
    choose_wording(asked, "mouse", "mouse", sense="")
    assert rivals() == set() and not find_hard_negatives(asked, key=None).ambiguous
    forget_wording(asked, "mouse")
    assert rivals(senses="usual") == {"hamster"}
    with pytest.raises(CurationError, match="or 'usual'"):
        find_hard_negatives(asked, key=None, senses="rarest")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (dict(concept=" "), "at least one word"),
        (dict(concept=3), "3 is no word"),
        (dict(phrases=[]), "phrases is empty"),
        (dict(phrases=["mice", "Mice"]), "given twice"),
        (dict(concept="mou.se"), "differ only in what a field name cannot hold"),
        (dict(sense="n02118333"), "is fox .animal.*and no sense of 'mouse'"),
        (dict(sense="n1"), "is no sense"),
        (dict(ledger="no ledger"), "must be a plain word"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(asked, said, words):
    said = dict(dict(concept="mouse", phrases="mice"), **said)
    with pytest.raises(CurationError, match=words):
        next(choose_steps(asked, **said))
    assert definitions(asked) == {}


def test_asked_again_with_the_chosen_words(scenes):
    before = [[(d.id, d.label) for d in s.sam3.detections] for s in scenes]
    numbers = scenes.values(presence_path("mouse"))
    record = run_info(scenes)["concepts"]["mouse"]
    choice = choose_wording(scenes, "mouse", ["computer mouse", "mice"], ask=True, progress=False)
    entry = run_info(scenes)["concepts"]["mouse"]
    assert entry["phrases"] == ["computer mouse", "mice"] and entry["floor"] == record["floor"] == 0.05
    assert choice.change.samples > 0 and choice.definition.sense is None
    scenes.reload()
    found = {d.phrase for s in scenes.view() for d in s.sam3.detections if d.label == "mouse"}
    assert found == {"computer mouse", "mice"}
    others = [[(d.id, d.label) for d in s.sam3.detections if d.label != "mouse"] for s in scenes.view()]
    assert others == [[one for one in some if one[1] != "mouse"] for some in before]
    undo_change(scenes)
    assert [[(d.id, d.label) for d in s.sam3.detections] for s in scenes.view()] == before
    assert scenes.values(presence_path("mouse")) == numbers
    assert run_info(scenes)["concepts"]["mouse"]["phrases"] == ["mouse"]
    assert definitions(scenes) == {"mouse": ["computer mouse", "mice"]}, "the decision stands"


def test_definitions_can_be_asked_and_a_resumed_run_refuses_other_words(scenes):
    choose_wording(scenes, "mouse", "mice")
    model = load_model("concepts/sam3-tiny-image", classes=definitions(scenes), floor=0.05)
    with pytest.raises(ValueError, match="asked before with the phrases"):
        list(segment(scenes, model, skip_existing=True))
    list(segment(scenes.limit(2), model))
    assert run_info(scenes)["concepts"]["mouse"]["phrases"] == ["mice"]


def test_concept_files_carry_definitions(asked, tmp_path: Path):
    choose_wording(asked, "mouse", ["mice", "a mouse"], sense=DEVICE)
    choose_wording(asked, "hat", ["cap"])
    choose_wording(asked, "cat", "cat", sense="")
    file = tmp_path / "concepts.yaml"
    write_vocabulary(file, vocabulary_of(asked))
    read = {concept.label: concept for concept in read_vocabulary(file).concepts}
    assert (read["mouse"].phrases, read["mouse"].sense) == (("mice", "a mouse"), DEVICE)
    assert read["hat"].phrases == ("cap",) and read["cat"].sense == "" and read["keyboard"].sense is None
    assert list(read) == ["mouse", "keyboard", "cat", "hat"]


def test_the_sense_of_a_concept_file_counts_unless_the_noun_graph_does_not_know_it(asked, tmp_path: Path):
    from zoo.provenance import start_run

    file = tmp_path / "concepts.yml"
    file.write_text("concepts:\n  - {label: mouse, sense: n03793489}\n  - {label: cat, sense: from elsewhere}\n")
    start_run(asked, Ledger(), read_vocabulary(file).concepts, {})
    assert definition_of(asked, "mouse").sense == DEVICE
    assert chosen_senses(asked, "sam3", ["mouse", "cat"]) == {"mouse": DEVICE}
    choose_wording(asked, "mouse", "mice")
    assert chosen_senses(asked, "sam3", ["mouse"]) == {"mouse": DEVICE}
    file.write_text("concepts:\n  - {label: mouse, sense: 3}\n")
    with pytest.raises(ValueError, match="line 2: a sense is a key"):
        read_vocabulary(file)


def test_what_is_suggested_begins_with_how_it_is_asked(asked):
    choose_wording(asked, "mouse", ["mice"])
    assert suggested_phrases(asked, "mouse")[:2] == ("mice", "mouse")


@pytest.fixture(scope="module")
def pictures():
    dataset = fo.Dataset("wordings-pictures", persistent=True)
    dataset.add_samples([picture() for _ in range(40)])
    levels = [None if k % 7 == 0 else (k * 13 % 40) / 40 for k in range(40)]
    ask(dataset, {"cap": levels})
    yield dataset
    dataset.delete()


@given(st.integers(1, 50), st.integers(0, 2**31), st.booleans())
def test_as_many_samples_as_wanted_are_chosen_each_once_and_always_the_same(pictures, limit, seed, known):
    from curation.wordings import _chosen

    ids = pictures.values("id")
    chosen = _chosen(pictures, ["cap"] if known else [], "sam3", limit, seed)
    assert len(set(chosen)) == len(chosen) == min(limit, len(ids))
    assert chosen == sorted(chosen, key=ids.index)
    assert chosen == _chosen(pictures, ["cap"] if known else [], "sam3", limit, seed)


def test_wordings_do_not_drive_each_other_out(made):
    """A run that settles overlaps of different concepts says nothing about wordings of one."""
    dataset = made.clone()
    try:
        said = dict(cross_nms_thresh=0.3, keep_parts=False)
        model = load_model("concepts/sam3-tiny-image", classes=["mouse"], conflicts=said)
        dataset.apply_model(model, label_field="sam3", batch_size=8, progress=False)
        found = compare_wordings(dataset, "mouse", FOUR[:2], None, progress=False)
        assert len(found.groups) == 1 and found.agreement[0, 1] > 0.8
    finally:
        dataset.delete()
