"""The benchmarks run, measure what they say, and write it down."""

from __future__ import annotations

import json

import fiftyone as fo
import pytest
import torch

from benchmarks import curation, evaluation, video, vocabulary, wordings, writing
from benchmarks import image as benchmark
from benchmarks import subset as subset_benchmark
from emoji_world.scenes import sample_scene


def test_image_benchmark_in_small(tmp_path, capsys):
    threads = torch.get_num_threads()
    small = "--concepts 1 5 --scenes 1 --repeats 1 --threshold 0.2 --size 640 480 --instances 6 --json"
    benchmark.main([*small.split(), str(tmp_path / "numbers.json")])
    assert torch.get_num_threads() == threads

    report = json.loads((tmp_path / "numbers.json").read_text())
    assert report["machine"]["torch"] == torch.__version__ and report["machine"]["threads_used"] == 1
    concepts = report["concepts"]
    assert concepts["same_instances"]
    one, five = concepts["rows"]
    assert (one["concepts"], five["concepts"]) == (1, 5)
    assert concepts["ratio_5_to_1"] == pytest.approx(five["engine_ms"] / one["engine_ms"])
    assert five["stock_ms"] > five["engine_ms"] > 0
    assert report["forward"]["concepts"] == 8 and report["forward"]["ms"] > 0
    large = report["postprocess"]
    assert 0.02 < large["mean_box_share"] < 0.06
    # six full-size masks, as floats and as integers, against six crops
    assert large["stock"]["mb_above_input"] > 6 * 640 * 480 * 8 / 1e6 > large["ours"]["mb_above_input"]
    assert 0 < large["ours"]["seconds"] < large["stock"]["seconds"]

    printed = capsys.readouterr().out
    assert f"{five['engine_ms']:.1f}" in printed and f"{large['stock']['mb_above_input']:.0f}" in printed
    assert "the same instances in every column" in printed and "engine, 5 concepts / 1:" in printed


def test_vocabulary_benchmark_in_small(tmp_path, capsys):
    small = "--concepts 5 40 --threads 1 --repeats 1 --json"
    vocabulary.main([*small.split(), str(tmp_path / "numbers.json")])

    report = json.loads((tmp_path / "numbers.json").read_text())
    few, many = report["rows"]
    assert (few["concepts"], many["concepts"]) == (5, 40) and report["machine"]["threads_used"] == 1
    assert many["cpu_seconds"] > few["cpu_seconds"] > 0 and many["found"] >= few["found"] > 0
    assert few["mb_above"] >= 0 and many["words_seconds"] > 0
    assert "40 concepts on one image" in capsys.readouterr().out


def test_writing_benchmark_in_small(tmp_path, capsys):
    datasets = fo.list_datasets()
    small = "--samples 4 --instances 5 --writers 0 1 --batch-size 2 --repeats 1 --json"
    writing.main([*small.split(), str(tmp_path / "numbers.json")])

    report = json.loads((tmp_path / "numbers.json").read_text())
    rows = {row["way"]: row for row in report["rows"]}
    assert list(rows) == ["FiftyOne", "a thread", "1 process"]
    assert rows["FiftyOne"]["ratio"] == rows["FiftyOne"]["core_ratio"] == 1
    for row in rows.values():
        assert row["highest"] >= row["second"] >= row["lowest"] > 0 and row["core"] > 0
    assert rows["1 process"]["start"] > 0
    printed = capsys.readouterr().out
    assert "a core writes" in printed and f"{rows['a thread']['second']:.1f}" in printed
    assert fo.list_datasets() == datasets


def test_the_masks_that_are_written_are_as_large_as_they_say():
    masks = [instance.mask for result in writing._results(0, 100) for instance in result.instances]
    assert len(masks) == 100 and all(mask.any() for mask in masks)
    assert 24 <= min(min(mask.shape) for mask in masks) and max(max(mask.shape) for mask in masks) <= 220
    assert 0.5 < sum(mask.mean() for mask in masks) / 100 < 0.9


def test_a_missed_target_is_said():
    assert benchmark.verdict(4.0, 5.0, "x") == "  (within 5x)"
    assert benchmark.verdict(5.01, 5.0, "x") == "  (MISSES 5x)"
    assert benchmark.verdict(5.0, None, "x") == ""
    assert benchmark.verdict(2.0, 2.0, "x", at_least=True) == "  (reaches 2x)"
    assert benchmark.verdict(1.9, 2.0, "x", at_least=True) == "  (MISSES 2x)"


