"""Embeddings: what is pooled, FiftyOne's own way to ask for them, those of instances, and what a bad image costs."""

from __future__ import annotations

from collections.abc import Iterator

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import media
from support.ledgers import A, B, rectangle

from curation.embeddings import embed_images, embed_instances, embedding_steps
from curation.errors import CurationError
from emoji_world.dataset import build_scenes
from zoo.engine.detector import ConceptDetector
from zoo.engine.embeddings import cell_weights, grid_of
from zoo.engine.embeddings import embed_images as pool_images
from zoo.engine.errors import ImageError
from zoo.engine.images import read_image, to_square
from zoo.source import load_model

WIDTH = 128  # of the tiny checkpoint
SEEDS = range(700_000, 700_012)
quiet = dict(progress=False, checkpoint="concepts/sam3-tiny")


@pytest.fixture(scope="module", autouse=True)
def known_checkpoint() -> None:
    """The one that ships, by its folder."""
    from zoo.engine.checkpoint import TINY

    quiet["checkpoint"] = str(TINY)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[fo.Dataset]:
    dataset = build_scenes("embeddings", tmp_path_factory.mktemp("scenes"), SEEDS)
    yield dataset
    dataset.delete()


@pytest.fixture
def scenes(made) -> Iterator[fo.Dataset]:
    dataset = made.clone()
    yield dataset
    dataset.delete()


@pytest.fixture(scope="module")
def model():
    return load_model("concepts/sam3-tiny-image")


