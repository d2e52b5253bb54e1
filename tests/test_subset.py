"""The training subset: who is chosen, how it is split, what is written, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

import fiftyone as fo
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledgers import A, ask, instance, picture, rectangle, shared, video

from curation.definitions import choose_wording
from curation.errors import CurationError
from curation.hard_negatives import find_hard_negatives
from curation.records import delete_findings
from curation.subset import ROLES, choose_subset, load_subset, subset_steps
from curation.subset.diversity import UNSEEN, facility_location, k_center
from curation.subset.duplicates import distinct
from curation.subset.quotas import in_proportion, shared_out, water_fill
from curation.subset.settings import DUPLICATE
from curation.subset.splitting import split_up
from curation.truth import verify

COUNT = 120
#: concepts that are kin in the noun graph, and have one sense
STRINGS = ("violin", "cello")
LOOK = dict(key=None, progress=False)


def unit(rng: np.random.Generator, count: int, width: int = 16) -> np.ndarray:
    rows = rng.normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pool(samples: int = COUNT) -> tuple[list[fo.Sample], dict]:
    """Of each ten: two with a violin, two with a cello that SAM 3 takes for a violin, the rest with neither; every
    second of a film of five.
    """
    there = [picture([], [], film=f"film {k // 5}") for k in range(samples)]
    kinds = [k % 10 for k in range(samples)]
    violin = [0.9 if k < 2 else 0.3 if k < 4 else 0.01 for k in kinds]
    cello = [0.3 if k < 2 else 0.9 if k < 4 else 0.01 for k in kinds]
    return there, {"violin": violin, "cello": cello}


def filled(dataset: fo.Dataset, presence: dict) -> fo.Dataset:
    ask(dataset, presence, label_field="sam3", phrases={name: name for name in presence})
    dataset.set_values("sam3_embedding", list(unit(np.random.default_rng(1), len(dataset))))
    return dataset


@pytest.fixture(scope="module")
def untouched() -> Iterator[fo.Dataset]:
    """For all who only look."""
    samples, presence = pool()
    with shared(*samples) as dataset:
        yield filled(dataset, presence)


@pytest.fixture
def strings(new_dataset) -> fo.Dataset:
    samples, presence = pool(60)
    return filled(new_dataset(samples), presence)


def schema(dataset: fo.Dataset) -> set[str]:
    return set(dataset.get_field_schema(flat=True))


def state(dataset: fo.Dataset) -> tuple:
    return schema(dataset), dataset.list_runs(), dataset.list_saved_views(), dataset.count_sample_tags()


# --- numbers ---


@given(st.integers(0, 500), st.lists(st.floats(0.01, 5), min_size=1, max_size=6))
def test_shares_add_up_and_are_as_near_as_whole_numbers_can_be(total, shares):
    found = shared_out(total, {str(k): share for k, share in enumerate(shares)})
    assert sum(found.values()) == total
    for k, share in enumerate(shares):
        assert abs(found[str(k)] - total * share / sum(shares)) < 1 + 1e-6


@given(st.integers(0, 200), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=8))
def test_water_comes_up_where_it_is_lowest(total, cells):
    room, held = [r for r, _ in cells], [h for _, h in cells]
    given_ = water_fill(total, room, held)
    assert sum(given_) == min(total, sum(room)) and all(g <= r for g, r in zip(given_, room, strict=True))
    levels = [h + g for h, g in zip(held, given_, strict=True)]
    for k, g in enumerate(given_):  # whoever got something is no higher than whoever could have had more
        if g:
            assert all(levels[k] <= levels[j] + 1 for j in range(len(room)) if given_[j] < room[j])


def test_in_proportion_there_is_never_more_than_there_is():
    assert in_proportion(10, [1, 3, 100]) == [0, 0, 10]
    assert in_proportion(200, [1, 3, 100]) == [1, 3, 100]


# --- near-duplicates ---


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 80), st.sampled_from([0.5, 0.9, 0.99]))
def test_no_two_that_stay_are_near_and_whoever_goes_has_a_twin(seed, count, threshold):
    rng = np.random.default_rng(seed)
    middles = unit(rng, 7, 5)
    rows = middles[rng.integers(7, size=count)] + rng.normal(size=(count, 5)).astype(np.float32) * 0.15
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = distinct(rows, threshold, rng.permutation(count))
    alike = rows @ rows.T
    for a, b in combinations(np.flatnonzero(found.stays).tolist(), 2):
        assert alike[a, b] < threshold
    for k in np.flatnonzero(~found.stays).tolist():
        twin = found.twin[k]
        assert found.stays[twin] and alike[k, twin] >= threshold - 1e-4
        assert found.cosine[k] == pytest.approx(alike[k, twin], abs=1e-5)
    assert (found.twin[found.stays] == -1).all()


@pytest.mark.parametrize("spread", [1.0, 0.02])
def test_many_rows_are_compared_as_few_are(spread):
    """More than a block, with shortcuts and, where directions are few, without."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(5_000, 64)).astype(np.float32)
    rows[:, 8:] *= spread
    rows[4_000:] = rows[:1_000] + rng.normal(size=(1_000, 64)).astype(np.float32) * 0.002
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = distinct(rows, 0.98)
    kept = rows[found.stays]
    alike = kept @ kept.T
    np.fill_diagonal(alike, 0)
    assert alike.max() < 0.98
    assert not found.stays[4_000:].any() and found.stays[0]
    gone = np.flatnonzero(~found.stays)
    assert (np.einsum("nd,nd->n", rows[gone], rows[found.twin[gone]]) >= 0.98 - 1e-4).all()


