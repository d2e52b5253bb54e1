"""Reading back what was handed over: COCO with its negatives, as a dataset that evaluation and curation understand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fiftyone as fo

from ..errors import CurationError
from .coco import LABELS
from .export import NEGATIVES
from .folder import MARKER

#: the source of negatives whose file names none, such as LVIS's
UNKNOWN = "unknown"


def read_negatives(path: str | Path) -> dict[str, dict[str, str]]:
    """What is absent from the images of an export.

    Args:
        path: the folder of an export, its ``negatives.json``, or a COCO file with ``neg_category_ids``, such as LVIS's.

    Returns:
        image → concept → by whose word (``person``, ``ground_truth`` or ``presence``; "unknown" where the file does not
        say). Images as the file names them; of ``negatives.json``, relative to its folder.

    Raises:
        CurationError: there is no such file, or nothing of the kind in it.
    """
    file = Path(path).expanduser()
    file = file / NEGATIVES if file.is_dir() else file
    document = _read(file)
    images = document.get("images")
    if not isinstance(images, list):
        raise CurationError(f"{file} names no images: want the folder of an export, or its {NEGATIVES}")
    if all("absent" in image for image in images):
        return {image["file"]: {one["concept"]: one["source"] for one in image["absent"]} for image in images}
    if not any("neg_category_ids" in image for image in images):
        raise CurationError(f"{file} says of no image what is absent from it (neg_category_ids)")
    names = {category["id"]: category["name"] for category in document.get("categories", ())}
    return {
        image.get("file_name", str(image["id"])): {names[k]: UNKNOWN for k in image.get("neg_category_ids", ())}
        for image in images
    }


def import_coco(
    export_dir: str | Path, name: str | None = None, *, label_field: str = "ground_truth",
    negatives_field: str = "negatives", not_exhaustive_field: str = "not_exhaustive", split_field: str = "split",
    persistent: bool = False, progress: Any = None,
) -> fo.Dataset:  # fmt: skip
    """A dataset of a COCO export, with what is absent: ``evaluate_concepts(..., negatives_field="negatives")``.

    Args:
        export_dir: its folder, with ``labels.json``, or a folder with one for each split. Other COCO files of that
            layout can be read, too; LVIS's negatives are.
        name: of the dataset.
        label_field: where the instances go; an image without any has empty ``Detections``, because it was looked at.
        negatives_field: where the concepts go that are absent: ``Classifications`` with their ``source``.
        not_exhaustive_field: where those go whose instances are not all labelled: a list of names.
        split_field: where the name of the split goes, which is a tag, too, if there are splits.
        persistent, progress: as everywhere in FiftyOne.

    Raises:
        CurationError: no such folder or files; a dataset of that name is there already.
    """
    root = Path(export_dir).expanduser().resolve()
    _check_coco(root)
    splits = _splits(root)
    if name is not None and fo.dataset_exists(name):
        raise CurationError(f"There is a dataset {name!r} already: choose another name")
    sources = _sources(root)
    dataset = fo.Dataset(name, persistent=persistent)
    try:
        for split, folder in splits.items():
            document = _read(folder / LABELS)
            data = folder / "data"
            added = dataset.add_dir(
                dataset_dir=str(folder), data_path=str(data) if data.is_dir() else {},
                dataset_type=fo.types.COCODetectionDataset, label_types=["segmentations"], include_id=True,
                label_field={"segmentations": label_field, "coco_id": "coco_id"}, tags=split or None, progress=progress,
            )  # fmt: skip
            view = dataset.select(added, ordered=True)
            if split:
                view.set_values(split_field, [split] * len(added))
            _set_absence(view, document, sources.get(split, {}), negatives_field, not_exhaustive_field)
            dataset.default_classes = [category["name"] for category in document.get("categories", ())]
        if label_field not in dataset.get_field_schema():
            dataset.add_sample_field(label_field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
        bare = dataset.exists(label_field, False)
        bare.set_values(label_field, [fo.Detections() for _ in range(len(bare))])
        dataset.add_dynamic_sample_fields()
        dataset.save()
    except BaseException:
        dataset.delete()
        raise
    return dataset


def _set_absence(
    view: fo.DatasetView, document: Mapping[str, Any], sources: Mapping[int, Mapping[str, str]], negatives_field: str,
    not_exhaustive_field: str,
) -> None:  # fmt: skip
    """Both fields, if the file says anything of the kind; ``view``: the samples of its images."""
    images = {image["id"]: image for image in document.get("images", ())}
    if not any("neg_category_ids" in image for image in images.values()):
        return
    names = {category["id"]: category["name"] for category in document.get("categories", ())}
    numbers = view.values("coco_id")
    absent = []
    for number in numbers:
        by = sources.get(number, {})
        found = [names[k] for k in images[number].get("neg_category_ids", ())]
        labels = [fo.Classification(label=concept, source=by.get(concept, UNKNOWN)) for concept in found]
        absent.append(fo.Classifications(classifications=labels))
    view.set_values(negatives_field, absent)
    partial = [[names[k] for k in images[number].get("not_exhaustive_category_ids", ())] for number in numbers]
    if not_exhaustive_field not in view.get_field_schema():
        view._root_dataset.add_sample_field(not_exhaustive_field, fo.ListField, subfield=fo.StringField)
    view.set_values(not_exhaustive_field, partial)


def _splits(root: Path) -> dict[str, Path]:
    """Split → its folder; "" where there are none."""
    if (root / LABELS).is_file():
        return {"": root}
    if not root.is_dir():
        raise CurationError(f"There is no folder {root}")
    found = {folder.name: folder for folder in sorted(root.iterdir()) if (folder / LABELS).is_file()}
    if not found:
        raise CurationError(f"{root} holds no {LABELS}, and no folder of a split does: it is no export as COCO")
    return found


def _check_coco(root: Path) -> None:
    """Refuse an export in another format, which may have files of the same names."""
    mark = root / MARKER
    made = _read(mark).get("format") if mark.is_file() else None
    if made not in (None, "coco"):
        way = {
            "saco": "evaluation.saco.SACoGoldDataset reads it", "yolo": "fo.types.YOLOv5Dataset reads it",
        }.get(made, "its pictures are files like any others")  # fmt: skip
        raise CurationError(f"{root} is an export as {made!r}, and import_coco reads COCO: {way}")


def _sources(root: Path) -> dict[str, dict[int, dict[str, str]]]:
    """Split → image id → concept → source."""
    file = root / NEGATIVES
    found: dict[str, dict[int, dict[str, str]]] = {}
    for image in _read(file)["images"] if file.is_file() else ():
        by = {one["concept"]: one["source"] for one in image["absent"]}
        found.setdefault(image["split"] or "", {})[image["image_id"]] = by
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CurationError(f"There is no {file}") from None
    except (OSError, ValueError) as error:
        raise CurationError(f"{file} cannot be read: {error}") from None
    if not isinstance(held, dict):
        raise CurationError(f"{file} is no such file: it holds {type(held).__name__}")
    return held
