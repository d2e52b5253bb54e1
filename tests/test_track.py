"""Tracking step by step: chunks, runs that were cut, parts of videos, and images that are a video."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import pytest
from fiftyone import ViewField as F
from support import films, media
from support.films import chains, expected, frames_of, images_of, masklets_of, scripted, told

import zoo.frame_store
import zoo.video_run
from zoo.engine.errors import ConceptError
from zoo.footage import Window, footage_of
from zoo.frame_store import FrameStore
from zoo.ledger import Ledger, answered, pending, recorded
from zoo.provenance import run_info
from zoo.track import TrackProgress, track

LENGTH, LONG = 12, 70
LABELS = ("dog", "cat", "owl")


@pytest.fixture(scope="module")
def reels(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reels")
    made = {name: folder / f"{name}.mp4" for name in ("plain", "later", "long", "cut")}
    films.film(made["plain"], LENGTH)
    films.film(made["later"], LENGTH, first=LENGTH + 1)
    films.film(made["long"], LONG)
    films.cut_short(made["cut"], made["long"])
    return made


@pytest.fixture(scope="module")
def prepared(reels) -> Iterator[fo.Dataset]:
    dataset = films.prepared([reels["plain"]], LABELS)
    yield dataset
    dataset.delete()


@pytest.fixture
def reel(prepared, reels) -> fo.Dataset:
    """One video, and the fields declared."""
    prepared.set_values("filepath", [str(reels["plain"])])
    return films.emptied(prepared)


@pytest.fixture
def small_chunks(monkeypatch) -> None:
    """Frames are written five at a time."""
    monkeypatch.setattr(zoo.video_run, "CHUNK", 5)
    monkeypatch.setattr(zoo.frame_store, "CHUNK", 5)


def go(samples, model, **options) -> list[TrackProgress]:
    return list(track(samples, model, **options))


def right(frames: dict[int, dict], numbers, *labels: str) -> bool:
    """Whether exactly these frames were asked exactly these labels, and hold what was to be found."""
    return {n: told(kept) for n, kept in frames.items()} == {n: expected(n, labels) for n in numbers}


def documents(dataset: fo.Dataset, **query) -> int:
    """How many frames the database has, asked behind FiftyOne's back."""
    return dataset._frame_collection.count_documents(query)


# ------------------------------------------------------------------------------------------------ step by step


def test_a_long_video_goes_to_the_database_in_parts(reel, reels):
    reel.set_values("filepath", [str(reels["long"])])
    stored, said = [], []
    model = scripted(["dog"], watch=lambda film, number: stored.append(documents(reel)))

    for progress in track(reel, model):
        said.append(progress)
        masklets = reel.values("sam3_masklets.detections.index")
        assert masklets == ([[1, 2]] if progress.share == 1 else [None])

    assert stored == [0] * 32 + [32] * 32 + [64] * 6
    (frames,) = frames_of(reel)
    assert right(frames, range(1, LONG + 1), "dog")
    assert [(p.share, p.frame, p.frames, p.masklets) for p in said] == [
        (0, 0, 0, 0), (0, 0, 70, 0), (32 / 70, 32, 70, 0), (64 / 70, 64, 70, 0), (1, 70, 70, 2),
    ]  # fmt: skip
    assert str(said[2]) == "video 1 of 1, frame 32 of 70, 0 masklets"
    assert [(m["label"], m["support"], m["gaps"]) for m in masklets_of(reel.first())] == [
        ("dog", [1, 70], 7), ("dog", [20, 70], 0),
    ]  # fmt: skip


