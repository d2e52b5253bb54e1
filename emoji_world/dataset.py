"""The demo dataset: scenes as files, with exact ground truth, in FiftyOne."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F
from PIL import Image

from .scenes import Scene, render, sample_scene
from .vocabulary import NOUNS

#: what the demo asks: look-alikes, namesakes, colours
CONCEPTS: tuple[str, ...] = (
    "dog",
    "fox",
    "wolf",
    "mouse",
    "computer mouse",
    "bat",
    "cricket bat",
    "apple",
    "cap",
    "red cap",
    "blue cap",
    "red fire truck",
)
#: what these are in the ground truth, whose labels are nouns and whose colours are attributes: for ``gt_labels=``
GT_LABELS = {
    f"{colour} {noun}": (F("label") == noun) & (F("colour") == colour)
    for colour, noun in (("red", "cap"), ("blue", "cap"), ("red", "fire truck"))
}
#: what they mean in the noun graph of ``curation.nouns``: for ``senses=``
SENSES = {
    "dog": "n02084071", "fox": "n02118333", "wolf": "n02114100", "mouse": "n02330245", "bat": "n02139199",
    "apple": "n07739125", "cap": "n02954340",
}  # fmt: skip
#: scenes of the demo have seeds below every other use of the world
_SEEDS = range(0, 5000)


def build_dataset(name: str, folder: Path, count: int = 60, persistent: bool = True) -> fo.Dataset:
    """Draw ``count`` scenes in which something of :data:`CONCEPTS` or a look-alike stands, into ``folder``.

    Files that are there already are kept, a dataset of that name is replaced. Ground truth: the instances with
    their masks in ``ground_truth`` (labels are nouns, the colour is an attribute), the phrases that are true in
    ``phrases``. Everything in a scene is labelled, so what is not labelled is absent.
    """
    return build_scenes(name, folder, _chosen(count), persistent)


def build_scenes(name: str, folder: Path, seeds: Iterable[int], persistent: bool = False) -> fo.Dataset:
    """As :func:`build_dataset`, of scenes by their seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for seed in seeds:
        scene = sample_scene(seed)
        path = folder / f"scene-{seed:05d}.jpg"
        image, masks = render(scene)
        if not path.is_file():
            part = path.with_suffix(".part")  # a cut in the middle must not leave half an image behind
            Image.fromarray(image).save(part, format="JPEG", quality=92)
            part.rename(path)
        samples.append(_sample(path, scene, masks))
    dataset = fo.Dataset(name, persistent=persistent, overwrite=True)
    dataset.add_samples(samples, progress=False)
    dataset.default_classes = list(CONCEPTS)
    dataset.info = {"exhaustive": list(NOUNS)}
    dataset.save()
    return dataset


def _chosen(count: int) -> list[int]:
    """Scenes by rising seed, each adding to the demo concept that is rarest so far."""
    wanted = {c: 0 for c in CONCEPTS}
    chosen: list[int] = []
    spare: list[int] = []
    for seed in _SEEDS:
        scene = sample_scene(seed)
        if not 2 <= len(scene.objects) <= 8:
            continue
        here = [c for c in CONCEPTS if scene.instances(c)]
        if here and min(wanted[c] for c in here) < max(1, count // 6):
            chosen.append(seed)
            for concept in here:
                wanted[concept] += 1
        elif len(spare) < count // 5:
            spare.append(seed)
        if len(chosen) + len(spare) >= count and len(chosen) >= count - count // 5:
            break
    return sorted((chosen + spare)[:count])


def _sample(path: Path, scene: Scene, masks: np.ndarray) -> fo.Sample:
    height, width = masks.shape[1:]
    detections = []
    for placed, mask in zip(scene.objects, masks, strict=True):
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x0, x1, y0, y1 = int(xs[0]), int(xs[-1]) + 1, int(ys[0]), int(ys[-1]) + 1
        box = [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]
        detections.append(
            fo.Detection(label=placed.thing.noun, bounding_box=box, mask=mask[y0:y1, x0:x1], colour=placed.thing.colour)
        )
    phrases = sorted({p for o in scene.objects for p in (o.thing.noun, o.thing.name)})
    metadata = fo.ImageMetadata(width=width, height=height, num_channels=3, mime_type="image/jpeg")
    return fo.Sample(
        filepath=str(path.resolve()),
        metadata=metadata,
        ground_truth=fo.Detections(detections=detections),
        phrases=phrases,
    )
