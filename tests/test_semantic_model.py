"""Masks that say of every pixel which concept it belongs to: the network's own regions, divided, stored, numbered."""

from __future__ import annotations

from functools import partial

import fiftyone as fo
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support import media
from transformers import Sam3Processor

from curation.answers import read_answers
from curation.overview import overview
from curation.presence import rich, without_instances
from emoji_world.scenes import Scene, render, sample_scene
from evaluation.concepts import evaluate_concepts
from zoo.engine.checkpoint import TINY, Checkpoint
from zoo.engine.concepts import Concept, parse_concepts
from zoo.engine.detector import Asked, ConceptDetector
from zoo.engine.errors import ConceptError
from zoo.engine.images import to_square
from zoo.engine.semantic import RegionAnswer, Regions, _Map, find_regions
from zoo.image_model import Sam3ImageModel
from zoo.ledger import Ledger, answered, pending, recorded
from zoo.provenance import note_regions, run_info
from zoo.region_run import numbered
from zoo.semantic_model import Sam3SemanticModel
from zoo.source import load_model

#: what some scenes hold, and what none does
WORDS = ["owl", "fox", "wolf", "dog", "ambulance", "fire truck", "cap", "helmet", "mouse", "cricket bat"]
NOWHERE = ["zeppelin", "xylophone"]
SCENES = [1_000_010 + k for k in range(12)]

apply = partial(fo.Dataset.apply_model, label_field="regions", num_workers=0, skip_failures=False, progress=False)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return media.tiny()


@pytest.fixture(scope="module")
def scenes() -> list[tuple[Scene, np.ndarray, np.ndarray]]:
    return [(scene, *render(scene, 0.6)) for scene in map(sample_scene, SCENES)]