def test_progress_rises_to_one_whatever_happens(reel, reels, tmp_path):
    dataset = reel.clone()
    files = [tmp_path / "gone.mp4", reels["cut"], reels["later"], reels["plain"]]
    dataset.delete_samples(dataset.values("id"))
    dataset.add_samples([fo.Sample(filepath=path) for path in files])
    go(dataset.select(dataset.last().id), scripted(LABELS))

    said = go(dataset, scripted(LABELS), skip_existing=True)

    shares = [progress.share for progress in said]
    assert shares == sorted(shares) and (shares[0], shares[-1]) == (0, 1)
    assert [p.video for p in said] == sorted(p.video for p in said)
    assert (said[-1].videos, said[-1].failed, said[-1].skipped) == (4, 2, 1)
    gone, cut, later, plain = frames_of(dataset)
    assert gone == {} and right(plain, range(1, LENGTH + 1), *LABELS)
    assert 5 < len(cut) < LONG and right(cut, range(1, len(cut) + 1), *LABELS)
    assert {n: told(kept) for n, kept in later.items()} == {n: expected(n + LENGTH, LABELS) for n in range(1, 13)}
    reasons = dataset.values("sam3_error")
    assert "does not exist" in reasons[0] and f"up to frame {len(cut)} " in reasons[1] and reasons[2:] == [None] * 2
    assert masklets_of(dataset[dataset.values("id")[1]])[0]["support"] == [1, len(cut)]
    summary = dataset.load_run_results("sam3", cache=False).summary
    assert {name: summary[name] for name in ("videos", "skipped", "failed", "frames", "masklets")} == dict(
        videos=1, skipped=1, failed=2, frames=len(cut) + LENGTH, masklets=said[-1].masklets
    )
    assert summary["seconds"] >= 0 and summary["finished"]
    dataset.delete()


def test_a_file_with_a_frame_less_than_it_promised_is_done(reel):
    class Poor(type(scripted())):
        def follow(self, frames, concepts, length):
            return list(super().follow(frames, concepts, length))[:-1]

    model = scripted(["dog"])
    model.__class__ = Poor

    said = go(reel, model)

    assert (said[-1].share, said[-1].frame, said[-1].frames, said[-1].failed) == (1, 11, 11, 0)
    assert reel.values("sam3_error") == [None]


def test_nothing_to_track(reel):
    (said,) = go(reel.limit(0), scripted())

    assert (said.share, str(said)) == (1, "nothing to track")


def test_the_sidebar_has_the_sliders(reel):
    go(reel, scripted(["dog", "cat"]))

    groups = [(g.name, g.paths, g.expanded) for g in reel.app_config.sidebar_groups]
    place = [name for name, *_ in groups].index("labels")
    name, paths, expanded = groups[place + 1]
    assert (name, expanded) == ("sam3_presence", True)
    assert {"sam3_presence.dog", "sam3_presence.cat"} <= set(paths)
    assert {"sam3_presence.dog", "sam3_presence.cat"} <= set(reel.list_indexes())


# ------------------------------------------------------------------------------------------------ going on


def test_what_was_tracked_to_its_end_is_left_alone(reel):
    go(reel, scripted(["dog", "cat"]))
    before, record = frames_of(reel), run_info(reel)["concepts"]
    model = scripted(["dog", "cat"], max_frames=5)

    said = go(reel, model, skip_existing=True)

    assert model.followed == [] and not model.skip_existing
    assert (said[-1].share, said[-1].skipped, said[-1].masklets) == (1, 1, 0)
    assert frames_of(reel) == before and run_info(reel)["concepts"] == record
    assert reel.load_run_results("sam3", cache=False).summary["skipped"] == 1


def test_another_concept_joins_and_numbers_go_on(reel):
    go(reel, scripted(["dog", "cat"]))
    (before,) = frames_of(reel)
    model = scripted(["cat", "owl", "bird"])

    go(reel, model, skip_existing=True)

    assert [labels for labels, _ in model.followed] == [("owl", "bird")]
    (after,) = frames_of(reel)
    assert right(after, range(1, LENGTH + 1), "dog", "cat", "owl", "bird")
    assert chains(after) == {**chains(before), 3: ("bird", 0, [1, 2])}
    assert [m["index"] for m in masklets_of(reel.first())] == [1, 2, 3]
    assert media.state(reel.view().first(), "")["count"] == {"bird": 1, "cat": 1, "dog": 1, "owl": 0}