@pytest.mark.parametrize("count", [1, 4, 16, 32])
def test_the_mix_is_mostly_absent(count):
    for seed in range(5):
        scene = sample_scene(seed)
        phrases = benchmark.natural_mix(scene, count, seed)
        assert len(phrases) == len(set(phrases)) == count
        assert 1 <= sum(bool(scene.instances(p)) for p in phrases) <= max(1, count // 8)
        assert scene.instances(phrases[0])  # so that a single concept is one that costs masks
        assert phrases == benchmark.natural_mix(scene, count, seed)


def test_the_peak_counts_what_is_freed_again():
    before, exact = benchmark.reset_peak()
    if not exact:
        pytest.skip("this system cannot reset the peak")
    block = torch.ones(25_000_000)
    del block
    assert 95e6 < benchmark.peak() - before < 200e6


def test_without_memory_the_stock_way_is_not_run(monkeypatch):
    monkeypatch.setattr(benchmark, "available_memory", lambda: 1e6)
    compared = benchmark.compare_postprocess((400, 300), 3, 1)
    assert compared["stock"] is None and compared["ours"]["seconds"] > 0


def test_video_benchmark_in_small(tmp_path, capsys):
    threads = torch.get_num_threads()
    small = "--frames 12 --clip 6 --repeats 1 --grid 5 --objects 2 --json"
    video.main([*small.split(), str(tmp_path / "numbers.json")])
    assert torch.get_num_threads() == threads

    report = json.loads((tmp_path / "numbers.json").read_text())
    assert report["machine"]["threads_used"] == 1
    memory = report["memory"]
    (last,) = memory["marks"]
    assert (last["frame"], memory["since"], memory["to"], memory["growth"]) == (12, 12, 12, 1.0)
    assert last["rss_mb"] > 100 and last["objects"] == memory["stock"]["objects"] == 3
    # one conditioning frame, six others, and the pointers of all twelve
    side, width = 196 // 14, 128
    assert memory["state_bytes_per_object"] == 7 * side**2 * 64 * 2 + 12 * width * 4
    # of every frame the memory, the mask at the size of the input and at its own, a pointer and a score
    each = side**2 * 64 * 2 + 196**2 * 4 + (4 * side) ** 2 * 4 + width * 4 + 4
    assert memory["stock"]["bytes_per_object_and_frame"] == pytest.approx(each, rel=1e-3)
    assert memory["stock"]["bytes_per_frame"] == 3 * 196**2 * 4

    speed = report["speed"]
    rows = {row["name"]: row for row in speed["rows"]}
    assert [(rows[k]["concepts"], rows[k]["objects"]) for k in ("fewer", "one", "three")] == [(1, 3), (1, 8), (3, 8)]
    assert rows["three"]["shown"] == 8
    assert speed["three_to_one"] == pytest.approx(rows["three"]["ms"] / rows["one"]["ms"])
    assert speed["speed_up"] == pytest.approx(rows["stock"]["ms"] / rows["three"]["ms"])
    assert sum(speed["parts"].values()) == pytest.approx(rows["three"]["ms"]) and min(speed["parts"].values()) > 0
    printed = capsys.readouterr().out
    assert f"{speed['speed_up']:.2f}x" in printed

    grid = report["grid"]
    assert grid["frames"] == 5 and all(row["followed"] == row["objects"] == 2 for row in grid["rows"])
    assert [(row["concepts"], row["detect_every"]) for row in grid["rows"]] == [(1, 1), (1, 4), (3, 1), (3, 4)]
    assert all(row["fps"] == pytest.approx(1e3 / row["ms"]) for row in grid["rows"])
    assert f"{grid['rows'][3]['ms']:.1f} ({grid['rows'][3]['fps']:.1f})" in printed


def test_the_stream_goes_round_and_stays_small():
    frames = list(video.stream(50))
    assert [number for number, _ in frames] == list(range(1, 51))
    assert frames[48][1] is frames[0][1] and (frames[1][1] != frames[0][1]).any()


def test_shared_memory_is_counted_once():
    block = torch.zeros(100)

    class Session:
        def __init__(self) -> None:
            self.processed_frames, self.cache = {0: torch.zeros(9)}, [torch.zeros(9)]
            self.kept = {0: {"a": block[:50], "b": [block[50:], torch.zeros(5)]}, 1: "text"}

    assert video.held(Session()) == 4 * 105


def test_evaluation_benchmark_in_small(tmp_path, capsys):
    out = tmp_path / "numbers.json"
    evaluation.main(["--pairs", "60", "--size", "64", "--repeats", "2", "--json", str(out)])
    report = json.loads(out.read_text())
    assert report["pairs"] == 60 and len(report["ours"]["seconds"]) == 2
    assert 0 < report["ours"]["cgF1"] < 1 and report["ours"]["mb"] > 20 and report["intervals_seconds"] > 0
    printed = capsys.readouterr().out
    assert f"cgF1 {report['ours']['cgF1']:.6f}" in printed and "official: not measured" in printed
    with pytest.raises(SystemExit):
        evaluation.main(["--official", str(tmp_path)])
    assert "has no" in capsys.readouterr().err


def test_curation_benchmark_in_small(tmp_path, capsys):
    out = tmp_path / "numbers.json"
    curation.main(
        ["--scenes", "10", "--seeds", "1", "--samples", "300", "--concepts", "6", "--repeats", "1", "--pool", "0",
         "--limit", "0", "--exported", "0", "--json", str(out)]
    )  # fmt: skip
    report = json.loads(out.read_text())
    assert set(report["label_errors"]["ours"]) == {"missing", "wrong", "extra"}
    assert all(0 <= share <= 1 for found in report["label_errors"]["ours"].values() for share in found)
    assert report["hard_negatives"]["true labels"][0]["absent"] == 1.0
    assert report["scale"]["samples"] == 300 and all(spent > 0 for spent in report["scale"]["panel"].values())
    printed = capsys.readouterr().out
    assert "precision@k" in printed and "drag the threshold" in printed
    (queue,), (checked,) = report["review"]["queue"], report["review"]["exhaustivity"]
    assert queue["items"] > queue["faults"] > 0 and checked["some"]["pairs"] + checked["none"]["pairs"] > 10
    orders = queue["orders"]
    assert orders["one by one"]["early"] >= orders["random batches"]["early"]
    assert all(0 <= share <= 1 for row in orders.values() for share in row.values())
    assert "AUC of pairs that lack a label" in printed and "half of them after" in printed
    assert report["subset"]["scale"]["chosen"] > 0 == report["subset"]["scale"]["videos_across_splits"]


def test_the_wordings_benchmark_knows_what_is_right(new_dataset):
    from support.ledgers import FAR, A, B, instance, picture, rectangle

    truth = [rectangle("cap", A), rectangle("hat", B)]
    found = [
        instance("cap", A, 0.9, stability=1.0), instance("cap", A, 0.4, stability=0.5),  # a duplicate
        instance("cap", B, 0.8, stability=0.0), instance("hat", B, 0.7, stability=1.0),
        instance("hat", FAR, 0.6),  # nobody measured it
    ]  # fmt: skip
    dataset = new_dataset([picture(truth, found), picture([], [instance("cap", A, 0.3, stability=0.25)])])
    dataset.add_sample_field("sam3.detections.stability", fo.FloatField)
    assert sorted(wordings._instances(dataset, {"cap", "hat"})) == [
        (0.0, 0.8, False, False), (0.25, 0.3, False, False), (0.5, 0.4, True, False), (1.0, 0.7, True, True),
        (1.0, 0.9, True, True),
    ]  # fmt: skip


def test_the_wordings_benchmark_says_what_it_measured():
    rows = [dict(blind=0.0, labelled=0.01, plain=0.1, random=0.2, spread=0.4)] * 2
    found = dict(
        scenes=9, nouns=2, rows=rows, regret=wordings._summary(rows), known={"plural": 0.5},
        senses=dict(words=[("bat", True, 0.0), ("mouse", False, 0.9)], pairs=7, mixed=1),
        stability={"all": dict(stability=0.7, confidence=0.8, both=0.9, instances=50, wrong=5)},
    )  # fmt: skip
    text = wordings.said(found)
    assert found["regret"]["labelled"] == dict(mean=0.01, worst=0.01, best=0.0, near=1.0)
    for words in ("Wordings of 2 nouns, 9 scenes", "plural 0.50", "bat      apart", "mouse    ONE GROUP", "1 of 7"):
        assert words in text


def test_subset_benchmark_in_small(tmp_path, capsys):
    file = tmp_path / "numbers.json"

    subset_benchmark.main([
        "--pool", "50", "--chosen", "20", "--unseen", "12", "--seeds", "1", "--samples", "2000", "--json", str(file)
    ])  # fmt: skip

    told, found = capsys.readouterr().out, json.loads(file.read_text())
    scale, training = found["scale"], found["training"]
    assert (scale["chosen"], scale["copies"], scale["counts"]) == (100, 100, {"positive": 50, "hard": 25, "easy": 25})
    leaks = ("copies_chosen_twice", "near_duplicates", "near_across_splits", "videos_across_splits")
    assert all(scale[name] == 0 for name in leaks) and scale["pool"]["duplicates"] == 100
    counts = training["false_positives"]
    assert counts.keys() == {"ours", "random", "random, as many positives"} and training["hard_pairs"] > 12
    assert all(held[str(r)][0] <= training["hard_pairs"] for held in counts.values() for r in training["recalls"])
    assert "Trained on 20 of 50 scenes" in told and "100 of 2,000 samples chosen" in told