@pytest.fixture(scope="module")
def files(scenes, tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("scenes")
    for k, (_, image, _) in enumerate(scenes):
        Image.fromarray(image).save(folder / f"{k}.png")
    return [str(folder / f"{k}.png") for k in range(len(scenes))]


@pytest.fixture
def dataset(files, new_dataset) -> fo.Dataset:
    return new_dataset([fo.Sample(filepath=path) for path in files[:3]])


def semantic(classes=("owl", "dog"), **settings) -> Sam3SemanticModel:
    return load_model("concepts/sam3-tiny-image", classes=classes, operation_mode="semantic", device="cpu", **settings)


def regions_of(checkpoint: Checkpoint, images, concepts, **options) -> list[Regions]:
    detector = ConceptDetector(checkpoint, **options.pop("chunks", {}))
    squares = torch.stack([to_square(image, checkpoint.side) for image in images])
    features = detector.encode_images(squares, [image.shape[:2] for image in images])
    return find_regions(detector, features, concepts, **options)


def colours(dataset: fo.Dataset, field: str = "regions") -> list[set[int]]:
    """The numbers in each mask, 0 left out."""
    return [set(np.unique(sample[field].get_mask()).tolist()) - {0} for sample in dataset.view()]


# --------------------------------------------------------------------------------------------- the network's own


@pytest.mark.parametrize("cls_token", [False, True])
def test_regions_are_the_semantic_seg_of_transformers(checkpoint, scenes, cls_token):
    detector = ConceptDetector(checkpoint, cls_token=cls_token, pairs_per_chunk=5, masks_per_chunk=3)
    processor = Sam3Processor.from_pretrained(TINY, local_files_only=True)
    images = [image for _, image, _ in scenes[:2]]
    padding = dict(input_boxes=torch.full((1, 1, 4), -10.0), input_boxes_labels=torch.full((1, 1), -10))
    squares = torch.stack([to_square(image, checkpoint.side) for image in images])
    features = detector.encode_images(squares, [image.shape[:2] for image in images])
    words = ("owl", "the fox", "yellow fire truck")
    asked = [Asked(row, k, word, 0.0) for row in (0, 1) for k, word in enumerate(words)]
    survivors, found = detector.survivors(features, semantic=True), {}
    for decoded in detector.decode(features, asked):
        for n, one in enumerate(decoded.asked):
            found.update(survivors.add(decoded.survivor(n, slice(0), one)))
    found.update(survivors.rest())
    assert set(found) == set(asked)
    for one, logits in found.items():
        inputs = processor(images=Image.fromarray(images[one.row]), text=one.phrase, return_tensors="pt")
        inputs.pop("original_sizes")
        with torch.inference_mode():
            stock = checkpoint.model(**inputs, **(padding if cls_token else {})).semantic_seg[0, 0]
        assert logits.shape == stock.shape and float(stock.std()) > 0.1
        assert torch.allclose(logits, stock, rtol=1e-4, atol=1e-4 * float(stock.abs().max()))


def test_what_is_divided_is_probability_at_the_images_size(checkpoint, scenes):
    """One concept, no competition: the region is the upsampled probability above one half."""
    _, image, _ = scenes[0]
    (regions,) = regions_of(checkpoint, [image], parse_concepts(["owl"]), threshold=0.0)
    processor = Sam3Processor.from_pretrained(TINY, local_files_only=True)
    inputs = processor(images=Image.fromarray(image), text="owl", return_tensors="pt")
    inputs.pop("original_sizes")
    with torch.inference_mode():
        padding = dict(input_boxes=torch.full((1, 1, 4), -10.0), input_boxes_labels=torch.full((1, 1), -10))
        soft = checkpoint.model(**inputs, **padding).semantic_seg.sigmoid()
    whole = F.interpolate(soft, image.shape[:2], mode="bilinear")[0, 0].numpy()
    differing = (regions.owner == 1) != (whole > 0.5)
    assert np.abs(whole[differing] - 0.5).max(initial=0) < 1e-4
    assert regions.owner.shape == image.shape[:2] and regions.owner.dtype == np.uint16


def test_present_concepts_have_their_pixels_and_absent_ones_none(checkpoint, scenes):
    """On scenes that training never saw: each is asked for what is in any of them, and for what is in none."""
    nouns = sorted({placed.thing.noun for scene, _, _ in scenes for placed in scene.objects})
    concepts = parse_concepts([*nouns, *NOWHERE])
    overlaps, mirrored, absent = [], [], 0
    results = regions_of(checkpoint, [image for _, image, _ in scenes], concepts)
    for (scene, _, masks), regions in zip(scenes, results, strict=True):
        for k, answer in enumerate(regions.answers, 1):
            truth, mine = masks[scene.instances(answer.label)].any(0), regions.owner == k
            if answer.presence <= 0.5:
                assert not mine.any()
                absent += 1
            elif truth.any():
                overlaps.append((truth & mine).sum() / (truth | mine).sum())
                mirrored.append((truth & mine[:, ::-1]).sum() / (truth | mine[:, ::-1]).sum())
    print(f"mean IoU {np.mean(overlaps):.3f} of {len(overlaps)}, mirrored {np.mean(mirrored):.3f}; {absent} absent")
    assert len(overlaps) >= 10 and absent >= 60
    assert np.mean(overlaps) > 0.6 > 0.3 > np.mean(mirrored)


def test_a_batch_is_its_images_and_chunks_change_nothing(checkpoint, scenes):
    images = [image for _, image, _ in scenes[:3]]
    concepts = parse_concepts({"animal": ["owl", "a very strange animal"], "truck": "fire truck", "fox": "fox"})
    together = regions_of(checkpoint, images, concepts, threshold=0.05)
    for image, regions in zip(images, together, strict=True):
        chunks = dict(pairs_per_chunk=1, masks_per_chunk=1)
        (alone,) = regions_of(checkpoint, [image], concepts, threshold=0.05, chunks=chunks)
        assert np.count_nonzero(alone.owner != regions.owner) <= 1e-4 * regions.owner.size
        for a, b in zip(alone.answers, regions.answers, strict=True):
            assert (a.label, a.presence) == (b.label, pytest.approx(b.presence, abs=1e-5))


# --------------------------------------------------------------------------------------------------- who has what


def logits(*probabilities: float) -> torch.Tensor:
    return torch.logit(torch.tensor([probabilities], dtype=torch.float64)).float()


@pytest.mark.parametrize(
    ("claims", "owner"),
    [
        # a pixel goes to the largest probability x presence, of those above one half
        ([(0, 1.0, (0.9, 0.6, 0.4)), (1, 1.0, (0.8, 0.7, 0.3))], [1, 2, 0]),
        # presence weighs: 0.9 x 0.6 is less than 0.8 x 0.9
        ([(0, 0.6, (0.9, 0.9, 0.1)), (1, 0.9, (0.8, 0.2, 0.1))], [2, 1, 0]),
        # a phrase that is not sure of a pixel does not have it, however present
        ([(0, 1.0, (0.49, 0.51, 0.5)), (1, 0.1, (0.6, 0.1, 0.1))], [2, 1, 0]),
        # of equals the earlier concept, whoever speaks first
        ([(1, 0.8, (0.7, 0.7, 0.7)), (0, 0.8, (0.7, 0.7, 0.2))], [1, 1, 2]),
        # two phrases of one concept: the larger counts
        ([(1, 0.9, (0.6, 0.2, 0.2)), (0, 0.8, (0.8, 0.6, 0.2)), (1, 0.9, (0.9, 0.2, 0.6))], [2, 1, 2]),
    ],
)
def test_a_pixel_that_several_claim(claims, owner):
    divided = _Map((1, 3), 2)
    for concept, presence, probabilities in claims:
        divided.claim(concept, presence, logits(*probabilities))
    concepts = parse_concepts(["a", "b"])
    assert divided.regions(concepts).owner.tolist() == [owner]


def test_absent_concepts_cost_no_pixels(checkpoint, scenes, monkeypatch):
    drawn = []
    head = "zoo.engine.mask_head.MaskHead.regions"
    monkeypatch.setattr(head, lambda self, shared, coarse, *read: drawn.append(len(read[0])))
    (regions,) = regions_of(checkpoint, [scenes[0][1]], parse_concepts(WORDS), threshold=1.0)
    assert drawn == [] and not regions.owner.any()
    assert all(0 < answer.presence < 1 and 0 < answer.object_score < 1 for answer in regions.answers)


def test_a_concept_s_own_threshold_is_of_presence(checkpoint, scenes):
    image = scenes[0][1]
    (all_in,) = regions_of(checkpoint, [image], parse_concepts(["owl", "fox"]), threshold=0.0)
    assert set(np.unique(all_in.owner)) > {0}
    strict = [Concept("owl", ("owl",), 1.0), Concept("fox", ("fox",), 1.0)]
    (none,) = regions_of(checkpoint, [image], strict, threshold=0.0)
    assert not none.owner.any()
    assert [a.presence for a in none.answers] == pytest.approx([a.presence for a in all_in.answers], abs=1e-5)


def test_more_than_255_concepts_need_two_bytes():
    answers = tuple(RegionAnswer(f"thing {k}", 0.9, 0.9) for k in range(300))
    regions = Regions(answers, np.array([[0, 300]], np.uint16))
    few = Regions(answers[:3], np.array([[0, 3]], np.uint16))
    assert numbered(few, {f"thing {k}": k + 1 for k in range(255)}).mask.dtype == np.uint8
    many = numbered(regions, {f"thing {k}": k + 1 for k in range(300)}).mask
    assert many.dtype == np.uint16 and many.tolist() == [[0, 300]]


# ------------------------------------------------------------------------------------------------ what is stored


def test_masks_targets_and_presence(dataset, checkpoint):
    model = semantic(["owl", "dog", "zeppelin"], confidence_thresh=0.3)
    apply(dataset, model, batch_size=2)

    assert dataset.get_field("regions").document_type is fo.Segmentation
    assert dataset.mask_targets["regions"] == {1: "owl", 2: "dog", 3: "zeppelin"}
    for sample in dataset:
        image = np.array(Image.open(sample.filepath))
        (want,) = regions_of(checkpoint, [image], parse_concepts(["owl", "dog", "zeppelin"]), threshold=0.3)
        assert np.count_nonzero(sample.regions.mask != want.owner) <= 1e-4 * want.owner.size
        assert sample.regions.mask.dtype == np.uint8 and sample.regions.mask.shape == image.shape[:2]
        assert recorded(sample, Ledger()) == {"owl", "dog", "zeppelin"}
        assert sample.sam3_presence.owl == pytest.approx(want.answers[0].presence, abs=1e-5)
    reloaded = fo.load_dataset(dataset.name, reload=True)
    assert reloaded.mask_targets["regions"][3] == "zeppelin"
    assert run_info(dataset)["concepts"]["owl"]["operation_mode"] == "semantic"


def test_nothing_was_counted_and_readers_of_counts_know_it(dataset):
    apply(dataset, semantic(["owl", "dog"]))
    assert dataset.values("sam3_count.owl") == [None] * 3
    for sample in dataset:
        assert answered(sample, Ledger()) == set()
    assert len(pending(dataset, ["owl"])) == 3  # of instances
    assert len(rich(dataset, "owl", at_least=1)) == len(without_instances(dataset, "owl", threshold=0)) == 0
    answers = read_answers(dataset)
    assert np.isnan(answers.count).all() and not np.isnan(answers.presence).any()
    assert overview(answers, "owl").instances == overview(answers, "owl").without_instances == 0
    dataset.set_values("ground_truth", [fo.Detections() for _ in range(3)])
    apply(dataset.limit(1), image_model(["owl", "dog"]), label_field="sam3")
    found = evaluate_concepts(dataset, "sam3", "ground_truth", exhaustive=True, use_masks=False, progress=False)
    assert len(found.table) == 2  # the pairs of the first sample: the others were not asked for instances


def image_model(classes, **settings) -> Sam3ImageModel:
    return load_model("concepts/sam3-tiny-image", classes=classes, device="cpu", **settings)


def test_instances_of_an_earlier_run_and_their_counts_stay(dataset):
    apply(dataset, image_model(["owl", "dog", "fox"]), label_field="sam3")
    kept = {name: dataset.values(f"sam3_count.{name}") for name in ("owl", "dog", "fox")}
    entry = run_info(dataset)["concepts"]["owl"]
    ids = dataset.values("sam3.detections.id")

    apply(dataset, semantic(["owl", "fox"]))

    assert {name: dataset.values(f"sam3_count.{name}") for name in kept} == kept
    assert dataset.values("sam3.detections.id") == ids
    assert run_info(dataset)["concepts"]["owl"] == entry and run_info(dataset)["label_field"] == "sam3"
    apply(dataset, semantic({"dog": "a dog"}))  # another question: what was counted belongs to the other answer
    assert dataset.values("sam3_count.dog") == [None] * 3
    assert dataset.values("sam3_count.owl") == kept["owl"]


def test_instances_are_looked_for_where_only_regions_were(dataset):
    apply(dataset, semantic(["owl", "dog"]))
    apply(dataset, image_model(["owl", "dog"], skip_existing=True, confidence_thresh=0.4), label_field="sam3")
    assert None not in dataset.values("sam3_count.owl")
    assert "operation_mode" not in run_info(dataset)["concepts"]["owl"]


def test_a_second_run_keeps_numbers_and_makes_masks_anew(dataset):
    apply(dataset, semantic(["owl", "dog"], confidence_thresh=0.0))
    before = [sample.regions.mask.copy() for sample in dataset.view()]
    apply(dataset[1:], semantic(["fox", "dog"], confidence_thresh=0.0))

    assert dataset.mask_targets["regions"] == {1: "owl", 2: "dog", 3: "fox"}
    first, *rest = colours(dataset)
    assert (list(dataset.view())[0].regions.mask == before[0]).all()
    assert all(numbers <= {2, 3} for numbers in rest)
    apply(dataset, semantic(["fox"]), label_field="others")  # another field of the same ledger: the same numbers
    assert dataset.mask_targets["others"][3] == "fox"
    apply(dataset, semantic(["fox"], ledger="mine"), label_field="mine")
    assert dataset.mask_targets["mine"] == {1: "fox"}


def test_masks_as_files(dataset, tmp_path):
    apply(dataset, semantic(["owl", "dog"], confidence_thresh=0.0))
    inside = [sample.regions.mask for sample in dataset.view()]
    model = semantic(["owl", "dog"], confidence_thresh=0.0)
    apply(dataset, model, label_field="files", output_dir=str(tmp_path / "out"))
    for sample, mask in zip(dataset.view(), inside, strict=True):
        assert sample.files.mask is None and sample.files.mask_path.startswith(str(tmp_path / "out"))
        assert (sample.files.get_mask() == mask).all()
    assert sum(bool(numbers) for numbers in colours(dataset, "files")) > 0


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return str(media.video(tmp_path_factory.mktemp("clip") / "clip.mp4", ["red", "green", "blue"]))


@pytest.mark.parametrize("files", [False, True])
def test_frames_of_videos(clip, new_dataset, tmp_path, files):
    videos = new_dataset([fo.Sample(filepath=clip)])
    where = dict(output_dir=str(tmp_path / "out")) if files else {}
    apply(videos, semantic(["owl", "dog"], confidence_thresh=0.0), **where)
    assert videos.mask_targets["frames.regions"] == {1: "owl", 2: "dog"}
    frames = list(videos.view().first().frames.values())
    assert len(frames) == 3
    for frame in frames:
        assert frame.regions.get_mask().shape == (48, 64) and (frame.regions.mask is None) == files
        assert recorded(frame, Ledger(frames=True)) == {"owl", "dog"}


def test_a_bad_file_costs_itself(dataset, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    dataset.add_sample(fo.Sample(filepath=str(tmp_path / "bad.png")))
    apply(dataset, semantic(["owl"]), skip_failures=True)
    *good, bad = dataset.view()
    assert all(sample.regions is not None and sample.sam3_error is None for sample in good)
    assert bad.regions is None and "bad.png" in bad.sam3_error


# -------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(tiles=dict(tile_size=200)), "Unknown argument 'tiles'.*operation_mode='semantic' takes"),
        (dict(conflicts=dict(nms_thresh=0.5)), "Unknown argument 'conflicts'"),
        (dict(box_prompt_field="marks"), "Unknown argument 'box_prompt_field'"),
        (dict(skip_existing=True), "Unknown argument 'skip_existing'"),
        (dict(confidence_thresh=2), "confidence_thresh"),
        (dict(classes=None), "No concepts to look for"),
    ],
)
def test_settings_that_make_no_sense(dataset, settings, words):
    with pytest.raises(ConceptError, match=words):
        apply(dataset, semantic(**settings))
    assert not dataset.has_field("regions")


