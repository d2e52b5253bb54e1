"""The video model in ``apply_model``: what it writes, what its options do, and what it refuses."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import eta.core.frameutils as etaf
import eta.core.video as etav
import fiftyone as fo
import numpy as np
import pytest
from fiftyone.core.odm import get_db_conn
from support import films, media
from support.films import chains, expected, frames_of, masklets_of, scripted, told

import zoo.video_model
from zoo.engine.errors import ConceptError
from zoo.labels import ATTRIBUTES, TRACKED_ATTRIBUTES
from zoo.landing import SampleError
from zoo.masklets import ATTRIBUTES as OF_MASKLETS
from zoo.video_model import Sam3VideoModel

LONG, SHORT = 12, 8
LABELS = ("dog", "cat", "owl")

apply = partial(fo.Dataset.apply_model, label_field="sam3", skip_failures=False, progress=False)


@pytest.fixture(scope="module")
def reels(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reels")
    made = {name: folder / f"{name}.mp4" for name in ("long", "short", "cut", "text", "empty", "gone")}
    films.film(made["long"], LONG)
    films.film(made["short"], SHORT)
    films.cut_short(made["cut"], films.film(folder / "whole.mp4", 60))
    made["text"].write_text("<html>404</html>")
    made["empty"].touch()
    return made


@pytest.fixture(scope="module")
def prepared(reels) -> Iterator[fo.Dataset]:
    dataset = films.prepared([reels["long"], reels["short"]], LABELS)
    yield dataset
    dataset.delete()


@pytest.fixture
def reel(prepared) -> fo.Dataset:
    """Two videos, and the fields declared."""
    return films.emptied(prepared)


@pytest.fixture
def fresh(reels, new_dataset) -> fo.Dataset:
    return new_dataset([fo.Sample(filepath=reels["long"]), fo.Sample(filepath=reels["short"])])


def right(dataset: fo.Dataset, *labels: str, field: str = "sam3", ledger: str = "sam3") -> bool:
    """Whether both videos hold, in every frame, what was to be found there."""
    return [{n: told(kept) for n, kept in frames.items()} for frames in frames_of(dataset, field, ledger)] == [
        {n: expected(n, labels) for n in range(1, count + 1)} for count in (LONG, SHORT)
    ]


def declared(dataset: fo.Dataset) -> set[str]:
    """Paths of the fields that the database itself knows, whatever this process believes."""

    def paths(fields: list[dict], prefix: str) -> Iterator[str]:
        for field in fields:
            yield f"{prefix}{field['name']}"
            yield from paths(field.get("fields") or [], f"{prefix}{field['name']}.")

    stored = get_db_conn().datasets.find_one({"name": dataset.name})
    return {*paths(stored["sample_fields"], ""), *paths(stored["frame_fields"], "frames.")}


def ours(dataset: fo.Dataset) -> list[str]:
    """Fields that a dataset has beyond FiftyOne's own."""
    usual = ("id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "frame_number")
    framed = dataset.get_frame_field_schema() or ()
    return [n for n in dataset.get_field_schema() if n not in usual] + [f"frames.{n}" for n in framed if n not in usual]


# ------------------------------------------------------------------------------------------------ what is written


def test_fields_are_declared_before_the_first_result(fresh):
    seen = []

    def watch(film: int, number: int) -> None:
        seen.append((declared(fresh), fresh._frame_collection.count_documents({})))

    apply(fresh, scripted(["dog"], watch=watch), label_field="preds")

    paths, stored = seen[0]
    assert stored == 0
    of_detections = {"index", "instance", "confidence", *ATTRIBUTES, *TRACKED_ATTRIBUTES}
    assert {f"frames.preds.detections.{name}" for name in of_detections} <= paths
    of_masklets = {"support", "instance", "confidence", *OF_MASKLETS}
    assert {f"preds_masklets.detections.{name}" for name in of_masklets} <= paths
    for at in ("", "frames."):
        assert {f"{at}sam3_{kind}" for kind in ("presence.dog", "score.dog", "count.dog", "error")} <= paths
    assert sorted(ours(fresh)) == sorted(
        ["preds_masklets", "frames.preds"]
        + [f"{at}sam3_{kind}" for at in ("", "frames.") for kind in ("presence", "score", "count", "error")]
    )
    schema, framed = fresh.get_field_schema(flat=True), fresh.get_frame_field_schema(flat=True)
    assert schema["preds_masklets"].document_type is fo.TemporalDetections
    assert framed["preds"].document_type is fo.Detections
    assert framed["preds.detections.instance"].document_type is fo.Instance
    assert isinstance(framed["preds.detections.index"], fo.IntField)
    config = fresh.get_run_info("sam3").config
    assert (config.frames, config.label_field, set(config.concepts)) == (True, "preds", {"dog"})


@pytest.mark.parametrize("label_field", ["sam3", "frames.preds"])
def test_what_was_found_is_what_is_stored(reel, label_field):
    name = label_field.removeprefix("frames.")
    held = reel.first()

    apply(reel, scripted(), label_field=label_field)

    assert right(reel, *LABELS, field=name)
    for frames in frames_of(reel, name):
        last = max(frames)
        assert chains(frames) == {
            1: ("dog", 0, [n for n in range(1, last + 1) if n != 5]), 2: ("cat", 0, [3, 4, 5, 6]),
        }  # fmt: skip
    masklets = masklets_of(reel.first(), name)
    assert [m["label"] for m in masklets] == ["dog", "cat"]
    mean = sum(films.confidence("dog", 0, n) for n in range(1, 13) if n != 5) / 11
    assert masklets[0] == dict(
        label="dog", index=1, support=[1, 12], confidence=pytest.approx(mean),
        max_confidence=0.512, presence=0.799, birth_score=0.501, frames_seen=11, gaps=1,
    )  # fmt: skip
    assert masklets[1] == dict(
        label="cat", index=2, support=[3, 6], confidence=pytest.approx(0.5045), max_confidence=0.506, presence=0.797,
        birth_score=0.503, frames_seen=4, gaps=0,
    )  # fmt: skip
    for sample in reel.view():
        instances = {d.index: d.instance for frame in sample.frames.values() for d in frame[name].detections}
        assert {m.index: m.instance for m in sample[f"{name}_masklets"].detections} == instances
        # over all frames: the largest, and how many masklets
        whole = media.state(sample, "")
        assert whole["presence"] == {"cat": 0.799, "dog": 0.799, "owl": 0.099}
        assert whole["score"] == dict.fromkeys(sorted(LABELS), 0.899)
        assert whole["count"] == {"cat": 1, "dog": 1, "owl": 0}
        assert whole["error"] is None
    # who holds a sample need not reload it
    assert len(held.frames[3][name].detections) == len(held[f"{name}_masklets"].detections) == 2


def test_nothing_found_is_an_answer(reel):
    apply(reel, scripted(["cat", "owl"]))

    for sample in reel.view():
        for number, frame in sample.frames.items():
            assert (frame.sam3.detections == []) == (number not in range(3, 7))
            assert frame.sam3_presence.owl == films.presence("owl", number)
    assert right(reel, "cat", "owl")


def test_later_runs_join_and_replace_without_a_trace_of_doubles(reel):
    """FiftyOne itself adds to what the first frame of each video holds."""
    apply(reel, scripted(["dog"]))
    first = frames_of(reel)
    apply(reel, scripted(["cat", "owl"]))

    assert right(reel, *LABELS)
    assert [set(chains(frames)) for frames in frames_of(reel)] == [{1, 2}] * 2
    for before, after in zip(first, frames_of(reel), strict=True):
        assert all(kept["masklets"][0] in after[n]["masklets"] for n, kept in before.items() if kept["masklets"])

    apply(reel, scripted(LABELS))

    assert right(reel, *LABELS)
    assert [[m["index"] for m in masklets_of(sample)] for sample in reel.view()] == [[1, 2]] * 2


def test_two_ledgers_know_nothing_of_each_other(reel):
    apply(reel, scripted(["dog"], ledger="one"), label_field="one")
    alone = frames_of(reel, "one", "one"), [masklets_of(sample, "one") for sample in reel.view()]

    apply(reel, scripted(["cat"], ledger="two"), label_field="two")

    assert (frames_of(reel, "one", "one"), [masklets_of(sample, "one") for sample in reel.view()]) == alone
    assert right(reel, "dog", field="one", ledger="one") and right(reel, "cat", field="two", ledger="two")
    assert set(reel.get_run_info("two").config.concepts) == {"cat"} and sorted(reel.list_runs()) == ["one", "two"]


def test_a_clip_is_its_frames(reel):
    shots = [(7, 9), (2, 4)]
    video = reel.first()
    video["shots"] = fo.TemporalDetections(detections=[fo.TemporalDetection(label="s", support=[*s]) for s in shots])
    video.save()
    apply(reel, scripted(["cat"]))
    other, short = frames_of(reel)
    model = scripted(["dog"])

    apply(reel.to_clips("shots"), model)

    assert [numbers for _, numbers in model.followed] == [list(range(a, b + 1)) for a, b in shots]
    frames, unchanged = frames_of(reel)
    assert unchanged == short
    for number, kept in frames.items():
        inside = any(a <= number <= b for a, b in shots)
        assert told(kept) == expected(number, ["cat", "dog"] if inside else ["cat"])
        assert inside or kept == other[number]
    # two clips are tracked each by itself, and never share a number
    assert chains(frames) == {
        1: ("cat", 0, [3, 4, 5, 6]), 2: ("dog", 0, [*range(shots[0][0], shots[0][1] + 1)]),
        3: ("dog", 0, [*range(shots[1][0], shots[1][1] + 1)]),
    }  # fmt: skip
    assert [m["support"] for m in masklets_of(reel.first())] == [[3, 6], *map(list, shots)]
    assert masklets_of(reel.last())[0]["support"] == [3, 6]
    assert reel.values("sam3_count.dog") == [2, None]


# ------------------------------------------------------------------------------------------------ how it is run


@pytest.mark.parametrize(
    ("window", "long", "short"),
    [
        (dict(stride=5, reverse=True), [11, 6, 1], [6, 1]),
        (dict(start=10), [10, 11, 12], None),
    ],
)
def test_which_frames(reel, window, long, short):
    model = scripted(["dog"], **window)

    apply(reel, model, skip_failures=True)

    assert [numbers for _, numbers in model.followed] == [long] if short is None else [long, short]
    assert model.lengths == [len(numbers) for _, numbers in model.followed]
    for frames, numbers in zip(frames_of(reel), (long, short or []), strict=True):
        assert {n: told(kept) for n, kept in frames.items()} == {n: expected(n, ["dog"]) for n in sorted(numbers)}
    reason = reel.last().sam3_error
    assert (reason is None) if short else "frames 10-10 asked, but short.mp4 has 8" in reason
    summary = reel.load_run_results("sam3").summary
    assert (summary["failed"], summary["frames"]) == (short is None, sum(map(len, (long, short or []))))


class Recorder:
    """In place of both trackers: what they were told."""

    def __init__(self, log: list, *told: object) -> None:
        self.log = log
        self.log.append(told)

    def track(self, frames, concepts, *, length, **pointed):
        assert pointed in ({}, dict(prompts=None, before=None, onward=True))
        self.log.append(([(c.label, c.threshold) for c in concepts], length))
        return films.follow(frames, concepts)


@pytest.fixture
def heard(monkeypatch) -> list:
    log: list = []
    monkeypatch.setattr(zoo.video_model, "ConceptTracker", lambda *told: Recorder(log, "tracker", *told))
    monkeypatch.setattr(zoo.video_model, "OverlapTracker", lambda tracker: Recorder(log, "overlap", tracker))
    return log


@pytest.mark.parametrize(
    ("settings", "options", "limit", "asked"),
    [
        ({"confidence_thresh": 0.3}, {}, 0.3, [("dog", None), ("cat", None)]),
        ({"score_threshold_detection": 0.2}, {"confidence_thresh": 0.7}, 0.7, [("dog", None), ("cat", None)]),
        ({"thresholds": {"dog": 0.4, "cat": 0.9}}, {"confidence_thresh": 0.6}, 0.6, [("dog", 0.6), ("cat", 0.9)]),
        ({"thresholds": {"dog": 0.4}}, {"classes": ["dog"]}, 0.5, [("dog", 0.4)]),
        ({"hotstart_delay": 0, "forget_after": None, "tracking": False}, {}, 0.5, [("dog", None), ("cat", None)]),
    ],
)
def test_what_the_tracker_is_told(reel, heard, settings, options, limit, asked):
    model = Sam3VideoModel(films.checkpoint(), ["dog", "cat"], **settings)

    apply(reel.limit(1), model, **options)

    (_, detector, network, told), *overlap, (concepts, length) = heard
    assert (detector, network) == (model.detector, films.checkpoint().tracker)
    assert (told.score_threshold_detection, concepts, length) == (limit, asked, LONG)
    assert [kind for kind, _ in overlap] == ([] if settings.get("tracking", True) else ["overlap"])
    assert (told.hotstart_delay, told.forget_after) == ((0, None) if "hotstart_delay" in settings else (15, 900))
    # and forgotten
    assert (model.config.confidence_thresh, model.config.filter_classes) == (
        settings.get("confidence_thresh", settings.get("score_threshold_detection", 0.5)), None,
    )  # fmt: skip
    entry = reel.get_run_info("sam3").config.concepts["dog"]
    assert entry["confidence_thresh"] == limit
    assert entry["tracker"]["tracking"] == settings.get("tracking", True)


def test_a_model_without_concepts_takes_those_of_the_run(reel):
    model = scripted(None)

    apply(reel.limit(1), model, classes=["cat"])

    assert [labels for labels, _ in model.followed] == [("cat",)]
    assert told(frames_of(reel)[0][4]) == expected(4, ["cat"])


def test_several_runs_within_one(reel):
    """Of one model, on two datasets and on two fields."""
    other, model = reel.clone(), scripted(["dog"])

    with model:
        apply(reel.limit(1), model)
        apply(reel.skip(1), model)
        apply(other, model)
        apply(reel, model, label_field="preds")

    assert right(reel, "dog") and right(other, "dog") and right(reel, "dog", field="preds")
    assert other.load_run_results("sam3").summary["videos"] == 2
    assert reel.load_run_results("sam3").summary["videos"] == 2
    assert len(model.followed) == 6
    other.delete()


@pytest.mark.parametrize("tracking", [True, False])
def test_the_network_itself(tmp_path, new_dataset, tracking):
    """At threshold 0, where even an untrained network finds something."""
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    frames = [np.roll(pixels.repeat(12, 0).repeat(12, 1), 2 * n, 1)[:48, :64] for n in range(6)]
    path = films.encode(tmp_path / "noise.mp4", frames)
    dataset = new_dataset([fo.Sample(filepath=path)])
    limits = dict(new_det_thresh=0.0, hotstart_unmatch_thresh=2, hotstart_dup_thresh=2, hotstart_delay=2)
    model = Sam3VideoModel(
        media.tiny(tracker=True), ["dog", "owl"], confidence_thresh=0.0, max_num_objects=3,
        tracking=tracking, **limits,
    )  # fmt: skip

    apply(dataset, model)

    kept = dict(dataset.view().first().frames.items())
    assert list(kept) == [1, 2, 3, 4, 5, 6]
    masklets = dataset.view().first().sam3_masklets.detections
    assert masklets
    spans: dict[int, list[int]] = {}
    for number, frame in kept.items():
        for label in ("dog", "owl"):
            assert 0 <= frame.sam3_presence[label] <= 1 and 0 < frame.sam3_score[label] <= 1
            assert frame.sam3_count[label] == sum(d.label == label for d in frame.sam3.detections)
        for detection in frame.sam3.detections:
            spans.setdefault(detection.index, []).append(number)
            _, _, across, down = detection.bounding_box
            assert detection.mask.any() and (down * 48, across * 64) == pytest.approx(detection.mask.shape)
            assert 0 <= detection.confidence <= 1 and detection.presence == frame.sam3_presence[detection.label]
        for one, other in itertools.combinations(frame.sam3.detections, 2):
            assert one.label != other.label or not (drawn(one) & drawn(other)).any()
    assert {m.index: (list(m.support), m.frames_seen) for m in masklets} == {
        index: ([min(numbers), max(numbers)], len(numbers)) for index, numbers in spans.items()
    }


def drawn(detection: fo.Detection) -> np.ndarray:
    """A detection's mask in its whole frame."""
    whole = np.zeros(films.SIZE, bool)
    x, y = (round(v * n) for v, n in zip(detection.bounding_box[:2], films.SIZE[::-1], strict=True))
    rows, columns = detection.mask.shape
    whole[y : y + rows, x : x + columns] = detection.mask
    return whole


# ------------------------------------------------------------------------------------------------ what goes wrong

BAD = {"text": "is no video", "empty": "is empty", "gone": "does not exist", "cut": "cut short or damaged"}


def test_a_bad_video_costs_itself_alone(reel, reels):
    """Also those that FiftyOne cannot open, so that the model never hears of them."""
    dataset = reel.clone()
    names = ["text", "long", "empty", "cut", "gone", "short"]
    dataset.delete_samples(dataset.values("id"))
    dataset.add_samples([fo.Sample(filepath=reels[name]) for name in names])

    apply(dataset, scripted(), skip_failures=True)

    for name, frames, sample in zip(names, frames_of(dataset), dataset.view(), strict=True):
        reason = BAD.get(name)
        assert sample.sam3_error is None if reason is None else reason in sample.sam3_error
        good = dict(long=LONG, short=SHORT, cut=len(frames)).get(name, 0)
        assert {n: told(kept) for n, kept in frames.items()} == {n: expected(n, LABELS) for n in range(1, good + 1)}
        assert (masklets_of(sample) is None) == (good == 0)
        if name == "cut":  # what could be decoded is kept
            assert 10 < good < 60 and f"up to frame {good} " in sample.sam3_error
            assert masklets_of(sample)[0]["support"] == [1, good]
    summary = dataset.load_run_results("sam3").summary
    assert (summary["videos"], summary["failed"]) == (2, 4)
    dataset.delete()


@pytest.mark.parametrize(("bad", "kind"), [("text", Exception), ("cut", SampleError)])
def test_a_run_that_may_not_fail_stops_at_the_first_bad_video(reel, reels, bad, kind):
    dataset = reel.clone()
    dataset.set_values("filepath", [str(reels["long"]), str(reels[bad])])
    dataset.add_sample(fo.Sample(filepath=reels["short"]))

    with pytest.raises(kind, match=reels[bad].name):
        apply(dataset, scripted(["dog"]))

    good, _, unreached = frames_of(dataset)
    assert {n: told(kept) for n, kept in good.items()} == {n: expected(n, ["dog"]) for n in range(1, LONG + 1)}
    assert unreached == {}
    dataset.delete()


def test_whatever_happens_to_a_video_is_told(reel):
    def watch(film: int, number: int) -> None:
        if (film, number) == (1, 4):
            raise MemoryError("too many dogs")

    apply(reel, scripted(["dog"], watch=watch), skip_failures=True)

    assert reel.values("sam3_error") == ["MemoryError: too many dogs", None]
    assert [len(frames) for frames in frames_of(reel)] == [3, SHORT]
    apply(reel, scripted(["dog"], skip_existing=True))
    assert reel.values("sam3_error") == [None, None] and right(reel, "dog")


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("skip_failures", [True, False])
@pytest.mark.parametrize("label_field", [None, {"sam3": "preds"}])
def test_without_a_field_s_name_nothing_is_done(fresh, label_field, skip_failures):
    model = scripted()

    with pytest.raises(ConceptError, match='label_field is no field\'s name: say label_field="sam3"'):
        apply(fresh, model, label_field=label_field, skip_failures=skip_failures)

    assert model.followed == [] and ours(fresh) == [] and not fresh.list_runs()
    assert frames_of(fresh, "none", "none") == [{}, {}]


@pytest.mark.parametrize(
    ("classes", "options", "reason"),
    [
        (["dog"], {"batch": 8}, "Unknown argument 'batch': give it to load_zoo_model"),
        (["dog"], {"prompt": "ask"}, "Unknown argument 'prompt'"),
        (["dog"], {"prompt_field": "filepath"}, "write 'frames.filepath' instead of 'filepath'"),
        (None, {}, "No concepts to look for: load the model with classes="),
        (["dog"], {"classes": []}, "No concepts to look for"),
        (["dog"], {"classes": ["cat"]}, "classes='cat' is not among this model's concepts"),
        (["dog"], {"confidence_thresh": 1.5}, "between 0 and 1, got 1.5"),
    ],
)
def test_a_run_that_cannot_be_right_does_not_begin(reel, classes, options, reason):
    model = scripted(classes)

    with pytest.raises(ConceptError, match=reason):
        apply(reel, model, skip_failures=True, **options)

    assert model.followed == [] and not reel.list_runs()


@pytest.mark.parametrize(
    ("field", "reason", "skip_failures"),
    [
        ("frames.kind", "'kind' already holds Classification, not Detections", True),
        ("frames.truth", "'truth' already holds Detections that this model did not make", False),
        ("shots_masklets", "'shots_masklets' already holds TemporalDetections that this model did not make", True),
        ("number_masklets", "'number_masklets' already holds .*FloatField", False),
        ("sam3_presence", "'sam3_presence' already holds .*FloatField", True),
        ("frames.sam3_count", "'frames.sam3_count' already holds .*StringField", False),
    ],
)
def test_what_others_made_is_not_touched(fresh, field, reason, skip_failures):
    made = dict(
        kind=fo.Classification(label="x"), truth=fo.Detections(detections=[fo.Detection(label="dog")]), sam3_count="x",
        shots_masklets=fo.TemporalDetections(detections=[fo.TemporalDetection(label="dog", support=[1, 2])]),
        number_masklets=1.0, sam3_presence=1.0,
    )  # fmt: skip
    bare = field.removeprefix("frames.")
    video = fresh.first()
    (video.frames[1] if bare != field else video)[bare] = made[bare]
    video.save()
    before, model = ours(fresh), scripted(["dog"])

    with pytest.raises(ConceptError, match=reason):
        target = "sam3" if bare.startswith("sam3") else bare.removesuffix("_masklets")
        apply(fresh, model, label_field=target, skip_failures=skip_failures)

    assert model.followed == [] and ours(fresh) == before and not fresh.list_runs()
    assert fresh.count(field) == 1 and len(fresh.first().frames) == (bare != field)


def test_images_are_not_for_this_model(tmp_path, new_dataset):
    dataset = new_dataset([fo.Sample(filepath=path) for path in films.stills(tmp_path, 2)])

    with pytest.raises(ValueError, match="Video models can only be applied to video"):
        apply(dataset, scripted())

    assert ours(dataset) == []


@pytest.mark.parametrize(
    ("classes", "settings", "reason"),
    [
        ([], {}, "No concepts"),
        (["dog", "Dog"], {}, "given twice"),
        (["word " * 40], {}, "tokens"),
        (["dog"], {"thresholds": {"cat": 0.5}}, "'cat', which is not among the concepts"),
        (["dog"], {"confidence_thresh": 2}, "between 0 and 1, got 2"),
        (["dog"], {"ledger": "a.b"}, "ledger's name must be a plain word"),
        (["dog"], {"tracking": "no"}, "tracking must be True or False, got 'no'"),
        (["dog"], {"start": 0}, "start must be a whole number of at least 1, got 0"),
        (["dog"], {"max_frames": 2.5}, "max_frames must be a whole number of at least 1, got 2.5"),
        (["dog"], {"stride": -1}, "stride must be .* got -1"),
        (["dog"], {"reverse": 1}, "reverse must be True or False, got 1"),
        (["dog"], {"new_det_thresh": 1.2}, "new_det_thresh must be .* got 1.2"),
        (["dog"], {"hotstart_delay": -1}, "hotstart_delay must be .* got -1"),
        (["dog"], {"hotstart_delay": 3}, "hotstart_unmatch_thresh=8 can never be reached"),
        (["dog"], {"forget_after": 0}, "forget_after must be .* got 0"),
        (["dog"], {"detect_every": 0}, "detect_every must be .* got 0"),
        (["dog"], {"detect_every": 2, "tracking": False}, "cannot do with detect_every=2: leave out one"),
        (["dog"], {"speed": 2}, "Unknown tracker setting 'speed': there are .*hotstart_delay"),
    ],
)
def test_a_model_that_cannot_be_right_is_not_built(classes, settings, reason):
    with pytest.raises(ConceptError, match=reason):
        Sam3VideoModel(films.checkpoint(), classes, **settings)


def test_a_checkpoint_without_its_tracker():
    with pytest.raises(ConceptError, match="loaded without its tracker: load_checkpoint"):
        Sam3VideoModel(dataclasses.replace(media.tiny(), tracker=None), ["dog"])


# ------------------------------------------------------------------------------------------------ without a dataset


@pytest.mark.parametrize("numbers", [range(1, SHORT + 1), range(3, 6)])
def test_a_video_may_be_asked_without_a_sample(reels, numbers):
    chosen = etaf.FrameRange(numbers[0], numbers[-1])
    model = scripted(["dog", "cat"])

    with etav.FFmpegVideoReader(str(reels["short"]), frames=chosen) as reader:
        found = model.predict(reader)

    assert list(found) == list(numbers) and model.lengths == [len(numbers)]
    for number, detections in found.items():
        assert isinstance(detections, fo.Detections)
        labels = [d.label for d in detections.detections]
        assert labels == [label for label in ("dog", "cat") for _ in films.seen(label, number)]
    dogs = [d for detections in found.values() for d in detections.detections if d.label == "dog"]
    assert len({d.instance.id for d in dogs}) == 1 and {d.index for d in dogs} == {1}


def test_samples_are_written_within_a_run_only(reel):
    with pytest.raises(RuntimeError, match="apply_model"):
        scripted().predict(None, reel.view().first())