def test_the_first_in_the_order_stays():
    rows = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert distinct(rows, 0.9).stays.tolist() == [True, False, True]
    assert distinct(rows, 0.9, np.array([2, 1, 0])).stays.tolist() == [False, True, True]


# --- orders of choosing ---


def drawn(order, vectors: np.ndarray, n: int, seed: int = 0) -> list[int]:
    blocked, found = np.zeros(len(vectors), bool), []
    nearest = np.full(len(vectors), UNSEEN, np.float32)
    for place in order(vectors, nearest, blocked, np.random.default_rng(seed)):
        blocked[place] = True
        found.append(place)
        if len(found) == n:
            break
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_farthest_first_is_never_worse_than_twice_the_best(seed, count):
    """Gonzalez: of the centres that are picked, each is as far from those before as anybody is from all of them."""
    vectors = unit(np.random.default_rng(seed), count, 4)
    found = drawn(k_center, vectors, count // 2)
    alike = vectors @ vectors.T
    for k in range(1, len(found)):
        nearest = alike[:, found[:k]].max(1)
        left = [p for p in range(count) if p not in found[:k]]
        assert nearest[found[k]] == pytest.approx(min(nearest[left]), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30))
def test_lazy_greedy_is_greedy(seed, count):
    vectors = unit(np.random.default_rng(seed), count, 4)
    alike = vectors @ vectors.T
    covered = np.full(count, -1.0)
    for place in drawn(facility_location, vectors, count // 2):
        gains = np.maximum(alike - covered, 0).sum(1)
        assert gains[place] == pytest.approx(gains.max(), abs=1e-3)
        covered = np.maximum(covered, alike[place])


def test_many_candidates_are_all_to_be_had():
    vectors = unit(np.random.default_rng(0), 4_200, 3)
    assert sorted(drawn(facility_location, vectors, 4_200)) == list(range(4_200))


# --- splits ---


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 90), st.integers(1, 30))
def test_groups_stay_whole_and_singles_are_split_exactly(seed, count, size):
    rng = np.random.default_rng(seed)
    groups = np.arange(count) // size
    labels = rng.integers(4, size=count).tolist()
    splits = {"train": 0.7, "val": 0.2, "test": 0.1}
    found = split_up(labels, groups, splits, rng)
    for group in set(groups.tolist()):
        assert len({found[k] for k in range(count) if groups[k] == group}) == 1
    if size == 1:
        assert Counter(found) == Counter({k: n for k, n in shared_out(count, splits).items() if n})


def test_every_label_is_in_every_split_as_the_splits_are_large():
    labels = [0] * 60 + [1] * 30 + [2] * 10
    found = split_up(labels, np.arange(100), {"train": 0.8, "val": 0.2}, np.random.default_rng(0))
    assert Counter(k for s, k in zip(found, labels, strict=True) if s == "val") == {0: 12, 1: 6, 2: 2}


# --- who is chosen ---


def test_roles_concepts_and_splits_get_what_was_asked(untouched):
    found = choose_subset(untouched, 40, **LOOK)
    assert found.counts == {"positive": 20, "hard": 10, "easy": 10} and found.sizes == {"train": 32, "val": 8}
    for share in found.shares:
        assert (share.positive, share.hard, share.easy) == (10, 5, 5)
        assert (share.asked_positive, share.asked_hard, share.asked_easy) == (10, 5, 5)
        assert (share.could_positive, share.could_hard, share.could_easy) == (24, 24, 72)
    presence = {c: dict(zip(*untouched.values(["id", f"sam3_presence.{c}"]), strict=True)) for c in STRINGS}
    levels = {"positive": {0.9}, "hard": {0.3}, "easy": {0.01}}
    for one in found.chosen:
        assert presence[one.concept][one.sample_id] in levels[one.role] and not one.known
    assert len(found.by_id) == 40 and [one.rank for one in found.chosen] == list(range(1, 41))
    assert found.notes == () and found.pool["usable"] == found.pool["samples"] == COUNT