def test_a_mode_that_there_is_not():
    with pytest.raises(ConceptError, match="'concept', 'semantic', 'visual', 'everything', got 'semantics'"):
        load_model("concepts/sam3-tiny-image", classes=["owl"], operation_mode="semantics")


def test_what_apply_model_may_name_is_refused_too(dataset):
    dataset.set_values("marks", [fo.Detections()] * 3)
    with pytest.raises(ConceptError, match="box_prompt_field makes no sense with operation_mode='semantic'"):
        apply(dataset, semantic(), box_prompt_field="marks")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (fo.Detections(), "already holds Detections, not Segmentation"),
        (fo.Segmentation(mask=np.ones((2, 2), np.uint8)), "already holds masks that this model did not make"),
    ],
)
def test_fields_that_hold_something_else_are_left_alone(dataset, value, words):
    dataset.set_values("taken", [value.copy() for _ in range(3)])
    with pytest.raises(ConceptError, match=words):
        apply(dataset, semantic(), label_field="taken")
    assert not dataset.has_field("sam3_presence") and dataset.list_runs() == []
    assert dataset.mask_targets == {}


def test_a_ledger_without_numbers_left(dataset):
    apply(dataset, semantic(["owl"]))
    note_regions(dataset, Ledger(), "regions", {"owl": 1, "last": 65_535})
    apply(dataset, semantic(["owl"]))  # what has a number can be asked
    with pytest.raises(ConceptError, match="have no numbers left: 65,535 were given"):
        apply(dataset, semantic(["owl", "dog"]))
    assert dataset.first().regions.mask.dtype == np.uint16


def test_images_without_samples(scenes):
    mask = semantic(["owl", "dog"], confidence_thresh=0.0).predict(scenes[0][1])
    assert isinstance(mask, fo.Segmentation) and mask.mask.shape == scenes[0][1].shape[:2]
