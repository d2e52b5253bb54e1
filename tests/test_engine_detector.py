"""The engine is transformers' SAM 3, only cheaper: the same answers, however they are asked for."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import Sam3Processor

from emoji_world.scenes import render, sample_scene
from zoo.engine.answers import without_repeats
from zoo.engine.checkpoint import TINY, Checkpoint, load_checkpoint
from zoo.engine.concepts import Concept, parse_concepts
from zoo.engine.detector import ConceptDetector, ImageFeatures
from zoo.engine.errors import ConceptError
from zoo.engine.images import to_square
from zoo.engine.masks import mask_iou
from zoo.engine.results import ConceptResult, Instance

#: low, so that there are instances to compare whatever the checkpoint has learned
LOW = 0.05
#: words that a checkpoint knows and that it does not, that are there and that are not; of one to nine tokens
CONCEPTS = parse_concepts("owl, the fox, ambulance, yellow fire truck, zeppelin, xylophone")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(device="cpu")


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Of different sizes, none square, one of them not larger than the network's masks."""
    return [render(sample_scene(seed), scale)[0] for seed, scale in ((10, 0.4), (12, 0.25), (4, 0.05))]


@pytest.fixture(scope="module")
def processor() -> Sam3Processor:
    return Sam3Processor.from_pretrained(TINY, local_files_only=True)


def encode(detector: ConceptDetector, images: Sequence[np.ndarray]) -> ImageFeatures:
    squares = torch.stack([to_square(image, detector.checkpoint.side) for image in images])
    return detector.encode_images(squares, [image.shape[:2] for image in images])


def detect(
    detector: ConceptDetector, images: Sequence[np.ndarray], concepts: Sequence[Sequence[Concept]], **options
) -> list[list[ConceptResult]]:
    return detector.detect(encode(detector, images), concepts, **options)


@contextmanager
def calls(checkpoint: Checkpoint, name: str) -> Iterator[list[int]]:
    """The batch sizes with which a part of the network is called."""
    sizes: list[int] = []

    def count(module, args, kwargs):
        value = args[0] if args else next(iter(kwargs.values()))
        sizes.append(len(value))

    hook = checkpoint.model.get_submodule(name).register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield sizes
    finally:
        hook.remove()


def assert_same(one: Sequence[ConceptResult], other: Sequence[ConceptResult]) -> None:
    """Equal but for the last bits, which depend on what a matrix product was batched with."""
    assert [r.label for r in one] == [r.label for r in other]
    for a, b in zip(one, other, strict=True):
        assert a.presence == pytest.approx(b.presence, abs=1e-5)
        assert a.object_score == pytest.approx(b.object_score, abs=1e-5)
        assert (len(a.instances), a.count, a.threshold) == (len(b.instances), b.count, b.threshold)
        for i, j in zip(a.instances, b.instances, strict=True):
            assert i.confidence == pytest.approx(j.confidence, abs=1e-5)
            assert i.box == pytest.approx(j.box, abs=0.01)
            assert (i.phrase, i.corner) == (j.phrase, j.corner)
            assert i.mask.shape == j.mask.shape and np.count_nonzero(i.mask != j.mask) <= 2


# ------------------------------------------------------------------------------ the same as transformers