@pytest.mark.parametrize("said", [{}, dict(ratio=(1, 0, 0), splits=None), dict(diversity="facility_location")])
def test_distances_are_to_all_chosen_before(new_dataset, said):
    """Facts and what the model says, parts of one role, included."""
    dataset = filled(new_dataset([picture([], []) for _ in range(40)]), {"kite": [0.9] * 30 + [0.01] * 10})
    verify(dataset.limit(4), "kite", True)
    found = choose_subset(dataset, 16, **said, **LOOK)
    vectors = dict(zip(*dataset.values(["id", "sam3_embedding"]), strict=True))
    for rank, one in enumerate(found.chosen[1:], 1):
        before = max(float(vectors[one.sample_id] @ vectors[other.sample_id]) for other in found.chosen[:rank])
        assert one.distance == pytest.approx(1 - before, abs=1e-3)


def test_every_choice_is_explained(untouched):
    found = choose_subset(untouched, 40, **LOOK)
    first, *rest = found.chosen
    assert first.distance is None and "nearest" not in first.because
    vectors = dict(zip(*untouched.values(["id", "sam3_embedding"]), strict=True))
    before = [vectors[first.sample_id]]
    for one in rest:
        nearest = 1 - max(float(np.dot(vectors[one.sample_id], other)) for other in before)
        assert one.distance == pytest.approx(nearest, abs=1e-3)
        assert one.because.endswith(f"; {one.distance:.2f} from the nearest chosen before")
        before.append(vectors[one.sample_id])
    words = {one.because.split(";")[0] for one in found.chosen}
    rivals = zip(STRINGS, reversed(STRINGS), strict=True)
    hard = {f"hard negative of {c!r}: presence 0.30, {r!r} is there" for c, r in rivals}
    easy = {f"easy negative of {c!r}: presence 0.01" for c in STRINGS}
    assert words == hard | easy | {f"{c!r} is there (presence 0.90)" for c in STRINGS}


@pytest.mark.parametrize("diversity", ["k_center", "facility_location", None])
def test_the_same_seed_is_the_same_subset(untouched, diversity):
    first, again, other = (choose_subset(untouched, 30, diversity=diversity, seed=s, **LOOK) for s in (1, 1, 2))
    assert first == again and first.chosen != other.chosen
    assert (first.chosen[-1].distance is None) == (diversity is None)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(4, 60), seed=st.integers(0, 99), grouped=st.booleans(),
    ratio=st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 3)),
    diversity=st.sampled_from(["k_center", "facility_location", None]), balance=st.booleans(),
)  # fmt: skip
def test_whatever_is_asked(untouched, n, seed, grouped, ratio, diversity, balance):
    group = "film" if grouped else None
    found = choose_subset(
        untouched, n, seed=seed, ratio=ratio, diversity=diversity, balance=balance, group_field=group,
        splits={"train": 0.5, "val": 0.5}, **LOOK,
    )  # fmt: skip
    assert len(found) == n == sum(found.sizes.values()) == len(found.by_id)
    assert all(ratio[ROLES.index(one.role)] for one in found.chosen)
    films = dict(zip(*untouched.values(["id", "film"]), strict=True))
    if grouped:
        where: dict[str, set] = {}
        for one in found.chosen:
            where.setdefault(films[one.sample_id], set()).add(one.split)
            assert one.group == films[one.sample_id]
        assert all(len(splits) == 1 for splits in where.values())
    else:
        assert abs(found.sizes["train"] - found.sizes["val"]) <= 1
    for share in found.shares:
        assert share.positive == len(found.of(role="positive", concept=share.concept))


def test_where_a_role_has_too_few_the_others_get_the_rest_and_it_is_said(untouched):
    found = choose_subset(untouched, 100, **LOOK)
    assert len(found) == 100 and found.counts["positive"] + found.counts["hard"] <= 48
    assert any(note.startswith("50 positive were asked, ") for note in found.notes)
    with pytest.raises(CurationError, match="50 positive were asked, .*: ask for less, or say strict=False"):
        choose_subset(untouched, 100, strict=True, **LOOK)
    assert len(choose_subset(untouched, 40, strict=True, **LOOK)) == 40


def test_a_rare_concept_gets_what_it_has(new_dataset):
    dataset = new_dataset([picture([], []) for _ in range(60)])
    ask(dataset, {"kite": [0.9] * 3 + [0.0] * 57, "drum": [0.0] * 3 + [0.9] * 57})
    found = choose_subset(dataset, 20, ratio={"positive": 1}, **LOOK)
    assert [(s.positive, s.asked_positive) for s in found.shares] == [(3, 10), (17, 10)]
    assert "positive samples are not of all concepts alike ('kite' 3 of 10)" in found.notes
    common = choose_subset(dataset, 20, ratio={"positive": 1}, balance=False, **LOOK)
    assert [s.positive for s in common.shares] == [1, 19]