def test_the_same_concept_again_replaces_its_own(reel):
    go(reel, scripted(["dog", "cat"]))
    (before,) = frames_of(reel)

    go(reel, scripted(["dog"]))

    (after,) = frames_of(reel)
    assert right(after, range(1, LENGTH + 1), "dog", "cat")
    assert chains(after) == {2: chains(before)[2], 3: chains(before)[1]}
    for one, other in zip(before.values(), after.values(), strict=True):
        cats = [kept["masklets"][0] for kept in (one, other) if kept["count"]["cat"]]
        assert len(set(cats)) <= 1, "cats stay who they are"
    assert {m["index"]: m["label"] for m in masklets_of(reel.first())} == {2: "cat", 3: "dog"}


class Cut(BaseException):
    """Ends a run as a signal does."""


@pytest.mark.parametrize(("way", "others"), [("abandoned", True), ("broken", True), ("killed", False)])
def test_a_run_that_was_cut_begins_anew_and_mixes_nothing(reel, small_chunks, way, others):
    if others:  # an earlier run, of which a part is asked again
        go(reel, scripted(["cat", "bird"]))

    def watch(film: int, number: int) -> None:
        if number == 9 and way != "abandoned":
            raise RuntimeError("no more") if way == "broken" else Cut

    steps = track(reel, scripted(["dog", "cat"], watch=watch))
    if way == "abandoned":
        assert next(step for step in steps if step.frame == 5)
        steps.close()
    elif way == "killed":
        with pytest.raises(Cut):
            list(steps)
    else:
        assert [step.failed for step in steps][-1] == 1

    (frames,) = frames_of(reel)
    asked = {"abandoned": 5, "killed": 5, "broken": 8}[way]
    assert sum("dog" in (kept["presence"] or ()) for kept in frames.values()) == asked
    assert (masklets_of(reel.first()) is None) == (way != "broken")
    assert reel.values("sam3_error") == [None if way != "broken" else "RuntimeError: no more"]
    assert set(run_info(reel)["concepts"]) == {"dog", "cat", *(["bird"] if others else [])}

    model = scripted(["dog", "cat"])
    go(reel, model, skip_existing=True)

    assert [numbers for _, numbers in model.followed] == [list(range(1, LENGTH + 1))]
    (frames,) = frames_of(reel)
    assert right(frames, range(1, LENGTH + 1), "dog", "cat", *(["bird"] if others else []))
    found = sorted(chains(frames).values())
    assert found == sorted([
        ("cat", 0, [3, 4, 5, 6]), ("dog", 0, [n for n in range(1, 13) if n != 5]),
        *([("bird", 0, [1, 2])] if others else []),
    ])  # fmt: skip
    assert len(masklets_of(reel.first())) == len(found)
    assert reel.values("sam3_error") == [None]


def test_answers_of_other_settings_are_not_mixed(reel):
    go(reel, scripted(["dog"], hotstart_delay=9))
    before = frames_of(reel)

    for settings, reason in (
        (dict(hotstart_delay=10), "the tracker's settings"),
        (dict(hotstart_delay=9, tracking=False), "the tracker's settings"),
        (dict(hotstart_delay=9, confidence_thresh=0.3), "threshold 0.5, now it is 0.3"),
    ):
        with pytest.raises(ConceptError, match=reason):
            go(reel, scripted(["dog"], **settings), skip_existing=True)
    go(reel, scripted(["dog"], hotstart_delay=9, start=2), skip_existing=True)  # which frames is no such setting

    assert frames_of(reel) == before
    go(reel, scripted(["dog"], hotstart_delay=10))
    assert run_info(reel)["concepts"]["dog"]["tracker"]["hotstart_delay"] == 10


def test_where_it_came_from(reel):
    go(reel, scripted({"pet": ["dog", "a cat"]}, start=2, stride=3, new_det_thresh=0.6), label_field="pets")

    info = run_info(reel)
    assert (info["method"], info["frames"], info["label_field"]) == ("sam3_concepts", True, "pets")
    entry = info["concepts"]["pet"]
    assert (list(entry["phrases"]), entry["threshold"]) == (["dog", "a cat"], None)
    assert (entry["tracker"]["new_det_thresh"], entry["tracker"]["tracking"]) == (0.6, True)
    assert dict(entry["window"]) == dict(start=2, max_frames=None, stride=3, reverse=False)
    assert {"checkpoint", "fingerprint", "started", "versions"} <= set(entry)
    assert reel.load_run_results("sam3").summary["frames"] == 4


