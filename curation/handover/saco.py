"""SA-Co/Gold, with the pairs that are known: every concept that is labelled in an image, or absent from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .names import keep_apart
from .pictures import Instance, Picture

if __package__ == "curation.handover":
    from evaluation.exporting import write_json
    from evaluation.gold_exporter import PairsFile, SACoGoldExporter
else:
    from ...evaluation.exporting import write_json
    from ...evaluation.gold_exporter import PairsFile, SACoGoldExporter


class PictureExporter(SACoGoldExporter):
    """The exporter of SA-Co/Gold, told the pairs of each image, which it else works out for itself."""

    def setup(self) -> None:
        super().setup()
        keep_apart(self._media)
        self._file = PairsFile({1})

    def export_picture(self, picture: Picture, concepts: Sequence[str]) -> str:
        """Write an image and its pairs, in the order of ``concepts``. Returns the image's file name."""
        _, name = self._media.export(picture.filepath)
        name = picture.filepath if self.export_media is False else name
        held: dict[str, list[Instance]] = {concept: [] for concept in picture.absent}
        for one in picture.instances:
            held.setdefault(one.label.label, []).append(one)
        for concept in (concept for concept in concepts if concept in held):
            pair = dict(
                id=len(self._file.images) + 1, phrase=concept, height=picture.size[0], width=picture.size[1],
                is_instance_exhaustive=[concept not in picture.partial], sample_id=picture.sample_id,
            )  # fmt: skip
            self._file.add(pair, 0, name, [_annotation(one, pair["id"], picture.size) for one in held[concept]])
        return name

    def close(self, *args: Any) -> None:
        write_json(self.labels_path, self._file.document())
        super().close(*args)


class SACoWriter:
    """``data/`` and ``labels.json``; with splits, in a folder each.

    Images about which nothing is known, neither a label nor an absence, have no pair, and are not in the files.

    Args:
        folder: where to.
        splits: their names; [""]: none.
        concepts: the phrases.
        export_media: as everywhere in FiftyOne; False: the files name the images where they are.
    """

    def __init__(self, folder: Path, splits: Iterable[str], concepts: Sequence[str], export_media: Any) -> None:
        self._concepts, self._unknown = concepts, 0
        self._exporters = {
            split: PictureExporter(export_dir=str(folder / split), export_media=export_media) for split in splits
        }
        for exporter in self._exporters.values():
            exporter.setup()

    def add(self, picture: Picture) -> str | None:
        if not picture.instances and not picture.absent:
            self._unknown += 1
            return None
        name = self._exporters[picture.split].export_picture(picture, self._concepts)
        return name if Path(name).is_absolute() else (Path(picture.split) / "data" / name).as_posix()

    def close(self) -> None:
        for exporter in self._exporters.values():
            exporter.close()

    def notes(self) -> list[str]:
        if not self._unknown:
            return []
        return [f"{self._unknown} images have neither a label nor a concept that is known to be absent: no pairs"]

    def measures(self) -> dict[str, float]:
        return {}


def _annotation(one: Instance, pair: int, size: tuple[int, int]) -> dict[str, Any]:
    """As the files have it: boxes and areas relative to the image."""
    x, y, w, h = one.box
    return {
        "segmentation": one.segmentation, "bbox": [x / size[1], y / size[0], w / size[1], h / size[0]],
        "category_id": 1, "image_id": pair, "area": one.area / (size[0] * size[1]),
        "iscrowd": int(bool(one.label.get_attribute_value("iscrowd", default=None))), "label_id": one.label.id,
    }  # fmt: skip
