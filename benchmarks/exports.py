"""What comes through an export: ``python -m benchmarks.exports [--scenes N] [--json FILE]``.

Scenes of the emoji world, labelled by the small checkpoint, are exported in every format and read back, by FiftyOne's
importers, and by pycocotools:

``exact``
    the share of instances whose label and every pixel of whose mask come back, each as one instance of its image
``iou_mean``, ``iou_min``
    of the masks with what comes back for them; YOLO's polygons are filled as Ultralytics fills them
``negatives``
    the share of pairs of image and concept, known to be absent, that come back; and whether no others do
``seconds``
    of the export, on the clock

``FiftyOne's`` are the same formats by ``dataset.export()``, its defaults, with masks.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.plugin import use_own_plugin

from .measuring import described, machine, verdict

#: scenes that nothing was trained on
FIRST_SEED = 720_000
TARGETS = {"coco": 1.0, "saco": 1.0, "crops": 1.0, "yolo": 0.99}

#: image → label and mask of each instance
Masks = Mapping[str, "list[tuple[str, Any]]"]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports", description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--scenes", type=int, default=120, help="of the emoji world")
    args = parser.parse_args(argv)
    use_own_plugin()  # before FiftyOne is imported
    report = dict(machine=machine(), **exports(args.scenes))
    print(described(report["machine"]))
    print(said(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def exports(scenes: int = 120) -> dict[str, Any]:
    """Export and read back; ``formats``: format → the numbers at the top of this module."""
    import fiftyone as fo

    from emoji_world.dataset import CONCEPTS, build_scenes
    from zoo.source import load_model

    with tempfile.TemporaryDirectory(prefix="exports-") as folder:
        root = Path(folder)
        name = fo.core.dataset.make_unique_dataset_name("exports-benchmark")
        dataset = build_scenes(name, root / "scenes", range(FIRST_SEED, FIRST_SEED + scenes))
        try:
            model = load_model("concepts/sam3-tiny-image", classes=list(CONCEPTS))
            dataset.apply_model(model, label_field="sam3", batch_size=8, progress=False)
            before = _masks(dataset, "sam3")
            found = {
                label: run(dataset, root / label.replace(" ", "-"), before) for label, run in _FORMATS.items()
            }
        finally:
            dataset.delete()
        instances = [mask for held in before.values() for _, mask in held]
    return dict(scenes=scenes, instances=len(instances), formats=found)


def said(found: Mapping[str, Any]) -> str:
    """:func:`exports` for people."""
    what = f"{found['scenes']} scenes, {found['instances']} instances"
    lines = [f"\n{what:<30}   exact   IoU mean      min  negatives  seconds"]
    for label, row in found["formats"].items():
        absent = f"{row['negatives']:9.1%}" if row.get("negatives") is not None else "        –"
        met = verdict(row["iou_mean"] if label == "yolo" else row["exact"], TARGETS.get(label), "", at_least=True)
        lines.append(
            f"{label:<30}  {row['exact']:6.1%}  {row['iou_mean']:9.4f}  {row['iou_min']:7.4f}  {absent}  "
            f"{row['seconds']:7.2f}{met}"
        )
    return "\n".join(lines)


# ------------------------------------------------------------------------------------ what is exported, and read back


def _coco(dataset: Any, folder: Path, before: Masks) -> dict[str, Any]:
    from pycocotools.coco import COCO

    from curation.handover import import_coco

    spent = _timed(lambda: _ours(dataset, folder, "coco"))
    again = import_coco(folder, progress=False)
    numbers = _compared(before, _masks(again, "ground_truth")) | spent
    absent = {(Path(s.filepath).name, one.label) for s in again for one in s.negatives.classifications}
    again.delete()
    coco = COCO(str(folder / "labels.json"))
    official = {
        image["file_name"]: [
            (coco.cats[entry["category_id"]]["name"], coco.annToMask(entry).astype(bool))
            for entry in coco.imgToAnns[number]
        ]
        for number, image in coco.imgs.items()
    }
    numbers["exact"] = min(numbers["exact"], _compared(before, official)["exact"])
    return numbers | dict(negatives=_negatives(dataset, absent))


def _saco(dataset: Any, folder: Path, before: Masks) -> dict[str, Any]:
    import fiftyone as fo

    from evaluation.saco import SACoGoldDataset

    spent = _timed(lambda: _ours(dataset, folder, "saco"))
    again = fo.Dataset.from_dir(dataset_dir=str(folder), dataset_type=SACoGoldDataset, progress=False)
    numbers = _compared(before, _masks(again, "ground_truth")) | spent
    absent = {(Path(s.filepath).name, concept) for s in again for concept in s.negatives}
    again.delete()
    return numbers | dict(negatives=_negatives(dataset, absent))


def _crops(dataset: Any, folder: Path, before: Masks) -> dict[str, Any]:
    import numpy as np
    from PIL import Image

    spent = _timed(lambda: _ours(dataset, folder, "crops"))
    again: dict[str, list[tuple[str, Any]]] = {}
    for row in json.loads((folder / "manifest.json").read_text())["crops"]:
        width, height = row["image_size"]
        x, y, w, h = row["crop"]
        mask = np.zeros((height, width), bool)
        mask[y : y + h, x : x + w] = np.array(Image.open(folder / row["file"]))[..., 3] > 0
        again.setdefault(Path(row["image"]).name, []).append((row["concept"], mask))
    return _compared(before, again) | spent


def _yolo(dataset: Any, folder: Path, before: Masks) -> dict[str, Any]:
    from curation.handover import read_negatives

    spent = _timed(lambda: _ours(dataset, folder, "yolo"))
    absent = {(Path(file).name, concept) for file, held in read_negatives(folder).items() for concept in held}
    return _compared(before, _rows(folder, "train", before)) | spent | dict(negatives=_negatives(dataset, absent))


def _their_coco(dataset: Any, folder: Path, before: Masks) -> dict[str, Any]:
    import fiftyone as fo

    kind = fo.types.COCODetectionDataset
    spent = _timed(lambda: dataset.export(
        export_dir=str(folder), dataset_type=kind, label_field="sam3", extra_attrs=False, progress=False
    ))  # fmt: skip
    again = fo.Dataset.from_dir(
        dataset_dir=str(folder), dataset_type=kind, label_types="segmentations", label_field="them", progress=False
    )
    numbers = _compared(before, _masks(again, "them")) | spent
    again.delete()
    return numbers


def _their_yolo(dataset: Any, folder: Path, before: Masks) -> dict[str, Any]:
    import fiftyone as fo

    spent = _timed(lambda: dataset.export(
        export_dir=str(folder), dataset_type=fo.types.YOLOv5Dataset, label_field="sam3", split="train", use_masks=True,
        classes=dataset.distinct("sam3.detections.label"), progress=False,
    ))  # fmt: skip
    return _compared(before, _rows(folder, "train", before)) | spent


_FORMATS: dict[str, Callable[[Any, Path, Masks], dict[str, Any]]] = {
    "coco": _coco, "saco": _saco, "crops": _crops, "yolo": _yolo, "FiftyOne's coco": _their_coco,
    "FiftyOne's yolo": _their_yolo,
}  # fmt: skip


# ------------------------------------------------------------------------------------ how


def _ours(dataset: Any, folder: Path, format: str) -> Any:
    from curation.handover import export_subset

    return export_subset(dataset, str(folder), format, progress=False)


def _timed(run: Callable[[], Any]) -> dict[str, float]:
    start = time.perf_counter()
    run()
    return dict(seconds=time.perf_counter() - start)


def _masks(dataset: Any, field: str) -> Masks:
    """Every mask in its image, as ``evaluation`` places it."""
    from pycocotools import mask as coco_mask

    from evaluation.shapes import to_rle

    found: dict[str, list[tuple[str, Any]]] = {}
    for sample in dataset:
        size = sample.metadata.height, sample.metadata.width
        labels = sample[field].detections if sample[field] is not None else []
        found[Path(sample.filepath).name] = [
            (label.label, coco_mask.decode(to_rle(label, size)).astype(bool)) for label in labels if label.mask.size
        ]
    return found


def _rows(folder: Path, split: str, before: Masks) -> Masks:
    """What Ultralytics makes of YOLO's rows: decimals cut off, and filled by OpenCV."""
    import cv2
    import numpy as np
    import yaml
    from PIL import Image

    names = yaml.safe_load((folder / "dataset.yaml").read_text())["names"]
    found: dict[str, list[tuple[str, Any]]] = {}
    for image in before:
        width, height = Image.open(folder / "images" / split / image).size
        for row in (folder / "labels" / split / image).with_suffix(".txt").read_text().splitlines():
            number, *values = row.split()
            corners = np.array(values, dtype=np.float64).reshape(-1, 2) * (width, height)
            mask = cv2.fillPoly(np.zeros((height, width), np.uint8), [corners.astype(np.int32)], 1).astype(bool)
            found.setdefault(image, []).append((names[int(number)], mask))
    return found


