"""The image model on videos: every frame is a query of its own, and keeps a ledger of its own."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import fiftyone as fo
import pytest
from fiftyone import ViewField as F
from support import media
from support.media import COLOURS, counts, frame_states, labels_of, scripted, told

from zoo.engine.errors import ConceptError
from zoo.labels import ATTRIBUTES
from zoo.ledger import Ledger, pending, presence_path

FILM = ["red", "green", "blue", "yellow", "white", "black"]
FRAMES = Ledger(frames=True)

apply = partial(fo.Dataset.apply_model, label_field="sam3", skip_failures=False, progress=False)

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FiftyOne reads videos with ffmpeg")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("films")
    return [media.video(folder / "long.mp4", FILM), media.video(folder / "short.mp4", FILM[::-3], size=(64, 48))]


@pytest.fixture
def films(files, new_dataset) -> fo.Dataset:
    return new_dataset([fo.Sample(filepath=path) for path in files])


def expected(colour: str, *labels: str) -> tuple[dict, dict]:
    return {label: told(colour, label)[0] for label in labels}, counts(colour, *labels)


@pytest.mark.parametrize(("batch_size", "label_field"), [(None, "sam3"), (1, "preds"), (4, "frames.preds")])
def test_every_frame_is_asked_afresh_and_runs_merge(films, batch_size, label_field):
    name = label_field.removeprefix("frames.")
    go = partial(apply, films, label_field=label_field, batch_size=batch_size)
    more_dogs = {(colour, "dog"): (0.99, (0.9, 0.8, 0.7, 0.6)) for colour in COLOURS}

    go(scripted(["dog", "cat"]))
    first = frame_states(films, name)
    go(scripted(["owl"]))
    second = frame_states(films, name)
    go(scripted(["dog"], more_dogs))
    third = frame_states(films, name)

    for colours, one, two, three in zip((FILM, FILM[::-3]), first, second, third, strict=True):
        assert list(one) == list(two) == list(three) == list(range(1, len(colours) + 1))
        for colour, a, b, c in zip(colours, one.values(), two.values(), three.values(), strict=True):
            assert (a["presence"], a["count"]) == expected(colour, "cat", "dog")
            assert labels_of(a) == ["dog"] * a["count"]["dog"] + ["cat"] * a["count"]["cat"]
            assert (b["presence"], b["count"]) == expected(colour, "cat", "dog", "owl")
            assert b["instances"][: len(a["instances"])] == a["instances"]
            assert labels_of(b)[len(a["instances"]) :] == ["owl"] * b["count"]["owl"]
            assert c["count"] == {**b["count"], "dog": 4}
            assert sorted(labels_of(c)) == sorted([*(x for x in labels_of(b) if x != "dog"), *["dog"] * 4])
            assert all(i["presence"] == c["presence"][i["label"]] for i in c["instances"])
            assert a["error"] is b["error"] is c["error"] is None


def test_fields_are_declared_on_frames_and_nowhere_else(films):
    seen = []

    def watch() -> None:
        seen.append(set(films.get_frame_field_schema(flat=True) or ()))

    apply(films, scripted(["dog"], watch=watch), label_field="preds", batch_size=2)

    first, second, *_ = seen
    assert {"sam3_presence.dog", "sam3_score.dog", "sam3_count.dog", "sam3_error"} <= first
    assert {f"preds.detections.{name}" for name in ATTRIBUTES} <= second
    schema = films.get_frame_field_schema(flat=True)
    assert schema["preds"].document_type is fo.Detections
    assert isinstance(schema["sam3_presence.dog"], fo.FloatField)
    assert isinstance(schema["sam3_count.dog"], fo.IntField)
    assert not any(name.startswith(("sam3", "preds")) for name in films.get_field_schema())
    config = films.get_run_info("sam3").config
    assert (config.frames, config.label_field) == (True, "preds")


def test_boxes_and_masks_of_frames_name_the_same_pixels(films):
    apply(films, scripted(), batch_size=4)

    for film, (height, width) in zip(films, ((48, 64), (64, 48)), strict=True):
        for frame in film.frames.values():
            for detection in frame.sam3.detections:
                _, _, across, down = detection.bounding_box
                assert (down * height, across * width) == pytest.approx(detection.mask.shape)


def test_a_frame_is_pending_until_it_has_been_asked(films):
    assert len(pending(films, ["dog"], FRAMES)) == 2

    apply(films.limit(1), scripted(["dog", "cat"], {("red", "dog"): (0.9, ())}))

    assert pending(films, ["dog", "cat"], FRAMES).values("id") == films.skip(1).values("id")
    assert len(pending(films, ["dog", "owl"], FRAMES)) == 2
    film = films.first()
    del film.frames[3]
    film.save()
    assert len(pending(films, ["dog"], FRAMES)) == 2


def test_resuming_asks_frames_only_what_they_have_not_been_asked(films):
    apply(films, scripted(["dog", "cat"]))
    film = films.first()
    del film.frames[3]
    film.save()
    before = frame_states(films)
    model = scripted(["dog", "cat", "owl"], skip_existing=True)

    apply(films, model, batch_size=4)

    rest = [colour for number, colour in enumerate(FILM, 1) if number != 3] + FILM[::-3]
    assert sorted(model.detector.asked) == sorted([("blue", ("dog", "cat", "owl")), *((c, ("owl",)) for c in rest)])
    after = frame_states(films)
    assert after[0][3]["presence"] == expected("blue", "cat", "dog", "owl")[0]
    for old, new in zip(before, after, strict=True):
        for number, kept in old.items():
            assert new[number]["instances"][: len(kept["instances"])] == kept["instances"]
            assert {**new[number]["presence"], **kept["presence"]} == new[number]["presence"]


@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_clip_is_its_frames(films, batch_size):
    film = films.first()
    film["shots"] = fo.TemporalDetections(
        detections=[fo.TemporalDetection(label="b", support=[5, 6]), fo.TemporalDetection(label="a", support=[2, 3])]
    )
    film.save()
    apply(films, scripted(["cat"]))
    before = frame_states(films)

    apply(films.to_clips("shots"), scripted(["dog"]), batch_size=batch_size)

    after = frame_states(films)
    assert after[1] == before[1]
    for number, colour in enumerate(FILM, 1):
        labels = ("cat", "dog") if number in (2, 3, 5, 6) else ("cat",)
        assert (after[0][number]["presence"], after[0][number]["count"]) == expected(colour, *labels)
        assert len(labels_of(after[0][number])) == sum(after[0][number]["count"].values())
    assert set(films.get_run_info("sam3").config.concepts) == {"cat", "dog"}


@pytest.mark.parametrize("batch_size", [None, 4])
def test_phrases_of_each_frame(films, batch_size):
    film = films.first()
    for number, phrase in {1: "owl", 2: "word " * 40, 3: " ", 4: "bat"}.items():
        film.frames[number]["ask"] = phrase
    film.save()

    apply(films, scripted(["dog"]), prompt_field="frames.ask", batch_size=batch_size)

    long, short = frame_states(films)
    assert [set(kept["presence"] or ()) for kept in long.values()] == [
        {"dog", "owl"}, set(), {"dog"}, {"bat", "dog"}, {"dog"}, {"dog"},
    ]  # fmt: skip
    assert "tokens" in long[2]["error"]
    assert long[2]["instances"] is None
    assert [kept["error"] for number, kept in long.items() if number != 2] == [None] * 5
    assert all(labels_of(kept) == ["dog"] * kept["count"]["dog"] for kept in short.values())


@pytest.mark.parametrize("skip_failures", [True, False])
def test_a_frame_field_that_holds_something_else(films, skip_failures):
    film = films.first()
    film.frames[1]["kind"] = fo.Classification(label="x")
    film.save()

    with pytest.raises(ConceptError, match="'kind' already holds Classification"):
        apply(films, scripted(), label_field="kind", skip_failures=skip_failures)

    assert not {name for name in films.get_frame_field_schema() if name.startswith("sam3")} and not films.list_runs()
    assert films.distinct("frames.kind.label") == ["x"]


def test_presence_of_frames_can_be_matched(films):
    absent = {(colour, "dog"): (0.1, ()) for colour in COLOURS}
    apply(films, scripted(["dog"], absent | {("blue", "dog"): (0.9, (0.9,))}))

    path = presence_path("dog", frames=True).removeprefix("frames.")
    present = films.match_frames(F(path) > 0.5)

    assert present.values("frames.frame_number") == [[3], [2]]
