"""Benchmarks of whole runs: from files to the database, cut and resumed; and the command that runs all of them."""

from __future__ import annotations

import json

import fiftyone as fo
import numpy as np
import pytest
import torch

from benchmarks import cpu, pipeline, soak
from zoo.engine.concepts import parse_concepts


def test_the_pipeline_benchmark_in_small(tmp_path, capsys):
    threads, before = torch.get_num_threads(), fo.list_datasets()
    file = tmp_path / "numbers.json"

    pipeline.main(["--samples", "6", "--size", "640", "360", "--batch", "3", "--json", str(file)])

    assert torch.get_num_threads() == threads and fo.list_datasets() == before
    report = json.loads(file.read_text())
    plain = [row for row in report["rows"] if not row["planted"]]
    planted = [row for row in report["rows"] if row["planted"]]
    assert [row["name"] for row in plain] == [row["name"] for row in planted] and len(plain) >= 2
    assert all(row["instances"] == 20 for row in planted) and all(row["instances"] > 0 for row in plain)
    for row in report["rows"]:
        assert row["failed"] == 0 and 0 < row["outside"] < 1 and row["cpu"] > 0
        assert sum(row["parts"].values()) == pytest.approx(row["wall"])
        assert all(row["parts"][part] > 0 for part in pipeline.NETWORK)
        assert 1 - sum(row["parts"][part] for part in pipeline.NETWORK) / row["wall"] == pytest.approx(row["outside"])
    alone = next(row for row in planted if row["name"] == "one process")
    assert alone["parts"]["read"] > 0 and alone["parts"]["cut out"] > 0
    assert "one process" in capsys.readouterr().out


def test_a_part_that_is_gone_is_no_time_outside(monkeypatch):
    from zoo.engine import survivors

    monkeypatch.delattr(survivors.Survivors, "rest")
    with pytest.raises(AttributeError), pipeline.timed():
        pass


def test_the_soak_in_small(tmp_path, capsys):
    before, file = fo.list_datasets(), tmp_path / "numbers.json"

    assert soak.main(["--samples", "160", "--kills", "1", "--stub", "--json", str(file)]) == 0

    report = json.loads(file.read_text())
    (killed,) = report["kills"]
    assert 80 <= killed < 160 and report["instances"] > 1
    assert (report["different"], report["orphans"], report["failed"]) == (0, 0, 0)
    assert 100 < report["memory"]["plateau"] <= report["memory"]["most"] and report["memory"]["ratio"] < 1.5
    assert fo.list_datasets() == before
    assert "the same as without a break; 0 processes outlived" in capsys.readouterr().out


def test_states_differ_in_what_counts(new_dataset):
    dataset = new_dataset([fo.Sample(filepath=f"/nowhere/{k}.jpg", number=k) for k in range(2)])
    detection = fo.Detection(label="dog", bounding_box=[0, 0, 1, 1], mask=np.ones((2, 3), bool))
    dataset.set_values("found", [fo.Detections(detections=[detection.copy()]) for _ in range(2)])
    copy = dataset.clone()
    try:
        before = soak.states(dataset)
        assert soak.states(copy) == before and len(set(before.values())) == 2 == len(before)
        copy.set_values("found.detections.label", [["dog"], ["cat"]])
        after = soak.states(copy)
        assert [name for name in before if before[name] != after[name]] == ["1.jpg"]
        assert soak.fields(copy) == soak.fields(dataset)
        copy.add_sample_field("more", fo.StringField)
        assert soak.fields(copy) != soak.fields(dataset)
    finally:
        copy.delete()


def test_made_up_answers_follow_from_the_pixels():
    pixels = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    stub, asked = soak.Stub(None), parse_concepts(soak.CONCEPTS)
    first, again = (stub.detect(stub.encode_images(pixels, [(96, 64)] * 2), [asked] * 2, threshold=0.5) for _ in "ab")
    for one, other in zip(sum(first, []), sum(again, []), strict=True):
        assert (one.presence, one.count) == (other.presence, other.count)
        for a, b in zip(one.instances, other.instances, strict=True):
            assert a.corner == b.corner and np.array_equal(a.mask, b.mask)
            assert a.corner[0] + a.mask.shape[1] <= 64 and a.corner[1] + a.mask.shape[0] <= 96
    assert first[0][0].presence != first[1][0].presence != first[1][1].presence


def test_memory_is_compared_between_a_quarter_and_the_end():
    memory = [(k, 10**6 * (100 + k)) for k in range(1, 101)]
    found = soak.flatness(memory, 100)
    assert found == pytest.approx(dict(plateau=125, end=195, most=200, ratio=195 / 125))
    assert soak.flatness([(90, 5 * 10**6)], 100)["ratio"] == 1


def test_all_sections_run_whatever_fails(tmp_path, monkeypatch, capfd):
    here = cpu.Section("vocabulary", "Vocabulary", ("--concepts", "2", "3", "--threads", "1", "--repeats", "1"))
    broken = cpu.Section("image", "Broken", ("--scenes", "none"))
    monkeypatch.setattr(cpu, "SECTIONS", (broken, cpu.Section("not_written_yet", "Missing"), here))
    file = tmp_path / "numbers.json"

    assert cpu.main(["--json", str(file)]) == 1

    report = json.loads(file.read_text())
    assert report["image"] == dict(error="exit code 2") and report["not_written_yet"] == dict(not_here=True)
    assert [row["concepts"] for row in report["vocabulary"]["rows"]] == [2, 3]
    told = capfd.readouterr().out
    assert "FAILED with exit code 2" in told and "not in this version" in told and "failed: image" in told
    assert cpu.main(["--sections", "not_written_yet"]) == 0


@pytest.mark.parametrize("section", cpu.SECTIONS, ids=lambda section: section.module)
def test_sections_have_settings_that_their_benchmarks_take(section, monkeypatch, capsys):
    module = pytest.importorskip(f"benchmarks.{section.module}", exc_type=ImportError)
    with pytest.raises(SystemExit) as ended:
        module.main([*section.settings, "--json", "x", "--help"])
    assert ended.value.code == 0
    known = capsys.readouterr().out
    assert all(setting.split()[0] in known for setting in section.settings if setting.startswith("--"))