def test_a_video_that_cannot_be_opened_keeps_its_record(reel, reels, tmp_path):
    """What an earlier run found stays, so what is known of it does."""
    go(reel, scripted(["dog"]))
    before, record = frames_of(reel), run_info(reel)["concepts"]
    reel.set_values("filepath", [str(tmp_path / "gone.mp4")])

    go(reel, scripted(["dog"], confidence_thresh=0.9))

    assert frames_of(reel) == before and run_info(reel)["concepts"] == record
    assert "does not exist" in reel.values("sam3_error")[0]


# ------------------------------------------------------------------------------------------------ parts of videos


@pytest.mark.parametrize(
    ("window", "numbers"),
    [
        (dict(start=4), [4, 5, 6, 7, 8, 9, 10, 11, 12]),
        (dict(max_frames=3), [1, 2, 3]),
        (dict(start=2, stride=4), [2, 6, 10]),
        (dict(start=3, stride=2, max_frames=3, reverse=True), [7, 5, 3]),
        (dict(reverse=True), list(range(LENGTH, 0, -1))),
    ],
)
def test_a_window(reel, small_chunks, window, numbers):
    model = scripted(["dog", "cat"], **window)

    go(reel, model)

    assert [seen for _, seen in model.followed] == [numbers] and model.lengths == [len(numbers)]
    (frames,) = frames_of(reel)
    assert right(frames, sorted(numbers), "dog", "cat")
    dog = next(m for m in masklets_of(reel.first()) if m["label"] == "dog")
    with_dog = [n for n in sorted(numbers) if n != 5]
    assert (dog["support"], dog["frames_seen"]) == ([with_dog[0], with_dog[-1]], len(with_dog))
    # only what was looked at, and lies between, can be a gap
    assert dog["gaps"] == (5 in numbers and min(numbers) < 5 < max(numbers))
    assert dog["birth_score"] == films.confidence("dog", 0, next(n for n in numbers if n != 5))


def test_a_window_behind_the_end_costs_that_video(reel, reels):
    dataset = reel.clone()
    dataset.add_sample(fo.Sample(filepath=reels["long"]))

    said = go(dataset, scripted(["dog"], start=LENGTH + 1, max_frames=2))

    assert "frames 13-13 asked, but plain.mp4 has 12" in dataset.first().sam3_error
    short, long = frames_of(dataset)
    assert short == {} and right(long, [13, 14], "dog")
    assert (said[-1].failed, said[-1].share) == (1, 1)
    dataset.delete()


def test_a_part_and_then_the_whole(reel):
    go(reel, scripted(["dog"], start=3, max_frames=4))
    assert right(frames_of(reel)[0], range(3, 7), "dog")
    part, whole = scripted(["dog"], start=4, max_frames=2), scripted(["dog"])

    go(reel, part, skip_existing=True)
    go(reel, whole, skip_existing=True)

    assert part.followed == [] and len(whole.followed) == 1
    (frames,) = frames_of(reel)
    assert right(frames, range(1, LENGTH + 1), "dog")
    assert chains(frames) == {1: ("dog", 0, [n for n in range(1, 13) if n != 5])}


def test_a_part_again_leaves_the_rest(reel):
    """What others of its masklets lose is a gap of theirs."""
    go(reel, scripted(["dog", "cat"]))
    whole = masklets_of(reel.first())

    go(reel, scripted(["dog"], start=7, max_frames=3))

    (frames,) = frames_of(reel)
    assert right(frames, range(1, LENGTH + 1), "dog", "cat")
    assert chains(frames) == {
        1: ("dog", 0, [1, 2, 3, 4, 6, 10, 11, 12]), 2: ("cat", 0, [3, 4, 5, 6]), 3: ("dog", 0, [7, 8, 9]),
    }  # fmt: skip
    first, cat, new = masklets_of(reel.first())
    assert (first["support"], first["frames_seen"], first["gaps"]) == ([1, 12], 8, 2)
    assert first["birth_score"] == whole[0]["birth_score"] and cat == whole[1]
    assert (new["support"], new["frames_seen"], new["gaps"]) == ([7, 9], 3, 0)
    assert reel.values("sam3_count.dog") == [2]


