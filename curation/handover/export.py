"""Handing over a dataset, a view or a subset of it: COCO, YOLO, SA-Co, or crops with alpha."""

from __future__ import annotations

import difflib
import errno
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import fiftyone as fo

from ..checks import listed
from ..errors import CurationError
from ..said import Said
from ..steps import run_steps
from .absence import check_sources, read_absence
from .coco import COCOWriter
from .crops import CropWriter
from .folder import Folder
from .pictures import Picture, Writer
from .plan import Plan, check_samples, choose_concepts, choose_labels, choose_ledger
from .saco import SACoWriter
from .splits import read_splits
from .yolo import YOLOWriter

#: what can be written
FORMATS = ("coco", "yolo", "saco", "crops")
#: what is known to be absent, of every image
NEGATIVES = "negatives.json"
_MASKS = ("refuse", "skip", "box")
#: what no other sample will be spared: the disk is full, or cannot be written
_FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE}
#: settings of one format alone, and what they are if nothing is said
_OWN = {"tolerance": ("yolo", 0.0), "margin": ("crops", 0.0), "square": ("crops", False), "min_size": ("crops", 1)}


@dataclass(frozen=True)
class LeftOut:
    """A sample that could not be exported: which, and why."""

    sample_id: str
    filepath: str
    reason: str


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        export_dir: the folder, absolute.
        format: one of ``FORMATS``.
        concepts: the categories, in their order.
        counts: split → how many ``images``, ``instances`` and ``negatives`` (pairs of an image and a concept that is
            absent); of an export without splits, that of "".
        files: relative to the folder.
        left_out: samples that could not be exported.
        notes: what is not as one might think, a sentence each.
        measures: numbers about what the format loses.
    """

    export_dir: str
    format: str
    concepts: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    files: tuple[str, ...] = field(repr=False)
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)

    def total(self, what: str) -> int:
        """How many ``images``, ``instances`` or ``negatives``, of all splits."""
        return sum(counts[what] for counts in self.counts.values())

    def __str__(self) -> str:
        lines = [f"{self.format} in {self.export_dir}: {len(self.concepts)} concepts"]
        for split, counts in self.counts.items():
            said = ", ".join(f"{count} {what}" for what, count in counts.items())
            lines.append(f"  {split}: {said}" if split else f"  {said}")
        lines += [f"  {name} {value:.4g}" for name, value in self.measures.items()]
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` samples; ``result`` once everything is written."""

    done: int
    total: int
    result: Exported | None = None


def export_subset(
    samples: fo.core.collections.SampleCollection, export_dir: str, format: str = "coco", *, progress: Any = None,
    **settings: Any,
) -> Exported:  # fmt: skip
    """Write what a view shows of a field of instances as a training set that others can read.

    Masks are exact in all formats but YOLO's, whose loss is measured. Labels that a reviewer rejected stay behind, and
    so do those of a concept that a person called absent. Every image of the view is written, whether anything is on it
    or not, and with it what is known to be absent, and by whose word: :func:`reading.import_coco` reads all of it back.

    The folder appears when everything is written, or not at all.

    Args:
        samples: a dataset or view of images; labels that it filters out are not exported.
        export_dir: a new folder.
        format: "coco": ``data/`` and ``labels.json``. "yolo": ``images/``, ``labels/`` and ``dataset.yaml``, as
            Ultralytics trains on. "saco": SA-Co/Gold. "crops": a picture with alpha for each instance, with
            ``manifest.json``.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`export_steps`: ``label_field``, ``concepts``, ``splits``, ``subset``, ``negatives`` and
            so on.

    Raises:
        CurationError: before anything is written, see :func:`export_steps`.
    """
    return run_steps("export_subset", export_steps, (samples, export_dir, format), settings, progress)


