"""The operator that tracks, without a browser: its form, its run, its errors."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionContext, ExecutionError, Executor
from support import films
from support.films import chains, expected, frames_of, images_of, masklets_of, told

from zoo.provenance import run_info

URI = "@concepts/sam3/track_concepts"
LENGTH = 8


@pytest.fixture(scope="module")
def reels(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("reels")
    return [films.film(folder / "long.mp4", LENGTH), films.film(folder / "short.mp4", 3)]


@pytest.fixture(scope="module")
def prepared(reels) -> Iterator[fo.Dataset]:
    dataset = films.prepared(reels, ["dog", "cat"])
    yield dataset
    dataset.delete()


@pytest.fixture
def reel(prepared) -> Iterator[fo.Dataset]:
    yield films.emptied(prepared)
    prepared.delete_samples(prepared.skip(2))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Iterator[fo.Dataset]:
    folder = tmp_path_factory.mktemp("stills")
    dataset = films.prepared([*films.stills(folder / "a", 4), *films.stills(folder / "b", 2, first=5)], ["dog", "cat"])
    dataset.set_values("scene", ["a"] * 4 + ["b"] * 2)
    dataset.set_values("number", [1, 2, 3, 4, 5, 6])
    yield dataset
    dataset.delete()


@pytest.fixture
def stills(drawn) -> fo.Dataset:
    return films.emptied(drawn)


@pytest.fixture(autouse=True)
def followed(monkeypatch) -> list:
    """The plugin's own model, but for the network: which labels it was asked, in which frames, and the model."""
    foo.get_operator(URI)
    end = ".operators.track_concepts"
    plugin = next(n for n in sys.modules if n.startswith("fiftyone.plugins.") and n.endswith(end)).removesuffix(end)
    model = importlib.import_module(f"{plugin}.zoo.video_model").Sam3VideoModel
    log: list = []

    def follow(self, frames, concepts, length):
        log.append(([c.label for c in concepts], list(frames.numbers), self))
        return films.follow(frames, concepts)

    monkeypatch.setattr(model, "follow", follow)
    return log


def context(target, **params) -> ExecutionContext:
    """As the App makes it."""
    request = dict(dataset_name=target._root_dataset.name, params=params)
    if isinstance(target, fo.DatasetView):
        request["view"] = target._serialize()
    return ExecutionContext(request_params=request, operator_uri=URI, executor=Executor())


def form(target, **params) -> dict:
    """The properties of the operator's form."""
    return foo.get_operator(URI).resolve_input(context(target, **params)).type.properties


def last_words(target, **params) -> dict:
    """What the App is told before a run fails."""
    ctx = context(target, **params)
    with pytest.raises(Exception):  # noqa: B017 - which, is not for the App
        list(foo.get_operator(URI).execute(ctx))
    return ctx.executor._requests[-1].params


def messages(result) -> list[dict]:
    return [request.params for request in result.executor._requests]


def right(dataset: fo.Dataset, *labels: str) -> bool:
    return [{n: told(kept) for n, kept in frames.items()} for frames in frames_of(dataset)] == [
        {n: expected(n, labels) for n in range(1, count + 1)} for count in (LENGTH, 3)
    ]


# ------------------------------------------------------------------------------------------------ the form


def test_form_is_complete_and_its_defaults_run(reel, followed):
    reel.default_classes = ["dog", "cat"]
    reel.save()
    fields = form(reel)
    assert {
        "classes", "checkpoint", "label_field", "confidence_thresh", "own_thresholds", "tracking", "some_frames",
        "skip_existing",
    } <= set(fields)  # fmt: skip
    assert "start" not in fields and not any(name.startswith("problem") for name in fields)
    assert not any(p.invalid for p in fields.values())
    defaults = {name: p.default for name, p in fields.items() if p.default is not None}

    result = foo.execute_operator(URI, dict(dataset=reel), params=defaults)

    assert result.error is None
    assert right(reel, "dog", "cat") and len(followed) == 2