def test_clips_fail_one_by_one(reel):
    video = reel.first()
    shots = [(2, 4), (11, 40), (6, 8)]
    video["shots"] = fo.TemporalDetections(detections=[fo.TemporalDetection(label="s", support=[*s]) for s in shots])
    video.save()

    said = go(reel.to_clips("shots"), scripted(["dog"]))

    assert (said[-1].videos, said[-1].failed) == (3, 1)
    assert right(frames_of(reel)[0], [2, 3, 4, 6, 7, 8], "dog")
    assert "frames 11-40 asked, but plain.mp4 has 12" in reel.first().sam3_error  # though the next clip went well
    assert [m["support"] for m in masklets_of(reel.first())] == [[2, 4], [6, 8]]


@pytest.mark.parametrize(
    ("chosen", "window", "numbers"),
    [
        (None, {}, list(range(1, LENGTH + 1))),
        ((2, 3, 9, 11), dict(stride=2), [2, 9]),
        ((2, 3, 9, 11), dict(max_frames=2, reverse=True), [3, 2]),
        ((2, 3, 9, 11), dict(start=4), [9, 11]),
        ((2, 3), dict(start=4), []),
    ],
)
def test_chosen_frames(reel, chosen, window, numbers):
    go(reel, scripted(["cat"]))
    reel.set_values("frames.filepath", [[f"/nowhere/{n}.png" for n in range(1, LENGTH + 1)]])  # never looked at
    view = reel.to_frames(sample_frames=False)
    if chosen:
        view = view.match(F("frame_number").is_in(list(chosen)))
    model = scripted(["dog"], **window)

    said = go(view, model)

    assert [seen for _, seen in model.followed if seen] == ([numbers] if numbers else [])
    (frames,) = frames_of(reel)
    for number, kept in frames.items():
        assert told(kept) == expected(number, ["cat", "dog"] if number in numbers else ["cat"])
    assert bool(reel.first().sam3_error) == (not numbers) == bool(said[-1].failed)


def test_a_slice_of_groups(tmp_path, reels, new_dataset):
    """Whichever slice the App shows by default."""
    group = fo.Group()
    (still,) = films.stills(tmp_path, 1)
    dataset = new_dataset()
    dataset.add_group_field("group", default="still")
    dataset.add_samples([
        fo.Sample(filepath=still, group=group.element("still")),
        fo.Sample(filepath=reels["plain"], group=group.element("film")),
    ])  # fmt: skip
    with pytest.raises(ConceptError, match=r"holds group samples; .*: pick a slice with select_group_slices\(\)"):
        go(dataset, scripted(["dog"]))

    go(dataset.select_group_slices("film"), scripted(["dog"]))

    slices = dataset.select_group_slices("film")
    assert right(frames_of(slices)[0], range(1, LENGTH + 1), "dog")
    assert [m["support"] for m in masklets_of(slices.first())] == [[1, 12]]
    slices.apply_model(scripted(["cat"]), label_field="sam3", skip_failures=False, progress=False)
    assert right(frames_of(slices)[0], range(1, LENGTH + 1), "dog", "cat")


# ------------------------------------------------------------------------------------------------ sequences


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Iterator[fo.Dataset]:
    """Two scenes of images, the second of them later in the same film; in no order."""
    folder = tmp_path_factory.mktemp("stills")
    first, second = films.stills(folder / "a", 6), films.stills(folder / "b", 4, first=7)
    shuffled = [first[3], second[0], first[0], first[5], second[2], first[1], second[1], first[4], second[3], first[2]]
    dataset = films.prepared(shuffled, LABELS)
    dataset.set_values("scene", [path.parent.name for path in shuffled])
    dataset.set_values("number", [int(path.stem) for path in shuffled])
    yield dataset
    dataset.delete()


@pytest.fixture
def stills(drawn) -> Iterator[fo.Dataset]:
    paths = drawn.values("filepath")
    yield films.emptied(drawn)
    drawn.set_values("filepath", paths)