def export_steps(
    samples: fo.core.collections.SampleCollection, export_dir: str, format: str = "coco", *,
    label_field: str = "sam3", concepts: Sequence[str] | None = None, ledger: str | None = None,
    subset: str | None = None, splits: Any = None, negatives: bool | str | Sequence[str] = True,
    gt_field: str | None = None, exhaustive: Any = None, gt_labels: Any = None, negatives_field: str | None = None,
    not_exhaustive_field: str | None = None, rejected: bool = False, masks: str = "refuse",
    export_media: bool | str = True, overwrite: bool = False, tolerance: float = 0.0, margin: float = 0.0,
    square: bool = False, min_size: int = 1,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`export_subset`, reporting as it goes.

    Args:
        samples, export_dir, format: see there.
        label_field: the instances, ``Detections``.
        concepts: the categories, in this order. Default: those that were asked, and other labels of the field; for
            YOLO and crops, those of them that have labels.
        ledger: name of the ledger. Default: the label field's, if it has one.
        subset: key of a subset: its samples alone are exported, by its splits, which are in ``<key>_split``.
        splits: a field with names of splits, or tags; True: the field or tags that are likely to be meant; False: none.
        negatives: whether to say what is absent; or by whose word, some of ``person``, ``ground_truth``, ``presence``.
        gt_field, exhaustive, gt_labels, negatives_field, not_exhaustive_field: labels that say what is there, and what
            they mean, see ``evaluation.policy``.
        rejected: whether to export labels that a reviewer rejected, and those of concepts that a person called absent.
        masks: what to do if labels have no mask: "refuse", "skip" them, or fill the "box".
        export_media: True: copies of the images; "symlink": links to them; False: the files name them where they are.
            Crops need none.
        overwrite: replace an earlier export in this folder; files that it did not write stay.
        tolerance: of YOLO: how far, in pixels, corners may be moved so that there are fewer.
        margin: of crops: how much to show around a box, as a share of its longer side.
        square: of crops: whether they are squares, transparent where they reach beyond the image.
        min_size: of crops: instances that are smaller, in pixels of the longer side, are left out.

    Yields:
        first with nothing done, once everything was checked.

    Raises:
        CurationError: settings that are none, no samples or labels, unknown fields, concepts or splits, labels without
            masks, a folder that holds something, nothing said about what is not labelled; or, later, if not a single
            sample could be exported.
    """
    own = dict(tolerance=tolerance, margin=margin, square=square, min_size=min_size)
    _check_settings(format, masks, export_media, own)
    sources = check_sources(negatives)
    said = Said(gt_field, exhaustive, gt_labels, negatives_field, not_exhaustive_field)
    path = check_samples(samples, label_field)
    folder = Folder(export_dir, overwrite)
    held, notes = read_splits(samples, splits, subset)
    whole = samples if len(held) == len(samples) else samples.select(list(held))
    book = choose_ledger(whole, path, ledger)
    lean = format in ("yolo", "crops")
    chosen, classes, asked, said_of = choose_concepts(whole, path, book, concepts, lean)
    absence = read_absence(whole, chosen, asked, book, said, sources, path)
    view, refused, more = choose_labels(whole, path, chosen, list(held), rejected, masks)
    notes += said_of + more
    if not view.count(f"{path}.detections") and (format == "crops" or not absence.absent.any()):
        raise CurationError(f"There is nothing to export: no label in {path!r}, and nothing is known to be absent")
    if sources and not lean and book is None and gt_field is None:
        notes.append(f"Nothing is known to be absent: {path!r} belongs to no ledger, and no gt_field was said")
    ids, files = whole.values(["id", "filepath"])
    folder.check_media(files)
    plan = Plan(view, path, chosen, classes, held, absence, ids, refused, keep_denied=rejected)
    yield Step(0, len(ids))
    yield from _write(plan, folder, format, bool(sources) and format != "crops", export_media, own, notes)


def _write(
    plan: Plan, folder: Folder, format: str, negatives: bool, export_media: Any, own: Mapping[str, Any],
    notes: list[str],
) -> Iterator[Step]:  # fmt: skip
    """Write all of it, in the end into its place."""
    stage = folder.start()
    try:
        writer = _writer(stage, plan, format, negatives, export_media, own)
        counts = {split: Counter(images=0, instances=0, negatives=0) for split in plan.names()}
        known: list[dict[str, Any]] = []
        left: list[LeftOut] = []
        seen: set[str] = set()
        dropped: Counter[str] = Counter()
        unlabelled = 0
        total = len(plan.ids)
        for done, (row, sample) in enumerate(plan.samples(), 1):
            try:
                picture = _picture(plan, row, sample, seen)
                where = writer.add(picture)
            except Exception as error:  # whatever is wrong with one image costs that image
                if isinstance(error, OSError) and error.errno in _FATAL:
                    raise
                left.append(LeftOut(sample.id, sample.filepath, str(error)))
            else:
                counts[picture.split].update(
                    images=1, instances=len(picture.instances), negatives=len(picture.absent) * negatives
                )
                dropped.update(picture.dropped)
                names = {one.label.label for one in picture.instances}
                unlabelled += sum(concept not in names for concept in picture.partial)
                if negatives and where is not None:
                    known.append(_entry(picture, where, writer))
            yield Step(done, total)
        if len(left) == total:
            one = left[0]
            raise CurationError(f"Not a single sample could be exported; the first: {one.filepath}: {one.reason}")
        writer.close()
        if negatives:
            document = dict(concepts=list(plan.concepts), images=known)
            (stage / NEGATIVES).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        notes += [f"{count} labels {why}: left out" for why, count in dropped.most_common()]
        notes += writer.notes()
        if unlabelled and format != "crops":
            notes.append(
                f"{unlabelled} times a concept is there, as far as is known, in an image that has no label of it: not "
                "a negative, but a format without negatives will take it for one"
            )
        if left:
            notes.append(f"{len(left)} samples were left out; the first: {left[0].filepath}: {left[0].reason}")
        plain = {split: dict(count) for split, count in counts.items()}
        about = dict(
            made=datetime.now(timezone.utc).isoformat(timespec="seconds"), format=format,
            dataset=plan.view._root_dataset.name, label_field=plan.label_field, concepts=list(plan.classes),
            counts=plain, measures=writer.measures(), notes=notes, left_out=[asdict(one) for one in left],
        )  # fmt: skip
        files = folder.finish(about)
    finally:
        folder.abandon()
    yield Step(total, total, Exported(
        str(folder.path), format, plan.classes, plain, files, tuple(left), tuple(notes), writer.measures()
    ))  # fmt: skip


def _picture(plan: Plan, row: int, sample: fo.Sample, seen: set[str]) -> Picture:
    """What is handed over of a sample, if its image is there, and comes for the first time."""
    path = os.path.abspath(sample.filepath)  # links to one file are several names, and exported as such
    if not os.path.isfile(path):
        raise ValueError("there is no such file")
    if path in seen:
        raise ValueError("another sample has the same file, and the formats know images by their files")
    seen.add(path)
    return plan.picture(row, sample)


def _entry(picture: Picture, where: str, writer: Writer) -> dict[str, Any]:
    """What is known of an image, for the file of negatives."""
    absent = [dict(concept=concept, source=source) for concept, source in picture.absent.items()]
    entry = dict(file=where, split=picture.split or None, sample_id=picture.sample_id, absent=absent)
    if isinstance(writer, COCOWriter):
        entry["image_id"] = writer.image_id(picture.split)
    return dict(entry, not_exhaustive=list(picture.partial))


def _writer(
    stage: Path, plan: Plan, format: str, negatives: bool, export_media: Any, own: Mapping[str, Any]
) -> Writer:
    splits = plan.names()
    if format == "coco":
        return COCOWriter(stage, splits, plan.classes, export_media, negatives)
    if format == "yolo":
        return YOLOWriter(stage, splits, plan.classes, export_media, own["tolerance"])
    if format == "saco":
        return SACoWriter(stage, splits, plan.classes, export_media)
    return CropWriter(stage, plan.classes, own["margin"], own["square"], own["min_size"])


def _check_settings(format: Any, masks: Any, export_media: Any, own: Mapping[str, Any]) -> None:
    """Refuse what is none of the values that a setting can have."""
    if format not in FORMATS:
        near = difflib.get_close_matches(str(format).casefold(), FORMATS, n=1)
        there = f"did you mean {near[0]!r}?" if near else f"there are {listed(FORMATS)}"
        raise CurationError(f"format={format!r} is none; {there}")
    if masks not in _MASKS:
        raise CurationError(f"masks={masks!r}; want one of {list(_MASKS)}")
    media = (True, "symlink") if format == "yolo" else (True, False, "symlink")
    if not any(export_media is known or (isinstance(known, str) and export_media == known) for known in media):
        why = ": it looks for labels beside images, and links cost no space" if format == "yolo" else ""
        raise CurationError(f"export_media={export_media!r} of {format}; want one of {list(media)}{why}")
    for name, value in own.items():
        owner, default = _OWN[name]
        if format != owner and value != default:
            raise CurationError(f"{name}={value!r} is a setting of {owner}, and {format} is to be written")
    for name in ("tolerance", "margin"):
        if isinstance(own[name], bool) or not isinstance(own[name], (int, float)) or not 0 <= own[name] <= 100:
            raise CurationError(f"{name}={own[name]!r} must be a number from 0 to 100")
    if isinstance(own["min_size"], bool) or not isinstance(own["min_size"], int) or own["min_size"] < 1:
        raise CurationError(f"min_size={own['min_size']!r} must be a whole number of pixels above 0")