@pytest.mark.parametrize("cls_token", [False, True])
def test_equal_to_transformers(checkpoint, images, processor, cls_token):
    """Scores to 1e-5, boxes to 0.01 pixels, masks but for pixels that are borderline, and those are counted."""
    detector = ConceptDetector(checkpoint, cls_token=cls_token)
    results = detect(detector, images, [CONCEPTS] * len(images), threshold=LOW)
    # one box that is padding makes transformers append the geometry token, and changes nothing else
    padding = dict(input_boxes=torch.full((1, 1, 4), -10.0), input_boxes_labels=torch.full((1, 1), -10))
    compared = pixels = borderline = 0
    for image, found in zip(images, results, strict=True):
        for concept, result in zip(CONCEPTS, found, strict=True):
            inputs = processor(images=Image.fromarray(image), text=concept.label, return_tensors="pt")
            size = inputs.pop("original_sizes").tolist()
            with torch.inference_mode():
                output = checkpoint.model(**inputs, **(padding if cls_token else {}))
            stock = processor.post_process_instance_segmentation(output, LOW, target_sizes=size)[0]
            kept = (output.pred_logits.sigmoid() * output.presence_logits.sigmoid())[0] > LOW
            upsampled = F.interpolate(output.pred_masks.sigmoid(), size[0], mode="bilinear")[0, kept]

            assert result.presence == pytest.approx(float(output.presence_logits.sigmoid()), abs=1e-5)
            assert result.object_score == pytest.approx(float(output.pred_logits.sigmoid().max()), abs=1e-5)
            assert result.count == len(result.instances) == len(stock["scores"])
            by_score = stock["scores"].argsort(descending=True, stable=True).tolist()
            for k, instance in zip(by_score, result.instances, strict=True):
                compared += 1
                assert instance.confidence == pytest.approx(float(stock["scores"][k]), abs=1e-5)
                assert instance.confidence == pytest.approx(instance.object_score * instance.presence, abs=1e-6)
                assert instance.box == pytest.approx(stock["boxes"][k].tolist(), abs=0.01)
                whole = np.zeros(image.shape[:2], bool)
                (x, y), (height, width) = instance.corner, instance.mask.shape
                whole[y : y + height, x : x + width] = instance.mask
                differing = torch.from_numpy(whole) != stock["masks"][k].bool()
                assert ((upsampled[k][differing] - 0.5).abs() < 1e-4).all()
                pixels += whole.size
                borderline += int(differing.sum())
    print(f"{compared} instances, {pixels} pixels, {borderline} borderline ones on the other side")
    assert compared >= 5
    assert borderline <= 1e-5 * pixels


def test_pixels_reach_the_network_as_the_processor_would_send_them(checkpoint, images, processor):
    detector, seen = ConceptDetector(checkpoint), []
    backbone = checkpoint.model.vision_encoder.backbone
    hook = backbone.embeddings.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    try:
        encode(detector, images)
    finally:
        hook.remove()
    want = processor.image_processor([Image.fromarray(image) for image in images], return_tensors="pt").pixel_values
    assert torch.equal(seen[0], want)


def test_the_geometry_token_is_on_by_default_and_matters(checkpoint, images):
    default = detect(ConceptDetector(checkpoint), images, [CONCEPTS] * 3)
    on, off = (detect(ConceptDetector(checkpoint, cls_token=c), images, [CONCEPTS] * 3) for c in (True, False))
    for one, other in zip(default, on, strict=True):
        assert_same(one, other)
    changes = [abs(a.presence - b.presence) for x, y in zip(on, off, strict=True) for a, b in zip(x, y, strict=True)]
    assert max(changes) > 1e-4  # ten times what rounding may do


# ---------------------------------------------------------------- however they are batched, the same answers


@pytest.mark.parametrize("cls_token", [False, True])
def test_a_batch_is_its_images(checkpoint, images, cls_token):
    """Images of different sizes, each asked something else, one nothing, one in several phrases."""
    asked = [
        CONCEPTS,
        (),
        parse_concepts({"animal": ["dog", "a very strange animal", "owl"], "cap": "cap"}, {"cap": 0.2}),
    ]
    detector = ConceptDetector(checkpoint, cls_token=cls_token)
    together = detect(detector, images, asked, threshold=LOW)
    assert [len(found) for found in together] == [6, 0, 2]
    for image, concepts, found in zip(images, asked, together, strict=True):
        alone = detect(ConceptDetector(checkpoint, cls_token=cls_token), [image], [concepts], threshold=LOW)
        assert_same(found, alone[0])


def test_concepts_do_not_know_of_each_other(checkpoint, images):
    detector = ConceptDetector(checkpoint)
    features = encode(detector, images[:1])
    together = detector.detect(features, [CONCEPTS], threshold=LOW)[0]
    for concept, found in zip(CONCEPTS, together, strict=True):
        assert_same([found], detector.detect(features, [[concept]], threshold=LOW)[0])
    backwards = detector.detect(features, [CONCEPTS[::-1]], threshold=LOW)[0]
    assert_same(together, backwards[::-1])


def test_chunks_change_nothing(checkpoint, images):
    concepts = [CONCEPTS, CONCEPTS[:1], CONCEPTS[2:]]
    want = detect(ConceptDetector(checkpoint), images, concepts, threshold=LOW)
    for pairs, masks in ((1, 1), (3, 2), (100, 100)):
        part = "detr_decoder.layers.1.mlp"
        with calls(checkpoint, part) as decoded, calls(checkpoint, "mask_decoder.mask_embedder") as drawn:
            detector = ConceptDetector(checkpoint, pairs_per_chunk=pairs, masks_per_chunk=masks)
            got = detect(detector, images, concepts, threshold=LOW)
        assert sum(decoded) == 11 and max(decoded) == min(pairs, 11) and max(drawn) <= masks
        for one, other in zip(want, got, strict=True):
            assert_same(one, other)