def scenes(dataset: fo.Dataset) -> fo.DatasetView:
    return dataset.group_by("scene", order_by="number")


def in_order(dataset: fo.Dataset, scene: str) -> fo.DatasetView:
    return dataset.match(F("scene") == scene).sort_by("number")


def test_images_in_order_are_a_video(stills, small_chunks):
    model = scripted(LABELS)

    said = go(scenes(stills), model, label_field="sam3")

    assert sorted(numbers for _, numbers in model.followed) == [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6]]
    for sample, kept in zip(stills.view(), images_of(stills), strict=True):
        assert told(kept) == expected(sample.number, LABELS)
    for scene, found in (
        ("a", {1: ("dog", 0, [1, 2, 3, 4, 6]), 2: ("cat", 0, [3, 4, 5, 6])}), ("b", {1: ("dog", 0, [1, 2, 3, 4])}),
    ):  # fmt: skip
        view = in_order(stills, scene)
        assert chains(dict(enumerate(images_of(view), 1))) == found
        assert [(m["label"], m["support"]) for m in masklets_of(view.first())] == [
            (label, [numbers[0], numbers[-1]]) for label, _, numbers in found.values()
        ]
        assert view.values("sam3_masklets")[1:] == [None] * (len(view) - 1)
    assert (said[-1].videos, said[-1].masklets, said[-1].share) == (2, 3, 1)
    info = run_info(stills)
    assert (info["frames"], info["label_field"]) == (False, "sam3")


def test_images_go_on_where_they_were(stills, small_chunks):
    go(scenes(stills), scripted(["dog"], start=2, max_frames=2, reverse=True))
    assert [bool(kept["presence"]) for kept in images_of(in_order(stills, "a"))] == [False, True, True] + [False] * 3
    go(scenes(stills), scripted(["dog"]), skip_existing=True)
    model = scripted(["dog", "cat"])

    go(scenes(stills), model, skip_existing=True)

    assert {labels for labels, _ in model.followed} == {("cat",)}
    for sample, kept in zip(stills.view(), images_of(stills), strict=True):
        assert told(kept) == expected(sample.number, ["dog", "cat"])
    again = scripted(["dog", "cat"])
    assert go(scenes(stills), again, skip_existing=True)[-1].skipped == 2 and again.followed == []


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "frame 4 .* cannot be used: .*does not exist"),
        (lambda path: path.write_bytes(b"no picture"), "frame 4 .* cannot be used: .*not an image"),
        (lambda path: media.plain(path, "red", (20, 30)), "frame 4 .* is 30x20, but frame 1 is 64x48"),
    ],
)
def test_an_image_that_cannot_be_used_ends_its_sequence(stills, tmp_path, damage, reason):
    paths = films.stills(tmp_path, 6)
    in_order(stills, "a").set_values("filepath", list(map(str, paths)))
    damage(paths[3])

    said = go(scenes(stills), scripted(["dog"]))

    kept = images_of(in_order(stills, "a"))
    first, *others = [frame.pop("error") for frame in kept]
    assert re.search(reason, first)
    assert others == [None] * 5
    assert [frame["presence"] for frame in kept] == [expected(n, ["dog"])["presence"] for n in (1, 2, 3)] + [None] * 3
    assert masklets_of(in_order(stills, "a").first())[0]["support"] == [1, 3]
    assert [told(kept) for kept in images_of(in_order(stills, "b"))] == [expected(n, ["dog"]) for n in range(7, 11)]
    assert (said[-1].failed, said[-1].share) == (1, 1)


def test_what_is_no_video(stills, reel):
    refused = [
        (stills, r"holds image samples; .*group them, view.group_by\(.*order_by="),
        (stills.group_by("scene"), "The groups have no order, so they are no videos"),
        (reel.group_by("filepath", order_by="id"), "its groups hold video samples"),
    ]
    for samples, reason in refused:
        with pytest.raises(ConceptError, match=reason):
            go(samples, scripted(["dog"]))
    assert not stills.list_runs() and not reel.list_runs()