def test_without_embeddings_presence_tells_what_is_alike(strings):
    strings.delete_sample_field("sam3_embedding")
    found = choose_subset(strings, 20, **LOOK)
    assert len(found) == 20 and any("Near-duplicates were not looked for" in note for note in found.notes)
    with pytest.raises(CurationError, match="duplicates=0.9 needs embeddings"):
        choose_subset(strings, 20, duplicates=0.9, **LOOK)


def test_an_array_is_as_good_as_a_field(untouched):
    rows = np.stack(untouched.values("sam3_embedding"))
    assert choose_subset(untouched, 30, embeddings=rows, **LOOK) == choose_subset(untouched, 30, **LOOK)


def test_samples_without_an_embedding_cost_only_themselves(strings):
    ids, rows = strings.values(["id", "sam3_embedding"])
    rows[0], rows[1] = None, np.full(16, np.nan, np.float32)
    strings.set_values("sam3_embedding", rows)
    found = choose_subset(strings, 30, **LOOK)
    assert not {ids[0], ids[1]} & found.by_id.keys() and len(found) == 30
    assert "2 samples have no usable embedding" in found.notes and found.pool["without embedding"] == 2


def test_of_near_duplicates_one_is_chosen(strings):
    rows = strings.values("sam3_embedding")
    rows[30:60] = [row + 1e-3 for row in rows[:30]]
    strings.set_values("sam3_embedding", rows)
    found = choose_subset(strings, 30, **LOOK)
    assert found.pool["duplicates"] == 30 and "30 samples are near-duplicates of others" in found.notes
    chosen = np.stack([rows[strings.values("id").index(one.sample_id)] for one in found.chosen])
    chosen /= np.linalg.norm(chosen, axis=1, keepdims=True)
    assert (np.triu(chosen @ chosen.T, 1) < DUPLICATE).all()
    with pytest.raises(CurationError, match="n=31, but only 30 of 60 samples can be chosen: 30 are near-duplicates"):
        choose_subset(strings, 31, **LOOK)
    assert len(choose_subset(strings, 31, duplicates=False, **LOOK)) == 31


def test_of_near_duplicates_the_one_that_people_know_stays(strings):
    rows = strings.values("sam3_embedding")
    rows[10] = rows[0]
    strings.set_values("sam3_embedding", rows)
    verify(strings.skip(10).limit(1), "violin", True)
    found = choose_subset(strings, 40, ratio={"positive": 1, "easy": 3}, **LOOK)
    ids = strings.values("id")
    assert ids[10] in found.by_id and ids[0] not in found.by_id


# --- facts ---


def test_labels_go_before_the_model(new_dataset):
    labels = [[rectangle("kite", A)], [], [], []] * 5
    dataset = new_dataset([picture(held, []) for held in labels])
    ask(dataset, {"kite": [0.1, 0.9, 0.0, 0.6] * 5}, label_field="sam3")
    found = choose_subset(dataset, 8, gt_field="ground_truth", exhaustive=True, **LOOK)
    place = {number: k % 4 for k, number in enumerate(dataset.values("id"))}
    roles = {(place[one.sample_id], one.role) for one in found.chosen}
    assert roles <= {(0, "positive"), (1, "hard"), (3, "hard"), (2, "easy")} and all(one.known for one in found.chosen)
    words = {one.because.split(";")[0] for one in found.chosen}
    assert "'kite' is there (labelled)" in words
    assert "hard negative of 'kite': presence 0.90, though it is not there" in words
    assert "easy negative of 'kite': presence 0.00, labelled as absent" in words


def test_what_people_verified_goes_before_all_and_first(new_dataset):
    dataset = new_dataset([picture([], []) for _ in range(12)])
    ask(dataset, {"kite": [0.9] * 6 + [0.0] * 6})
    verify(dataset.limit(1), "kite", False)
    verify(dataset.skip(6).limit(2), "kite", True)
    found = choose_subset(dataset, 3, ratio={"positive": 1}, splits=None, **LOOK)
    ids = dataset.values("id")
    assert {one.sample_id for one in found.chosen[:2]} == set(ids[6:8]) and ids[0] not in found.by_id
    assert [one.known for one in found.chosen] == [True, True, False]
    assert found.chosen[0].because.startswith("'kite' is there (verified)")


