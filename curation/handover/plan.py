"""What an export will hold: which samples, labels and concepts, checked before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F

from ..answers import asked_concepts, check_ledger, remembered, state_of
from ..checks import check_known, check_whole, check_words, listed
from ..errors import CurationError
from ..instances import check_field
from ..verified import ATTRIBUTE, verified_path, without_rejected
from .absence import SOURCES, Absence
from .pictures import Instance, Picture, to_instance

if __package__ == "curation.handover":
    from zoo.provenance import ledger_of
else:
    from ...zoo.provenance import ledger_of

_VIDEOS = (
    "SA-Co/VEval has videos: dataset.export(dataset_type=SACoVEvalDataset, gt_field='frames.{0}') of evaluation.saco. "
    "Or make images of the frames, and export these: dataset.to_frames(sample_frames=True).clone()"
)


@dataclass(frozen=True)
class Plan:
    """What will be handed over.

    Attributes:
        view: the samples, with the labels that are wanted.
        label_field: where these are.
        concepts: those of which something is said, in order.
        classes: those of them that are categories of the export.
        splits: sample id → split.
        absence: what is known of these samples, by the order of ``ids``.
        ids: of the samples.
        rejected: sample id → concepts of its labels that a reviewer rejected.
        keep_denied: whether labels of concepts that a person called absent are exported all the same.
    """

    view: fo.DatasetView
    label_field: str
    concepts: tuple[str, ...]
    classes: tuple[str, ...]
    splits: Mapping[str, str]
    absence: Absence
    ids: Sequence[str]
    rejected: Mapping[str, Sequence[str]]
    keep_denied: bool = False

    @cached_property
    def _places(self) -> dict[str, int]:
        return {concept: k for k, concept in enumerate(self.concepts)}

    def names(self) -> list[str]:
        """Of the splits, those for training first."""
        usual = ("", "train", "val", "validation", "test")
        return sorted(set(self.splits.values()), key=lambda name: (name not in usual, (*usual, name).index(name), name))

    def samples(self) -> Iterator[tuple[int, fo.Sample]]:
        """The samples of the view, each with its row in ``absence``."""
        rows = {number: row for row, number in enumerate(self.ids)}
        for sample in self.view.iter_samples():
            yield rows[sample.id], sample

    def picture(self, row: int, sample: fo.Sample) -> Picture:
        """What is handed over of a sample.

        Raises:
            ValueError: a label that is broken, or an image whose size nothing tells.
        """
        metadata = sample.metadata
        if metadata is None or not metadata.width or not metadata.height:
            metadata = fo.ImageMetadata.build_for(sample.filepath)
        size = int(metadata.height), int(metadata.width)
        labels = sample[self.label_field].detections if sample[self.label_field] is not None else []
        kept: list[Instance] = []
        place = self._places
        lost: Counter[str] = Counter()
        for label in labels:
            denied = self.absence.person[row, place[label.label]] and not label.get_attribute_value(ATTRIBUTE, None)
            if denied and not self.keep_denied:
                lost["are of concepts that a person called absent there"] += 1
                continue
            one = to_instance(label, size)
            if one is None:
                lost["have no pixel in their image"] += 1
            else:
                kept.append(one)
        there = {one.label.label for one in kept}
        absence = self.absence
        absent = {
            self.concepts[k]: SOURCES[absence.absent[row, k] - 1]
            for k in np.flatnonzero(absence.absent[row]) if self.concepts[k] not in there
        }  # fmt: skip
        gone = {place[concept] for concept in self.rejected.get(sample.id, ()) if concept not in absent}
        missed = {k for k in np.flatnonzero(absence.there[row]).tolist() if self.concepts[k] not in there}
        some = gone | missed | set(np.flatnonzero(absence.partial[row]).tolist())
        partial = tuple(self.concepts[k] for k in sorted(some))
        split = self.splits[sample.id]
        return Picture(sample.id, sample.filepath, split, size, tuple(kept), absent, partial, lost)


def check_samples(samples: fo.core.collections.SampleCollection, label_field: str) -> str:
    """The field of instances, if these are images that have one.

    Raises:
        CurationError: videos, groups, patches; no samples; no such field, or none of ``Detections``.
    """
    name = samples._root_dataset.name
    bare = label_field.removeprefix("frames.") if isinstance(label_field, str) else label_field
    if samples._is_frames:
        raise CurationError(
            f"This is a view of frames of {name!r}: make images of it, and export these: "
            "dataset.to_frames(sample_frames=True).clone()"
        )
    check_whole(samples)
    if samples.media_type == fo.core.media.GROUP:
        raise CurationError(f"{name!r} has groups: export one slice of them, select_group_slices('…')")
    if samples.media_type == fo.core.media.VIDEO:
        raise CurationError(f"{name!r} holds videos, and images are exported here. {_VIDEOS.format(bare)}")
    if not len(samples):
        raise CurationError(f"There is nothing to export: no samples in this dataset or view of {name!r}")
    if samples.media_type != fo.core.media.IMAGE:
        raise CurationError(f"{name!r} holds {samples.media_type} samples; images are exported here")
    return check_field(samples, label_field, "label_field")


def choose_ledger(samples: fo.core.collections.SampleCollection, label_field: str, said: str | None) -> str | None:
    """The ledger that was said, else the field's own, if it has one.

    Raises:
        CurationError: the one that was said is not there.
    """
    if said is not None:
        return check_ledger(samples, said).name
    book = ledger_of(samples._root_dataset, label_field)
    return None if book is None else book.name


def choose_concepts(
    samples: fo.core.collections.SampleCollection, label_field: str, ledger: str | None, said: Any, labelled_only: bool
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], list[str]]:
    """The concepts: as they were said, else those of the ledger in its order, then other labels by their names.

    Args:
        samples, label_field, ledger: what is exported.
        said: concepts, or None.
        labelled_only: whether those that have no label are no classes, if nothing was said.

    Returns:
        the concepts; those of them that are classes; all that were asked; and notes.

    Raises:
        CurationError: a concept that is neither asked nor labelled; nothing to choose from.
    """
    asked = () if ledger is None else asked_concepts(samples, ledger)
    _, path = samples._get_label_field_path(label_field, "label")
    counts = samples.count_values(path)
    nameless = counts.pop(None, 0)
    notes = [f"{nameless} labels have no name: left out"] if nameless else []
    known = tuple(dict.fromkeys([*asked, *sorted(counts)]))
    if said is None:
        chosen = tuple(concept for concept in known if counts.get(concept)) if labelled_only else known
        if not chosen:
            raise CurationError(f"There is nothing to export: no label in {label_field!r} of these samples")
        left = len(known) - len(chosen)
        notes += [f"{left} concepts have no label here: they are no classes"] if left else []
        return known, chosen, asked, notes
    chosen = tuple(dict.fromkeys(check_words(said, "concepts")))
    if not chosen:
        raise CurationError(f"No concepts were named; there are {listed(known)}")
    for concept in chosen:
        check_known(concept, known, f"concept that was asked, or is labelled in {label_field!r}")
        if concept not in known:  # where nothing is known at all
            raise CurationError(f"{concept!r} is neither asked nor labelled in {label_field!r}")
    others = sum(count for name, count in counts.items() if name not in chosen)
    notes += [f"{others} labels are of other concepts: left out"] if others else []
    return chosen, chosen, asked, notes


def choose_labels(
    samples: fo.core.collections.SampleCollection, label_field: str, concepts: Sequence[str], ids: Sequence[str],
    rejected: bool, masks: str,
) -> tuple[fo.DatasetView, dict[str, list[str]], list[str]]:  # fmt: skip
    """The samples with the labels that are wanted.

    Args:
        samples, label_field, concepts: what is exported.
        ids: of the samples that are.
        rejected: whether labels that a reviewer rejected are, too.
        masks: what becomes of labels without masks: "refuse", "skip" or "box".

    Returns:
        the view; sample id → concepts of its rejected labels; notes.

    Raises:
        CurationError: labels without masks, if they are to be refused.
    """
    chosen = samples if len(ids) == len(samples) else samples.select(list(ids))
    path = verified_path(samples, label_field)
    lost: dict[str, list[str]] = {}
    notes = []
    if not rejected and path in samples.get_field_schema(flat=True):
        names = F(f"{label_field}.detections").filter(F(ATTRIBUTE) == False).map(F("label"))  # noqa: E712
        pairs = zip(*chosen.values(["id", names]), strict=True)
        lost = {number: [name for name in held if name in concepts] for number, held in pairs if held}
        count = sum(map(len, lost.values()))
        notes += [f"{count} labels were rejected by a reviewer: left out"] if count else []
        chosen = without_rejected(chosen, label_field)
    view = chosen.filter_labels(label_field, F("label").is_in(list(concepts)), only_matches=False)
    bare = (F("mask") == None) & (F("mask_path") == None)  # noqa: E711 - an expression
    if masks != "box":
        count = _count(view, label_field, bare)
        if count and masks == "refuse":
            raise CurationError(
                f"{count} labels in {label_field!r} have no mask: give them one (curation.refine.refine_labels, or the "
                "operator \"SAM 3: refine labels\"), or say masks='skip' to leave them out, or masks='box' to fill "
                "their boxes"
            )
        if count:
            view = view.filter_labels(label_field, ~bare, only_matches=False)
            notes.append(f"{count} labels have no mask: left out")
    return view.select_fields(label_field), lost, notes


def _count(view: fo.DatasetView, label_field: str, which: Any) -> int:
    """How many labels are so; kept until the dataset changes, because forms ask with every key."""
    key = ("bare", *state_of(view), label_field)
    return int(remembered(key, lambda: view.sum(F(f"{label_field}.detections").filter(which).length())) or 0)