def test_a_field_that_holds_something_else(stills):
    stills.set_values("truth", [fo.Detections(detections=[fo.Detection(label="dog", bounding_box=[0, 0, 1, 1])])] * 10)

    with pytest.raises(ConceptError, match="'truth' already holds Detections that this model did not make"):
        go(scenes(stills), scripted(["dog"]), label_field="truth")

    assert stills.count("truth.detections") == 10 and not stills.list_runs()


# ------------------------------------------------------------------------------------------------ the store by itself


def test_frames_count_as_answered_when_their_run_came_to_its_end(reel):
    (footage,) = footage_of(reel)
    store = FrameStore(footage, "sam3", "sam3")
    results = list(films.follow(footage.open(Window()), scripted(["dog"]).concepts))

    store.begin(["dog"], range(1, 13))
    store.write(results[:4])
    assert store.answered(["dog", "cat"]) == {"dog": set(), "cat": set()}
    assert store.finish(["dog"], "the film tore") == 1
    assert store.answered(["dog", "cat"]) == {"dog": {1, 2, 3, 4}, "cat": set()}
    assert reel.values("sam3_error") == ["the film tore"]

    store = FrameStore(footage, "sam3", "sam3")
    store.begin(["dog"], [2, 3])
    assert [sorted(kept["presence"]) for kept in frames_of(reel)[0].values()] == [["dog"], [], [], ["dog"]]
    assert reel.values("sam3_masklets") == [None] and store.answered(["dog"]) == {"dog": set()}


def test_a_frame_that_was_followed_and_not_asked_is_done(reel):
    """It has a count, and no presence; the video's presence is of the frames that were asked."""
    (footage,) = footage_of(reel)
    store, ledger = FrameStore(footage, "sam3", "sam3"), Ledger(frames=True)
    results = [
        r if r.number % 3 == 1 else replace(r, concepts=tuple(
            replace(c, presence=None, object_score=None, instances=tuple(
                replace(i, presence=None, object_score=None) for i in c.instances
            )) for c in r.concepts
        ))
        for r in films.follow(footage.open(Window()), scripted(["dog"]).concepts)
    ]
    reel.compute_metadata()
    assert len(pending(reel, ["dog"], ledger)) == 1
    store.begin(["dog"], range(1, LENGTH + 1))
    store.write(results)
    store.finish(["dog"], None)

    assert store.answered(["dog"])["dog"] == set(range(1, LENGTH + 1))
    assert len(pending(reel, ["dog"], ledger)) == 0 == len(pending(reel, ["dog"]))
    frames = reel.first().frames
    assert all(answered(frames[n], ledger) == {"dog"} for n in range(1, LENGTH + 1))
    assert [n for n in frames if "dog" in recorded(frames[n], ledger)] == [1, 4, 7, 10]
    assert reel.values("sam3_presence.dog") == [max(films.presence("dog", n) for n in (1, 4, 7, 10))]
    whole, asked = (films.seen("dog", n) for n in (2, 1))
    assert len(frames[2]["sam3"].detections) == len(whole) == len(asked)
    (masklet,) = reel.first()["sam3_masklets"].detections
    assert masklet.frames_seen == sum(bool(films.seen("dog", n)) for n in range(1, LENGTH + 1))
    assert masklet.presence == max(films.presence("dog", n) for n in (1, 4, 7, 10) if films.seen("dog", n))

    # a run that resumes has nothing to do; with another stride it is another question
    model = scripted(["dog"])
    assert [p.skipped for p in go(reel, model, skip_existing=True)][-1] == 1


def test_runs_from_before_there_was_a_stride_are_gone_on_with(reel):
    go(reel, scripted(["dog"]))
    info = reel.get_run_info("sam3")
    assert info.config.concepts["dog"]["tracker"].pop("detect_every") == 1
    reel.update_run_config("sam3", info.config)
    assert go(reel, scripted(["dog"]), skip_existing=True)[-1].skipped == 1
    with pytest.raises(ConceptError, match="'detect_every': 1.*'detect_every': 3"):
        go(reel, scripted(["dog"], detect_every=3), skip_existing=True)