def test_rejected_labels_do_not_count_and_accepted_ones_are_facts(new_dataset):
    dataset = new_dataset([picture([], [instance("kite", A, 0.9)]) for _ in range(6)])
    ask(dataset, {"kite": [0.9] * 5 + [0.1]}, label_field="sam3")
    ids, labels = dataset.values(["id", "sam3.detections.id"])
    verdicts = {labels[0][0]: False, labels[1][0]: True, labels[5][0]: True}
    dataset.add_sample_field("sam3.detections.verified", fo.BooleanField)
    dataset.set_label_values("sam3.detections.verified", verdicts)
    found = choose_subset(dataset, 5, ratio={"positive": 1}, splits=None, **LOOK)
    assert ids[0] not in found.by_id and found.pool["undecided"] == 1
    assert [ids.index(one.sample_id) for one in found.chosen if one.known] in ([1, 5], [5, 1])


def test_rejected_ground_truth_says_nothing(new_dataset):
    dataset = new_dataset([picture([rectangle("kite", A)], []) for _ in range(4)])
    ask(dataset, {"kite": [0.9, 0.1, 0.0, 0.9]}, label_field="sam3")
    labels = dataset.values("ground_truth.detections.id")
    dataset.add_sample_field("ground_truth.detections.verified", fo.BooleanField)
    dataset.set_label_values("ground_truth.detections.verified", {labels[2][0]: False})
    found = choose_subset(dataset, 3, ratio=(1, 0, 0), gt_field="ground_truth", exhaustive=True, splits=None, **LOOK)
    assert dataset.values("id")[2] not in found.by_id


def test_presence_without_an_instance_is_no_positive(new_dataset):
    dataset = new_dataset([picture([], []) for _ in range(4)])
    ask(dataset, {"kite": [0.9] * 4}, count={"kite": [1, 0, 1, 0]})
    found = choose_subset(dataset, 2, ratio=(1, 0, 0), splits=None, **LOOK)
    assert found.by_id.keys() == {dataset.values("id")[k] for k in (0, 2)}


def test_hard_negatives_of_an_earlier_finding(strings):
    few = strings.limit(20)
    find_hard_negatives(few, "sam3", key="first", per_concept=2, progress=False)
    said = dict(ratio=(0, 1, 1), hard_negatives="first", **LOOK)
    found = choose_subset(strings, 16, **said)
    assert found.counts == {"positive": 0, "hard": 4, "easy": 12}
    assert {one.sample_id for one in found.of(role="hard")} <= set(few.values("id"))
    # not named, it is the latest, and what it lacks is mined
    assert choose_subset(strings, 16, ratio=(0, 1, 1), **LOOK).counts == {"positive": 0, "hard": 8, "easy": 8}


def test_patches_are_refused_as_such(strings):
    with pytest.raises(CurationError, match="whole images are needed"):
        choose_subset(strings.to_patches("sam3"), 2, **LOOK)


def test_embeddings_are_of_pictures_whatever_the_ledger(new_dataset):
    dataset = new_dataset([picture([], []) for _ in range(6)])
    ask(dataset, {"kite": [0.9] * 3 + [0.0] * 3}, ledger="mine", count={"kite": [1] * 3 + [0] * 3})
    dataset.set_values("sam3_embedding", list(unit(np.random.default_rng(1), 3)) * 2)
    said = dict(label_field=None, ledger="mine", ratio=(1, 0, 1), splits=None, **LOOK)
    assert choose_subset(dataset, 3, **said).pool["duplicates"] == 3


def test_a_negative_that_labels_know_is_no_positive_where_presence_says_so(new_dataset):
    """An earlier finding knew the labels; the choice is told of none."""
    there = [picture([rectangle(name, A)], [instance("violin", A, 0.9)]) for name in ("cello", "violin")]
    dataset = new_dataset([*there, picture([], []), picture([], [])])
    ask(dataset, {"violin": [0.9, 0.8, 0.0, 0.0], "cello": [0.9, 0.0, 0.0, 0.0]}, label_field="sam3")
    assert find_hard_negatives(dataset, "sam3", "ground_truth", exhaustive=True, progress=False).found[0].known
    misled = dataset.values("id")[0]
    said = dict(concepts=["violin"], splits=None, **LOOK)
    found = choose_subset(dataset, 1, ratio=(0, 1, 0), **said)
    assert found.by_id[misled].role == "hard" and found.by_id[misled].known
    assert misled not in choose_subset(dataset, 1, ratio=(1, 0, 0), **said).by_id
    verify(dataset.select(misled), "violin", True)  # a person has said otherwise since
    assert choose_subset(dataset, 1, ratio=(1, 0, 0), **said).by_id[misled].known


def test_videos(new_dataset):
    films = [video({"sam3": [instance("kite", A, 0.9)]}, {"sam3": []}) for _ in range(6)]
    dataset = new_dataset(films)
    ask(dataset, {"kite": [0.9] * 4 + [0.0] * 2})
    dataset.add_frame_field("sam3.detections.verified", fo.BooleanField)
    found = choose_subset(dataset, 6, label_field=None, ratio=(1, 0, 1), **LOOK)
    assert found.counts == {"positive": 4, "hard": 0, "easy": 2}