@pytest.mark.parametrize("chunks", [{"pairs_per_chunk": 0}, {"masks_per_chunk": 0}, {"pairs_per_chunk": -1}])
def test_empty_chunks_are_refused(checkpoint, chunks):
    with pytest.raises(ValueError, match="must hold at least 1"):
        ConceptDetector(checkpoint, **chunks)


@pytest.mark.parametrize("given", [0, 1, 4])
def test_as_many_lists_of_concepts_as_images(checkpoint, images, given):
    with pytest.raises(ValueError, match=f"3 images are encoded, but concepts are given for {given}"):
        detect(ConceptDetector(checkpoint), images, [CONCEPTS] * given)


def test_nothing_asked_is_nothing_answered(checkpoint, images):
    with calls(checkpoint, "detr_decoder.layers.1.mlp") as decoded:
        assert detect(ConceptDetector(checkpoint), images, [(), (), ()]) == [[], [], []]
    assert decoded == []


def test_odd_images(checkpoint):
    """One pixel, and a ribbon: masks and boxes are theirs."""
    pixel, ribbon = np.full((1, 1, 3), 200, np.uint8), np.zeros((10, 20_000, 3), np.uint8)
    results = detect(ConceptDetector(checkpoint), [pixel, ribbon], [CONCEPTS] * 2, threshold=0.0)
    for image, found in zip((pixel, ribbon), results, strict=True):
        instances = [i for result in found for i in result.instances]
        assert len(instances) == len(CONCEPTS) * checkpoint.model.config.detr_decoder_config.num_queries
        for instance in instances:
            (x, y), (height, width) = instance.corner, instance.mask.shape
            assert x + width <= image.shape[1] and y + height <= image.shape[0]


# ------------------------------------------------------------------------------- what is not computed twice


def test_images_and_phrases_are_encoded_once(checkpoint, images):
    detector = ConceptDetector(checkpoint)
    with calls(checkpoint, "vision_encoder.backbone.embeddings") as seen, calls(checkpoint, "text_encoder") as read:
        with calls(checkpoint, "geometry_encoder") as geometry:
            features = encode(detector, images)
            for _ in range(2):
                detector.detect(features, [CONCEPTS] * 3)
            detector.detect(features, [CONCEPTS[:2], (), parse_concepts("owl, dog, cap")])
            detector.detect(features, [parse_concepts({"bird": ["owl", "duck"], "owl": "owl"})] * 3)
        encode(detector, images[:1])
    assert seen == [3, 1] and geometry == [3]
    assert sum(read) == len(CONCEPTS) + 2 + 1  # then dog and cap, then duck


def test_many_phrases_at_once(checkpoint):
    detector = ConceptDetector(checkpoint)
    phrases = [f"dog {k}" for k in range(70)]
    with calls(checkpoint, "text_encoder") as read:
        detector.encode_phrases(phrases + phrases)
    assert sum(read) == 70 and max(read) <= 64


def test_absent_concepts_cost_no_masks(checkpoint, images):
    detector = ConceptDetector(checkpoint)
    features = encode(detector, images)
    with calls(checkpoint, "mask_decoder.mask_embedder") as drawn:
        results = detector.detect(features, [CONCEPTS] * 3, threshold=1.0)
    assert drawn == []
    for found in results:
        for result in found:
            assert result.instances == () and result.count == 0
            assert 0 < result.presence < 1 and 0 < result.object_score < 1  # absence is an answer


def test_masks_share_what_is_the_images_own(checkpoint, images):
    detector = ConceptDetector(checkpoint, masks_per_chunk=2)
    with calls(checkpoint, "mask_decoder.pixel_decoder.conv_layers.1") as shared:
        detect(detector, images, [CONCEPTS, CONCEPTS[:1], ()], threshold=0.0)
    assert shared == [1, 1]  # once for each image that is asked anything, not for each of seven concepts