def _compared(before: Masks, after: Masks) -> dict[str, float]:
    """``exact``, ``iou_mean`` and ``iou_min``: each instance with the best of its label, which then is taken."""
    import numpy as np

    ious = []
    strange = 0
    for image, held in before.items():
        left = list(after.get(image, ()))
        for name, mask in held:
            same = [(k, other) for k, (label, other) in enumerate(left) if label == name]
            iou, k = max(((_iou(mask, other), k) for k, other in same), default=(0.0, -1))
            ious.append(iou)
            if k >= 0:
                left.pop(k)
        strange += len(left)
    exact = sum(iou == 1 for iou in ious) / max(len(ious), 1)
    return dict(exact=exact, iou_mean=float(np.mean(ious)), iou_min=float(np.min(ious)), strange=strange)


def _iou(one: Any, other: Any) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def _negatives(dataset: Any, absent: set[tuple[str, str]]) -> float:
    """The share of what is absent that came back; 0 if something did that is not."""
    from curation.answers import read_answers

    answers = read_answers(dataset, "sam3", kinds=())
    names = [Path(path).name for path in dataset.values("filepath")]
    labelled = {
        (name, label) for name, held in zip(names, dataset.values("sam3.detections.label"), strict=True)
        for label in held or ()
    }  # fmt: skip
    low = answers.asked & ~answers.present
    wanted = {
        (name, concept) for row, name in enumerate(names) for k, concept in enumerate(answers.concepts)
        if low[row, k] and (name, concept) not in labelled
    }  # fmt: skip
    return 0.0 if absent - wanted else len(absent) / max(len(wanted), 1)


if __name__ == "__main__":
    main()