# --- groups ---


def test_frames_of_one_video_stay_together(strings):
    strings.set_values("sample_id", [f"video {k // 6}" for k in range(60)])
    strings.set_values("frame_number", [k % 6 + 1 for k in range(60)])
    found = choose_subset(strings, 30, **LOOK)
    where: dict[str, set] = {}
    for one in found.chosen:
        where.setdefault(one.group, set()).add(one.split)
    assert len(where) > 1 and all(len(splits) == 1 for splits in where.values())


def test_grouped_datasets_stay_together(new_dataset):
    dataset = new_dataset()
    dataset.add_group_field("scene", default="left")
    samples = []
    for _ in range(12):
        group = fo.Group()
        samples += [picture([], [], scene=group.element(side)) for side in ("left", "right")]
    dataset.add_samples(samples)
    flat = dataset.select_group_slices(["left", "right"])
    clone = flat.clone(persistent=True)
    try:
        ask(clone, {"kite": [0.9] * 12 + [0.0] * 12})
        found = choose_subset(clone, 16, ratio=(1, 0, 1), group_field="scene", **LOOK)
        where: dict[str, set] = {}
        for one in found.chosen:
            where.setdefault(one.group, set()).add(one.split)
        assert max(Counter(one.group for one in found.chosen).values()) == 2
        assert all(len(splits) == 1 for splits in where.values())
    finally:
        clone.delete()


def test_samples_without_a_group_are_on_their_own(strings):
    strings.set_values("film", ["one"] * 4 + [None] * 56)
    found = choose_subset(strings, 40, group_field="film", **LOOK)
    assert found.sizes == {"train": 32, "val": 8}
    assert {one.group for one in found.chosen} <= {"one", None}


def test_a_group_gives_no_more_than_fits_into_a_split(strings):
    strings.set_values("film", ["one"] * 50 + [f"short {k}" for k in range(10)])
    found = choose_subset(strings, 20, group_field="film", splits={"train": 0.6, "val": 0.4}, **LOOK)
    counts = Counter(one.group for one in found.chosen)
    assert len(found) == 20 and counts["one"] <= 12
    message = "the group 'one' has 50 samples and must stay whole, but no split holds more than 24: 34 of 40 samples"
    with pytest.raises(CurationError, match=message):
        choose_subset(strings, 40, group_field="film", splits={"train": 0.6, "val": 0.4}, **LOOK)


# --- what is written ---


def test_what_is_written(strings):
    found = choose_subset(strings, 20, key="train_set", progress=False)
    assert strings.count_sample_tags() == {"train_set": 20, "train_set:train": 16, "train_set:val": 4}
    for split in ("train", "val"):
        assert set(strings.match_tags(f"train_set:{split}").values("id")) == {o.sample_id for o in found.of(split)}
    fields = ("split", "role", "concept", "because")
    assert {f"train_set_{name}" for name in fields} <= schema(strings)
    columns = zip(*strings.values([f"train_set_{name}" for name in fields]), strict=True)
    rows = dict(zip(strings.values("id"), columns, strict=True))
    for number, row in rows.items():
        one = found.by_id.get(number)
        assert row == ((None,) * 4 if one is None else (one.split, one.role, one.concept, one.because))
    assert set(strings.load_saved_view("train_set").values("id")) == found.by_id.keys()
    assert found.view(strings, "val").values("id") == [one.sample_id for one in found.of("val")]
    assert len(found.to_pandas()) == 20 and list(found.summary().concept) == list(STRINGS)
    assert str(found).startswith("20 of 60 samples: 10 positive, 5 hard, 5 easy; train 16, val 4\n  violin  5 of 5 pos")


def test_loaded_as_it_was_chosen(strings):
    found = choose_subset(strings, 20, progress=False)
    dataset = fo.load_dataset(strings.name)
    dataset.clear_cache()
    assert load_subset(dataset) == found
    with pytest.raises(CurationError, match="has no subset 'other'; there is 'subset'"):
        load_subset(dataset, "other")
    with pytest.raises(CurationError, match="'test' is no split; there are 'train', 'val'"):
        found.of("test")


def test_chosen_again_nothing_of_before_is_left_and_deleted_there_is_no_trace(strings):
    strings.limit(3).tag_samples("mine")
    before = state(strings)
    choose_subset(strings, 30, progress=False)
    again = choose_subset(strings, 10, splits={"a": 0.5, "b": 0.5}, progress=False)
    assert strings.count_sample_tags() == {"mine": 3, "subset": 10, "subset:a": 5, "subset:b": 5}
    assert strings.count("subset_role") == 10 and load_subset(strings) == again
    assert strings.list_saved_views() == ["subset"] and len(strings.load_saved_view("subset")) == 10
    delete_findings(strings, "subset")
    assert state(strings) == before
    with pytest.raises(CurationError, match=r"has no subset 'subset'; run choose_subset\(\) first"):
        load_subset(strings)