def test_only_survivors_cost_masks(checkpoint, images):
    detector = ConceptDetector(checkpoint)
    features = encode(detector, images[:1])
    results = detector.detect(features, [CONCEPTS], threshold=0.0)[0]
    best = sorted((max(i.confidence for i in r.instances) for r in results), reverse=True)
    between = (best[1] + best[2]) / 2
    with calls(checkpoint, "mask_decoder.mask_embedder") as drawn:
        kept = detector.detect(features, [CONCEPTS], threshold=between)[0]
    assert sum(drawn) == sum(bool(r.instances) for r in kept) == 2


@pytest.mark.parametrize("threshold", [1.0, LOW])
def test_many_concepts_leave_numbers_behind_and_no_more(checkpoint, images, monkeypatch, threshold):
    """Whether they are absent or survive: a chunk is gone when the next but one is decoded."""
    detector, chunks = ConceptDetector(checkpoint, pairs_per_chunk=4), []
    decode = detector._decode

    def watched(features, asked):
        assert sum(chunk() is not None for chunk in chunks) <= 1
        decoded = decode(features, asked)
        chunks.append(weakref.ref(decoded.encoded))
        return decoded

    monkeypatch.setattr(detector, "_decode", watched)
    concepts = parse_concepts([*(c.label for c in CONCEPTS), *(f"owl {k}" for k in range(26))])
    (found,) = detector.detect(encode(detector, images[:1]), [concepts], threshold=threshold)
    assert len(chunks) == 8 and len(found) == 32
    assert any(result.instances for result in found) == (threshold < 1)


def test_what_the_masks_of_an_image_share_is_computed_once_for_all_chunks(checkpoint, images):
    detector = ConceptDetector(checkpoint, pairs_per_chunk=1, masks_per_chunk=4)
    name = "mask_decoder.pixel_decoder.conv_layers.1"
    with calls(checkpoint, name) as shared, calls(checkpoint, "mask_decoder.mask_embedder") as drawn:
        detect(detector, images[:2], [CONCEPTS, CONCEPTS], threshold=0.0)
    assert shared == [1, 1]
    assert drawn == [4, 2, 4, 2]  # and masks are drawn together, though their pairs were decoded one by one


def test_padding_changes_no_phrase(checkpoint):
    """However long the phrases are that it is encoded with."""
    together, alone = ConceptDetector(checkpoint), ConceptDetector(checkpoint)
    phrases = ["owl", "a very strange yellow fire truck", "the fox"]
    together.encode_phrases(phrases)
    for phrase in phrases:
        alone.encode_phrases([phrase])
        words = checkpoint.tokenizer([phrase], padding="max_length", max_length=32, return_tensors="pt")
        with torch.inference_mode():
            stock = checkpoint.model.get_text_features(words.input_ids, attention_mask=words.attention_mask)
        assert torch.allclose(together._texts[phrase], alone._texts[phrase], atol=1e-5)
        length = int(words.attention_mask.sum())
        assert torch.allclose(together._texts[phrase], stock.pooler_output[0, :length], atol=1e-5)


def test_a_phrase_longer_than_the_text_encoder_reads(checkpoint, images):
    detector = ConceptDetector(checkpoint)
    long = Concept("long", ("cap " * 31,))
    with calls(checkpoint, "detr_decoder.layers.1.mlp") as decoded, pytest.raises(ConceptError, match="33 tokens"):
        detect(detector, images[:1], [[CONCEPTS[0], long]])
    assert decoded == []
    exactly = detect(detector, images[:1], [[Concept("long", ("cap " * 30,))]])[0][0]
    assert 0 < exactly.presence < 1


# ---------------------------------------------------------------------------------- several phrases, thresholds


def test_a_concept_is_the_union_of_its_phrases(checkpoint, images):
    detector = ConceptDetector(checkpoint)
    features = encode(detector, images)
    words = ["owl", "wolf", "fire truck"]
    apart = detector.detect(features, [parse_concepts(words)] * 3, threshold=LOW)
    union = detector.detect(features, [parse_concepts({"thing": words})] * 3, threshold=LOW)
    for singles, (thing,) in zip(apart, union, strict=True):
        assert thing.label == "thing"
        assert thing.presence == pytest.approx(max(s.presence for s in singles), abs=1e-5)
        assert thing.object_score == pytest.approx(max(s.object_score for s in singles), abs=1e-5)
        everything = sorted((i for s in singles for i in s.instances), key=lambda i: -i.confidence)
        want = without_repeats(everything)
        assert thing.count == len(thing.instances) == len(want)
        for i, j in zip(thing.instances, want, strict=True):
            assert i.phrase == j.phrase and i.confidence == pytest.approx(j.confidence, abs=1e-5)
            single = singles[words.index(i.phrase)]
            assert i.presence == pytest.approx(single.presence, abs=1e-5)  # its own phrase's, not the largest