def test_form_asks_which_frames(reel, followed):
    params = dict(classes=["dog"], start=2, max_frames=4, stride=2, reverse=True)
    fields = form(reel, some_frames=True, **params)
    assert {"start", "max_frames", "stride", "reverse"} <= set(fields)

    foo.execute_operator(URI, dict(view=reel.limit(1)), params=dict(params, some_frames=True))
    assert [numbers for _, numbers, _ in followed] == [[8, 6, 4, 2]]
    followed.clear()
    # what was filled in, and then folded away
    foo.execute_operator(URI, dict(dataset=reel), params=dict(params, some_frames=False))
    assert [numbers for _, numbers, _ in followed] == [list(range(1, LENGTH + 1)), [1, 2, 3]]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (dict(classes=["dog", "Dog"]), "given twice"),
        (dict(classes=["dog"], label_field="shots"), "'shots_masklets' already holds TemporalDetections"),
        (dict(classes=["dog"], label_field="kind"), "already holds Classification"),
        (dict(classes=["dog"], label_field="other"), "'other_presence' already holds"),
        (dict(classes=["dog"], label_field="two words"), "plain word"),
    ],
)
def test_form_says_what_is_wrong_before_the_run(reel, followed, params, said):
    video = reel.first()
    shot = fo.TemporalDetection(label="x", support=[1, 2])
    video["shots_masklets"] = fo.TemporalDetections(detections=[shot])
    video["other_presence"] = 1.0
    video.frames[1]["kind"] = fo.Classification(label="x")
    video.save()

    fields = form(reel, **params)

    wrong, right = ("label_field", "classes") if "label_field" in params else ("classes", "label_field")
    assert fields[wrong].invalid and said in fields[wrong].error_message
    assert not fields[right].invalid
    with pytest.raises(ExecutionError, match=re.escape(said)):
        foo.execute_operator(URI, dict(dataset=reel), params=params)
    assert followed == [] and not reel.list_runs()


def test_form_says_what_is_no_video(stills, followed):
    for target, said in (
        (stills, "concept tracking needs videos: for a video stored as images, group them"),
        (stills.group_by("scene"), "The groups have no order"),
    ):
        problem = form(target, classes=["dog"])["problem_footage"]
        assert problem.invalid and said in problem.view.label
        with pytest.raises(ExecutionError, match=said):
            foo.get_operator(URI)(target, classes=["dog"])
    assert "problem_footage" not in form(stills.group_by("scene", order_by="number"), classes=["dog"])
    assert followed == [] and not stills.list_runs()


# ------------------------------------------------------------------------------------------------ the run


def test_run_from_python_reports_progress_and_reloads(reel, followed):
    result = foo.get_operator(URI)(reel, classes={"pet": ["dog", "cat"], "dog": "dog"}, tracking=False, stride=2)

    said = messages(result)
    shares = [m["progress"] for m in said if "progress" in m]
    assert shares == sorted(shares) and (shares[0], shares[-1]) == (0, 1)
    assert "video 2 of 2, frame 2 of 2, 2 masklets" in [m.get("label") for m in said]
    assert any({"frames.sam3", "sam3_masklets"} <= set(m.get("fields", [])) for m in said)
    assert (said[-1]["message"], said[-1]["variant"]) == ("2 masklets in 2 videos", "success")
    assert [labels for labels, _, _ in followed] == [["pet", "dog"]] * 2
    assert "sam3_presence" in [g.name for g in reel.app_config.sidebar_groups]
    entry = run_info(reel)["concepts"]["pet"]
    assert list(entry["phrases"]) == ["dog", "cat"] and entry["tracker"]["tracking"] is False


def test_settings_reach_the_model(reel, followed):
    run = foo.get_operator(URI)
    settings = dict(score_threshold_detection=0.3, new_det_thresh=0.4, forget_after=None)

    run(reel.limit(1), classes=["dog"], **settings)
    run(reel.limit(1), classes=["cat"], confidence_thresh=0.6, thresholds={"cat": 0.2}, ledger="mine")

    (_, _, one), (_, _, other) = followed
    assert one.config.confidence_thresh == 0.3
    assert (one.settings.new_det_thresh, one.settings.forget_after) == (0.4, None)
    assert (other.config.confidence_thresh, other.concepts[0].threshold) == (0.6, 0.2)
    assert sorted(reel.list_runs()) == ["mine", "sam3"] and run_info(reel, "mine")["label_field"] == "sam3"


def test_resume_asks_the_rest(reel, followed):
    run = foo.get_operator(URI)
    run(reel.limit(1), classes="dog")
    assert messages(run(reel, classes="dog"))[-1]["message"] == "1 masklets in 1 videos"
    assert messages(run(reel, classes="dog"))[-1]["message"] == "All 2 videos had been tracked before"
    assert len(followed) == 2
    assert messages(run(reel, classes="dog", skip_existing=False))[-1]["message"] == "2 masklets in 2 videos"
    assert len(followed) == 4 and right(reel, "dog")