@pytest.fixture
def broken(scenes, tmp_path) -> fo.Dataset:
    """The scenes, and in their midst a file that is no image."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    sample = scenes.skip(2).first()
    sample.filepath = str(bad)
    sample.save()
    return scenes


# --- pooling ---


@settings(max_examples=60, deadline=None)
@given(
    x=st.floats(-0.2, 1.1), y=st.floats(-0.2, 1.1), w=st.floats(0, 1.3), h=st.floats(0, 1.3), masked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_whatever_the_box_the_shares_of_its_cells_add_up(x, y, w, h, masked, seed):
    mask = np.random.default_rng(seed).random((9, 13)) < 0.3 if masked else None
    weights = cell_weights([[x, y, w, h]], [mask], (14, 14))
    assert weights.shape == (1, 196) and weights.min() >= 0 and weights.sum() == pytest.approx(1, abs=1e-4)


def test_cells_count_as_far_as_they_are_covered():
    half = np.zeros((8, 8), bool)
    half[:, :4] = True
    weights = cell_weights([[0, 0, 0.5, 0.5], [0, 0, 1, 1], [0, 0, 0.75, 1]], [None, half, None], (2, 2))
    assert weights[0].tolist() == [1, 0, 0, 0]
    assert weights[1].tolist() == [0.5, 0, 0.5, 0]
    assert weights[2] == pytest.approx([1 / 3, 1 / 6, 1 / 3, 1 / 6])
    assert cell_weights([], [], (2, 2)).shape == (0, 4)


def test_an_image_is_the_deviation_of_its_cells(made, model):
    detector: ConceptDetector = model.detector
    images = [read_image(path) for path in made.values("filepath")[:3]]
    squares = torch.stack([to_square(image, detector.checkpoint.side) for image in images])
    features = detector.encode_images(squares, [image.shape[:2] for image in images])
    found = pool_images(features)
    assert found.shape == (3, WIDTH) and found.dtype == torch.float32 and grid_of(features) == (14, 14)
    for row in range(3):
        deviation = features.levels[-1][row].flatten(1).std(1)
        expected = deviation - deviation.mean()
        assert torch.allclose(found[row], expected / expected.norm(), atol=1e-5)


# --- as FiftyOne asks ---


@pytest.mark.parametrize("batch_size", [None, 1, 5])
def test_compute_embeddings_without_concepts(scenes, model, batch_size):
    scenes.compute_embeddings(model, "sam3_embedding", batch_size=batch_size, num_workers=0, progress=False)
    rows = np.stack(scenes.values("sam3_embedding"))
    assert rows.shape == (len(SEEDS), WIDTH) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert not scenes.has_field("sam3_presence") and scenes.list_runs() == []  # nothing was asked
    assert isinstance(scenes.get_field("sam3_embedding"), fo.VectorField)
    alone = np.stack([model.embed(read_image(path)) for path in scenes.values("filepath")])
    assert np.allclose(rows, alone, atol=1e-3)


def test_an_array_where_no_field_is_named(scenes, model):
    rows = scenes.compute_embeddings(model, num_workers=0, progress=False)
    assert rows.shape == (len(SEEDS), WIDTH)


def test_in_worker_processes(scenes, model):
    here, there = (
        scenes.compute_embeddings(model, batch_size=4, num_workers=n, progress=False) for n in (0, 2)
    )
    assert np.array_equal(here, there)


def test_a_model_with_concepts_embeds_the_same(scenes, model):
    asking = load_model("concepts/sam3-tiny-image", classes=["cap"], tiles=dict(tile_size=500))
    here, there = (scenes.limit(3).compute_embeddings(m, num_workers=0, progress=False) for m in (model, asking))
    assert np.allclose(here, there, atol=1e-4)
    assert asking.has_embeddings


def test_patches(scenes, model):
    view = scenes.limit(3)
    view.compute_patch_embeddings(model, "ground_truth", "vector", num_workers=0, progress=False)
    for sample in view:
        image = read_image(sample.filepath)
        for label in sample.ground_truth.detections:
            assert label.vector.shape == (WIDTH,)
        x, y, w, h = label.bounding_box
        height, width = image.shape[:2]
        part = image[round(y * height) : round((y + h) * height), round(x * width) : round((x + w) * width)]
        assert np.dot(label.vector, model.embed(part)) > 0.98  # FiftyOne rounds to pixels otherwise


def test_frames_of_videos(model, tmp_path, new_dataset):
    path = media.video(tmp_path / "clip.mp4", ["red", "blue", "white"])
    dataset = new_dataset([fo.Sample(filepath=str(path))])
    dataset.compute_embeddings(model, "vector", batch_size=2, progress=False)
    rows = np.stack(dataset.values("frames.vector")[0])
    assert rows.shape == (3, WIDTH) and rows[0] @ rows[1] < 0.999


def test_one_bad_image_costs_itself(broken, model):
    broken.compute_embeddings(model, "sam3_embedding", batch_size=4, num_workers=0, progress=False)
    missing = [k for k, vector in enumerate(broken.values("sam3_embedding")) if vector is None]
    assert missing == [2]
    assert model.embed_all([(None, (0, 0), "no image")]) == [None]


def test_what_cannot_be_embedded_at_all(model, monkeypatch):
    def fails(*_, **__):
        raise MemoryError("too large")

    monkeypatch.setattr(model.detector, "encode_images", fails)
    with pytest.raises(ImageError, match="MemoryError: too large"):
        model.embed(np.zeros((4, 4, 3), np.uint8))


def test_near_duplicates_are_nearer_than_anything_else(made, model, tmp_path):
    from curation.subset.settings import DUPLICATE

    images = [Image.open(path) for path in made.values("filepath")]
    copies = []
    for k, image in enumerate(images):
        w, h = image.size
        inner = image.crop((w // 50, h // 50, w - w // 50, h - h // 50)).resize((w // 2, h // 2))
        inner.save(tmp_path / f"{k}.jpg", quality=60)
        copies.append(read_image(tmp_path / f"{k}.jpg"))
    first = model.embed_all([np.array(image) for image in images])
    second = model.embed_all(copies)
    alike = first @ first.T - 2 * np.eye(len(first))
    cosines = np.einsum("nd,nd->n", first, second)
    assert alike.max() < DUPLICATE < np.median(cosines) and cosines.min() > alike.max()


# --- step by step ---


def test_images(scenes, model):
    found = embed_images(scenes, **quiet)
    assert (found.what, found.field, found.vectors, found.width) == ("images", "sam3_embedding", len(SEEDS), WIDTH)
    rows = np.stack(scenes.values("sam3_embedding"))
    same = scenes.compute_embeddings(model, num_workers=0, progress=False)
    assert np.allclose(rows, same, atol=1e-3) and str(found).startswith("12 images embedded in sam3_embedding, 128")


def test_instances(scenes):
    found = embed_instances(scenes, "ground_truth", **quiet)
    labels = [label for some in scenes.values("ground_truth.detections") for label in some]
    assert (found.field, found.vectors) == ("ground_truth.detections.embedding", len(labels))
    rows = np.stack([label.embedding for label in labels])
    assert rows.dtype == np.float32 and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert isinstance(scenes.get_field("ground_truth.detections.embedding"), fo.VectorField)
    names = np.array([label.label for label in labels])
    same = names[:, None] == names
    alike = rows @ rows.T
    np.fill_diagonal(same, False)
    assert alike[same].mean() > alike[~same].mean() + 0.2
    nearest = (alike - 2 * np.eye(len(rows))).argmax(1)
    often = [k for k in range(len(rows)) if same[k].any()]
    assert np.mean([names[nearest[k]] == names[k] for k in often]) > 0.8


def test_an_instance_is_pooled_below_its_own_mask(scenes):
    """Two labels with one box, and masks of its halves, are not one to the network."""
    sample = scenes.first()
    left = np.zeros((20, 20), bool)
    left[:, :10] = True
    box = [0.1, 0.1, 0.8, 0.8]
    sample["halves"] = fo.Detections(detections=[
        fo.Detection(label="a", bounding_box=box, mask=left), fo.Detection(label="b", bounding_box=box, mask=~left),
        fo.Detection(label="c", bounding_box=box),
    ])  # fmt: skip
    sample.save()
    embed_instances(scenes, "halves", "vector", **quiet)
    a, b, c = (label.vector for label in scenes.first().halves.detections)
    assert a @ b < min(a @ c, b @ c) < 0.9999


def test_a_bad_image_costs_itself_and_is_recorded_until_it_is_mended(broken):
    path = broken.values("filepath")[3]
    for embed, field in (
        (embed_images, "sam3_embedding"), (lambda d, **s: embed_instances(d, "ground_truth", **s), None),
    ):  # fmt: skip
        found = embed(broken, **quiet)
        bad = broken.values("id")[2]
        assert list(found.failed) == [bad] and "not an image" in found.failed[bad]
        assert broken.values("sam3_error")[2] == f"{found.field}: {found.failed[bad]}"
        assert [k for k, e in enumerate(broken.values("sam3_error")) if e] == [2]
        if field:
            assert [k for k, vector in enumerate(broken.values(field)) if vector is None] == [2]
    sample = broken[bad]
    sample.filepath = path
    sample.save()
    again = embed_instances(broken, "ground_truth", skip_existing=True, **quiet)
    assert not again.failed and broken.values("sam3_error")[2] is None
    assert broken.count("ground_truth.detections.embedding") == broken.count("ground_truth.detections")


def test_what_has_a_vector_is_left_out_if_wanted(scenes):
    embed_images(scenes.limit(5), **quiet)
    steps = list(embedding_steps(scenes, skip_existing=True, checkpoint=quiet["checkpoint"], batch_size=4))
    assert [(s.done, s.total) for s in steps] == [(0, 7), (4, 7), (7, 7), (7, 7)]
    assert steps[-1].result.vectors == 12
    scenes.set_values("short", [np.zeros(3, np.float32)] * 5 + [None] * 7)
    with pytest.raises(CurationError, match="'short' holds vectors of 3 numbers, and this checkpoint makes 128"):
        embed_images(scenes, "short", skip_existing=True, **quiet)


def test_the_brain_takes_them(scenes):
    embed_images(scenes, **quiet)
    embed_instances(scenes, "ground_truth", **quiet)
    index = fob.compute_similarity(
        scenes, patches_field="ground_truth", embeddings="embedding", backend="sklearn", brain_key="alike"
    )
    label = scenes.first().ground_truth.detections[0]
    assert index.total_index_size == scenes.count("ground_truth.detections")
    nearest = scenes.to_patches("ground_truth").sort_by_similarity(label.id, k=3, brain_key="alike")
    assert nearest.first().ground_truth.id == label.id and len(nearest) == 3
    images = fob.compute_similarity(scenes, embeddings="sam3_embedding", backend="sklearn", brain_key="images")
    assert scenes.sort_by_similarity(scenes.first().id, k=2, brain_key="images").first().id == scenes.first().id
    assert images.total_index_size == len(SEEDS)
    plot = fob.compute_visualization(scenes, embeddings="sam3_embedding", method="pca", brain_key="plot")
    assert plot.points.shape == (len(SEEDS), 2)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (dict(what="labels"), "'labels' is no thing to embed"),
        (dict(batch_size=0), "batch_size=0 must be"),
        (dict(embeddings_field="filepath"), "embeddings_field='filepath' holds StringField, not vectors"),
        (dict(embeddings_field="two words"), "embeddings_field='two words' must be a plain word"),
        (dict(what="instances", label_field="nope"), "label_field 'nope' is not a field"),
        (dict(what="instances", label_field="phrases"), "label_field 'phrases' holds ListField"),
        (dict(what="instances", label_field="ground_truth", embeddings_field="mask"), "'mask' holds ArrayField"),
        (dict(what="instances", label_field="ground_truth", embeddings_field="colour"), "'colour' holds str"),
    ],
)
def test_what_is_wrong_is_said_first(made, said, message):
    before = set(made.get_field_schema(flat=True))
    with pytest.raises(CurationError, match=message):
        next(embedding_steps(made, **said))
    assert set(made.get_field_schema(flat=True)) == before


def test_nothing_to_embed(made, new_dataset, tmp_path):
    with pytest.raises(CurationError, match="There is nothing to embed: no images"):
        embed_images(made.limit(0))
    path = media.video(tmp_path / "clip.mp4", ["red"])
    with pytest.raises(CurationError, match="holds video samples; images are needed here"):
        embed_images(new_dataset([fo.Sample(filepath=str(path))]))
    with pytest.raises(CurationError, match="checkpoint folder"):
        embed_images(made, checkpoint="/nowhere/at/all")


def test_labels_without_a_mask_or_an_image(new_dataset):
    dataset = new_dataset([fo.Sample(filepath="/nowhere/0.png", sam3=fo.Detections(
        detections=[rectangle("kite", A, mask=False), rectangle("kite", B)]
    ))])  # fmt: skip
    found = embed_instances(dataset, **quiet)
    assert found.vectors == 0 and len(found.failed) == 1