def test_the_same_phrase_in_two_words_finds_each_object_once(checkpoint, images):
    detector = ConceptDetector(checkpoint)
    features = encode(detector, images[:1])
    alone = detector.detect(features, [parse_concepts({"owl": "owl"})], threshold=LOW)[0][0]
    # to the tokenizer a capital is no difference, so the second phrase finds exactly what the first does
    twice = detector.detect(features, [[Concept("owl", ("owl", "OWL"))]], threshold=LOW)[0][0]
    places = [(i.corner, i.mask) for i in alone.instances if i.mask.size]
    kept = [(i.corner, i.mask) for i in twice.instances if i.mask.size]
    assert 0 < len(kept) <= len(places)
    assert all(max(mask_iou(place, k) for k in kept) >= 0.5 for place in places)
    assert twice.instances[0].confidence == pytest.approx(alone.instances[0].confidence, abs=1e-5)


def instance(phrase: str, confidence: float, x: int, width: int = 10) -> Instance:
    return Instance(confidence, confidence, 1.0, (x, 0, x + width, 10), (x, 0), np.ones((10, width), bool), phrase)


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        # two phrases, one object: the more confident finding stays
        ([instance("a", 0.9, 0), instance("b", 0.8, 1)], [0]),
        # an overlap of one half is enough, less is not: 10 wide, shifted by 3 is 7/13, by 4 is 6/14
        ([instance("a", 0.9, 0), instance("b", 0.8, 3)], [0]),
        ([instance("a", 0.9, 0), instance("b", 0.8, 4)], [0, 1]),
        # one phrase's own findings are the network's business
        ([instance("a", 0.9, 0), instance("a", 0.8, 1)], [0, 1]),
        # what was dropped drops nothing: the third overlaps the second only
        ([instance("a", 0.9, 0), instance("b", 0.8, 3), instance("a", 0.7, 6)], [0, 2]),
        ([], []),
    ],
)
def test_repeats_across_phrases(found, kept):
    assert without_repeats(found) == [found[k] for k in kept]


def test_thresholds_of_concept_run_and_floor(checkpoint, images):
    """What is counted is above the concept's threshold, else the run's; what is stored may reach further down."""
    detector = ConceptDetector(checkpoint)
    features = encode(detector, images[1:2])
    everything = detector.detect(features, [CONCEPTS], threshold=0.0)[0]
    scores = [sorted((i.confidence for i in r.instances), reverse=True) for r in everything]

    def above(k: int, limit: float) -> list[float]:
        return pytest.approx([s for s in scores[k] if s > limit], abs=1e-5)

    def confidences(result: ConceptResult) -> list[float]:
        return [i.confidence for i in result.instances]

    run, own, floor = ((a[3] + a[4]) / 2 for a in (scores[0], scores[1], scores[2]))
    mixed = [CONCEPTS[0], replace(CONCEPTS[1], threshold=own), replace(CONCEPTS[2], threshold=1.0)]
    plain = detector.detect(features, [mixed], threshold=run)[0]
    assert [r.threshold for r in plain] == [run, own, 1.0]
    assert [r.count for r in plain] == [4, 4, 0]
    assert [confidences(r) for r in plain] == [above(0, run), above(1, own), []]

    stored = detector.detect(features, [mixed], threshold=run, floor=floor)[0]
    assert [r.count for r in stored] == [4, 4, 0]
    assert [confidences(r) for r in stored] == [above(0, min(floor, run)), above(1, min(floor, own)), above(2, floor)]
    assert len(stored[2].instances) == 4
    # a floor above the threshold hides nothing that counts
    assert_same(detector.detect(features, [mixed], threshold=run, floor=1.0)[0], plain)


def test_instances_come_by_falling_confidence(checkpoint, images):
    for found in detect(ConceptDetector(checkpoint), images[1:], [CONCEPTS[:3]] * 2, threshold=0.0):
        for result in found:
            confidences = [i.confidence for i in result.instances]
            assert confidences == sorted(confidences, reverse=True)
            assert max(i.object_score for i in result.instances) == pytest.approx(result.object_score)
            assert {i.presence for i in result.instances} == {result.presence}
            assert all(type(v) is float for i in result.instances for v in (i.confidence, i.presence, *i.box))