def test_of_a_view(strings):
    view = strings.limit(40)
    found = choose_subset(view, 20, progress=False)
    assert found.by_id.keys() <= set(view.values("id")) and found.pool["samples"] == 40


def test_nothing_is_written_without_a_key(untouched):
    before = state(untouched)
    assert choose_subset(untouched, 10, **LOOK).key == "" and state(untouched) == before


def test_progress(untouched):
    steps = list(subset_steps(untouched, 20, key=None))
    assert (steps[0].done, steps[0].total, steps[0].result) == (0, 20, None)
    assert steps[-1].done == 20 and len(steps[-1].result) == 20


# --- what is refused, before anything is written ---


@pytest.mark.parametrize(
    ("n", "said", "message"),
    [
        (0, {}, "n=0 must be a whole number above 0"),
        (-3, {}, "n=-3 must be"),
        (2.5, {}, "n=2.5 must be"),
        (True, {}, "n=True must be"),
        ("9", {}, "n='9' must be"),
        (121, {}, "n=121, but there are only 120 samples"),
        (9, dict(ratio={"negative": 1}), "ratio names 'negative'; roles are 'positive', 'hard', 'easy'"),
        (9, dict(ratio={"hard": -1}), r"ratio\['hard'\]=-1 must be"),
        (9, dict(ratio={"hard": float("nan")}), r"ratio\['hard'\]=nan must be"),
        (9, dict(ratio={}), "at least one role needs a share"),
        (9, dict(ratio=(1, 2)), r"ratio=\(1, 2\): want three shares"),
        (9, dict(ratio="hard"), "ratio='hard' must map roles"),
        (9, dict(splits={"train": 0.8, "val": 0.3}), "add up to 1.1, and must add up to 1"),
        (9, dict(splits={"train": 1.0, "val": 0.0}), r"splits\['val'\]=0.0 must be a number above 0"),
        (9, dict(splits={"train": 0.99, "val": 0.01}), "'val' would get none of 9 samples"),
        (9, dict(splits={"": 1}), "splits: '' is no name for a split"),
        (9, dict(splits={"a/b": 1}), "splits: 'a/b' is no name for a split"),
        (9, dict(splits=[0.8, 0.2]), r"splits=\[0.8, 0.2\] must map names to shares"),
        (9, dict(diversity="centre"), "'centre' is no diversity; "),
        (9, dict(duplicates=1.5), "duplicates=1.5 must be a cosine"),
        (9, dict(duplicates=0), "duplicates=0 must be a cosine"),
        (9, dict(embeddings="nope"), "embeddings='nope' is not a field of .*; of vectors there is 'sam3_embedding'"),
        (9, dict(embeddings="film"), "embeddings='film' holds StringField"),
        (9, dict(embeddings=np.zeros((3, 4))), r"an array of one vector a sample is wanted, \(120, D\), got \(3, 4\)"),
        (9, dict(embeddings=["a"]), "embeddings must be the name of a field, or an array"),
        (9, dict(embeddings=np.zeros((120, 4))), "none of these 120 samples has a usable one"),
        (9, dict(group_field="nope"), "group_field='nope' is not a field"),
        (9, dict(group_field="tags"), "group_field='tags' holds ListField"),
        (9, dict(concepts=["celo"]), "'celo' was not asked of this dataset; the nearest that were: 'cello'"),
        (9, dict(concepts=["kazoo"]), "There is no positive of 'kazoo' among these 120 samples: leave it out"),
        (9, dict(gt_field="nope"), "gt_field 'nope' is not a field"),
        (9, dict(gt_field="ground_truth"), "What does it mean that a concept is not labelled"),
        (9, dict(exhaustive=True), "exhaustive=True needs gt_field"),
        (9, dict(label_field="nope"), "label_field 'nope' is not a field"),
        (9, dict(ledger="other"), "has no concept ledger 'other'"),
        (9, dict(hard_negatives="nope"), "has no hard_negatives 'nope'; run find_hard_negatives"),
        (9, dict(senses="rare"), "senses='rare'; want"),
        (9, dict(seed=-1), "seed=-1 must be"),
        (9, dict(balance="yes"), "balance='yes' must be True or False"),
        (9, dict(strict=1), "strict=1 must be True or False"),
        (9, dict(key="sam3"), "key='sam3' is already the name of a run"),
        (9, dict(key="film"), "key='film' would write beside the field 'film'"),
        (9, dict(key="two words"), "key='two words' must be a plain word"),
        (9, dict(spilts=None), "has no setting 'spilts'; did you mean 'splits'"),
        (9, dict(group_field="one"), "the 120 samples are of 1 groups, which cannot be in 2 splits whole"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(refusing, n, said, message):
    before = state(refusing)
    with pytest.raises(CurationError, match=message):
        choose_subset(refusing, n, **dict(dict(progress=False), **said))
    assert state(refusing) == before


@pytest.fixture(scope="module")
def refusing() -> Iterator[fo.Dataset]:
    """With a concept that is nowhere, and a group that is everywhere."""
    samples, presence = pool()
    with shared(*samples) as dataset:
        dataset.set_values("one", ["same"] * COUNT)
        yield filled(dataset, presence | {"kazoo": [0.0] * COUNT})


def test_a_concept_without_positives_is_left_out_where_nobody_named_it(refusing):
    found = choose_subset(refusing, 20, **LOOK)
    assert [share.concept for share in found.shares] == list(STRINGS)
    assert "There is no positive of 'kazoo': left out" in found.notes
    negatives = choose_subset(refusing, 20, concepts=["kazoo"], ratio=(0, 0, 1), **LOOK)
    assert negatives.counts["easy"] == 20


def test_tags_and_views_of_others_are_not_overwritten(strings):
    strings.limit(1).tag_samples("subset:val")
    with pytest.raises(CurationError, match="samples are already tagged 'subset:val', and not by a subset"):
        choose_subset(strings, 9, progress=False)
    strings.untag_samples("subset:val")
    strings.save_view("Subset", strings.limit(1))
    with pytest.raises(CurationError, match="there is a saved view 'Subset' already"):
        choose_subset(strings, 9, progress=False)


def test_vectors_of_several_lengths_and_of_none(strings):
    strings.set_values("odd", [[1.0, 2.0]] * 30 + [[1.0]] * 30)
    strings.add_sample_field("bare", fo.VectorField)
    for field, message in (("odd", "all of one length"), ("bare", "none of these 60 samples has one")):
        with pytest.raises(CurationError, match=message):
            choose_subset(strings, 9, embeddings=field, **LOOK)


def test_samples_that_nobody_asked_are_left_out(strings):
    strings.add_samples([picture([], []) for _ in range(5)])
    strings.set_values("sam3_embedding", list(unit(np.random.default_rng(4), 65)))
    found = choose_subset(strings, 30, **LOOK)
    assert found.pool["unasked"] == 5 and "5 samples were never asked about these concepts" in found.notes
    with pytest.raises(CurationError, match="n=64, but only 60 of 65 samples can be chosen: 5 were never asked"):
        choose_subset(strings, 64, **LOOK)


# --- words of several senses ---


def test_words_of_several_senses_are_one_note_and_what_there_is_to_choose_is_kept_beside_it(new_dataset):
    there = {"mouse": [0.9, 0.1, 0.4], "hamster": [0.1, 0.9, 0.1], "trackball": [0.1, 0.1, 0.9], "bat": [0.9, 0.1, 0.1]}
    rodents = ask(new_dataset([picture([], []) for _ in range(3)]), there | {"cricket bat": [0.1, 0.1, 0.9]})
    found = choose_subset(rodents, 3, splits=None, progress=False)
    assert [note for note in found.notes if "senses" in note] == [
        "'mouse', 'bat' have several senses, so their look-alikes are not mined: say senses=… (or 'usual'), or "
        "choose_wording(…, sense=…)"
    ]
    choices = [note.split(" has several senses, and none was chosen: ")[0] for note in found.ambiguous]
    assert choices == ["'mouse'", "'bat'"]
    assert load_subset(rodents) == found and found.ambiguous[0] in str(found)
    named = choose_subset(rodents, 1, concepts=["bat"], splits=None, **LOOK)
    assert len(named.ambiguous) == 1
    assert any(note.startswith("'bat' has several senses, so its look-alikes") for note in named.notes)
    for said in (dict(senses="usual"), dict(senses={"mouse": "", "bat": ""}), dict(ratio=(1, 0, 0))):
        sure = choose_subset(rodents, 3, splits=None, **said, **LOOK)
        assert not sure.ambiguous and not any("senses" in note for note in sure.notes)


def test_what_a_definition_says_of_a_sense_counts_when_look_alikes_are_mined(new_dataset):
    there = {"mouse": [0.9, 0.1, 0.4], "hamster": [0.1, 0.9, 0.1], "trackball": [0.1, 0.1, 0.9]}
    rodents = ask(new_dataset([picture([], []) for _ in range(3)]), there)
    said = dict(concepts=["mouse"], ratio=(0, 1, 0), splits=None, **LOOK)
    with pytest.raises(CurationError, match="only 0 of 3 samples can be chosen"):
        choose_subset(rodents, 1, **said)
    choose_wording(rodents, "mouse", "computer mouse")
    (one,) = choose_subset(rodents, 1, **said).chosen
    assert "'trackball' is there" in one.because