def test_clips_and_selected_videos_are_targets(reel, followed):
    video = reel.first()
    video["shots"] = fo.TemporalDetections(detections=[fo.TemporalDetection(label="s", support=[3, 5])])
    video.save()

    foo.get_operator(URI)(reel.to_clips("shots"), classes=["dog"])
    chosen = dict(dataset=reel, selected=[reel.last().id], view_target="SELECTED_SAMPLES")
    foo.execute_operator(URI, chosen, params=dict(classes=["cat"], view_target="SELECTED_SAMPLES"))

    assert [(labels, numbers) for labels, numbers, _ in followed] == [(["dog"], [3, 4, 5]), (["cat"], [1, 2, 3])]
    first, last = frames_of(reel)
    assert {n: told(kept) for n, kept in first.items()} == {n: expected(n, ["dog"]) for n in (3, 4, 5)}
    assert chains(last) == {1: ("cat", 0, [3])}


@pytest.mark.parametrize("delegate", [False, True])
def test_a_grouped_view_is_sequences(stills, followed, delegate):
    result = foo.get_operator(URI)(stills.group_by("scene", order_by="number"), classes=["dog"], delegate=delegate)
    if delegate:
        DelegatedOperationService().execute_queued_operations()
        stills.reload()
    else:
        said = messages(result)
        assert any({"sam3", "sam3_masklets"} <= set(m.get("fields", [])) for m in said)
        assert said[-1]["message"] == "2 masklets in 2 sequences"

    assert [numbers for _, numbers, _ in followed] == [[1, 2, 3, 4], [1, 2]]
    assert [told(kept) for kept in images_of(stills)] == [expected(n, ["dog"]) for n in range(1, 7)]
    assert [m["support"] for m in masklets_of(stills.first())] == [[1, 4]]


@pytest.mark.parametrize("target", [{}, dict(view_target="SELECTED_SAMPLES")])
def test_of_a_grouped_view_the_selected_sequences_are_tracked(stills, followed, target):
    groups = stills.group_by("scene", order_by="number")
    chosen = groups.match(fo.ViewField("scene") == "b").values("id")
    params = dict(classes=["dog"], checkpoint="tiny", **target)
    foo.execute_operator(URI, dict(view=groups, selected=chosen), params=params)
    assert [bool(asked) for asked in stills.values("sam3_presence.dog")] == [False] * 4 + [True] * 2


def test_delegated(reel, followed):
    foo.get_operator(URI)(reel, classes=["dog"], delegate=True)
    assert followed == []

    DelegatedOperationService().execute_queued_operations()

    reel.reload()
    assert right(reel, "dog")
    queued = DelegatedOperationService().list_operations(dataset_name=reel.name)[-1]
    assert queued.run_state == "completed" and queued.status.progress == 1
    assert queued.status.label == "video 2 of 2, frame 3 of 3, 2 masklets"


# ------------------------------------------------------------------------------------------------ errors


def test_a_broken_video_is_reported_and_costs_itself(reel, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    reel.add_sample(fo.Sample(filepath=broken))

    said = messages(foo.get_operator(URI)(reel, classes=["dog"]))[-1]

    assert said["variant"] == "warning"
    assert said["message"] == "2 masklets in 2 videos; 1 failed, see sam3_error"
    assert "broken.mp4 is no video" in reel.last().sam3_error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(device="tpu"), "device 'tpu'"),
        (dict(checkpoint="/no/such/folder"), "no checkpoint folder"),
        (dict(classes=["word " * 40]), "tokens"),
        (dict(hotstart_delay=-1), "hotstart_delay must be"),
        (dict(speed=2), "Unknown argument 'speed'"),
        (dict(stride=0), "stride"),
    ],
)
def test_what_fails_in_the_run_is_said(reel, followed, arguments, said):
    with pytest.raises(ExecutionError, match=said):
        foo.get_operator(URI)(reel, **{"classes": ["dog"], **arguments})

    assert followed == [] and not reel.list_runs()


def test_the_app_is_told_why_a_run_fails(reel, followed):
    """It closes the form without a word."""
    said = last_words(reel, classes=["dog"], checkpoint="other", other_checkpoint="/no/such/folder")

    assert said["variant"] == "error" and "no checkpoint folder" in said["message"]


def test_resume_with_other_settings_says_so(reel, followed):
    run = foo.get_operator(URI)
    run(reel.limit(1), classes=["dog"])

    with pytest.raises(ExecutionError, match=r"settings \{'new_det_thresh': 0.7\}, now it is .* untick Resume"):
        run(reel, classes=["dog"], new_det_thresh=0.1)

    assert len(followed) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(classes=[]), "No concepts"),
        (dict(classes=["dog", " "]), "at least one word"),
        (dict(classes=["dog"], thresholds={"cat": 0.5}), "not among the concepts"),
    ],
)
def test_a_call_that_cannot_be_right(reel, arguments, said):
    with pytest.raises(ValueError, match=said):
        foo.get_operator(URI)(reel, **arguments)
