"""The benchmarks run, measure what they say, and write it down."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import image as benchmark
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


def test_a_missed_target_is_said():
    assert benchmark.verdict(4.0, 5.0, "x") == "  (within 5x)"
    assert benchmark.verdict(5.01, 5.0, "x") == "  (MISSES 5x)"
    assert benchmark.verdict(5.0, None, "x") == ""


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
