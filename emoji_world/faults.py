"""Labels with faults of which we know the place: what an annotator misses, mixes up and makes up.

The truth stays as it is in one field; another gets a copy with the faults. Whoever looks for label errors may look at
the copy only, and is judged by the record of what was planted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import fiftyone as fo
import numpy as np

from .vocabulary import NOUNS, neighbours

#: share of the labels that are left out, get another name, or are added where nothing is
MISSING, WRONG, EXTRA = 0.10, 0.05, 0.05
#: an added label may touch a true one as little as this (IoU of boxes)
_APART = 0.1


@dataclass(frozen=True)
class Faults:
    """What was planted.

    Attributes:
        missing: (sample id, id of the true label that was left out).
        wrong: ids of labels with another name.
        extra: ids of labels of nothing.
    """

    missing: tuple[tuple[str, str], ...]
    wrong: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return dict(missing=len(self.missing), wrong=len(self.wrong), extra=len(self.extra))


def plant_faults(
    dataset: fo.Dataset, into: str = "labels", *, gt_field: str = "ground_truth", missing: float = MISSING,
    wrong: float = WRONG, extra: float = EXTRA, nouns: Collection[str] | None = None, seed: int = 0,
) -> Faults:  # fmt: skip
    """Copy ``gt_field`` to ``into``, with faults.

    Of all labels, a share is left out; a share gets another noun, of a near neighbour half of the time, where there is
    one; and as many labels as a share of all are added: shapes of labels of other images, under their nouns, where
    nothing is labelled.

    Args:
        dataset: a dataset of the emoji world.
        into: a field to write.
        gt_field: the truth.
        missing, wrong, extra: shares of the number of labels.
        nouns: leave the labels of other nouns alone, and give none of theirs; shares are of what is left.
        seed: of the choice.
    """
    rng = np.random.default_rng([seed, 0xFA17])
    samples = list(dataset.select_fields(gt_field))
    held = {s.id: [d.copy() for d in s[gt_field].detections] for s in samples}
    chosen = sorted(NOUNS if nouns is None else nouns)
    truth = [(s.id, k) for s in samples for k, label in enumerate(held[s.id]) if label.label in chosen]
    order = [truth[k] for k in rng.permutation(len(truth))]
    n_missing, n_wrong = round(missing * len(truth)), round(wrong * len(truth))
    left_out, renamed = order[:n_missing], order[n_missing : n_missing + n_wrong]
    originals = {s.id: [d.id for d in s[gt_field].detections] for s in samples}
    gone = tuple((sample, originals[sample][k]) for sample, k in left_out)
    for sample, k in renamed:
        label = held[sample][k]
        label.label = _other(label.label, chosen, rng)
    wrong_ids = tuple(held[sample][k].id for sample, k in renamed)
    added = _extras(held, {s.id: s for s in samples}, round(extra * len(truth)), chosen, rng)
    dropped = set(left_out)
    for sample in samples:
        kept = [d for k, d in enumerate(held[sample.id]) if (sample.id, k) not in dropped]
        held[sample.id] = kept + [label for where, label in added if where == sample.id]
    dataset.add_sample_field(into, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    copies = {sample: fo.Detections(detections=labels) for sample, labels in held.items()}
    dataset.set_values(into, copies, key_field="id")
    return Faults(gone, wrong_ids, tuple(label.id for _, label in added))


def _other(noun: str, nouns: Sequence[str], rng: np.random.Generator) -> str:
    near = [name for name in sorted(neighbours(noun)) if name in nouns]
    pool = near if near and rng.random() < 0.5 else [name for name in nouns if name != noun]
    return pool[int(rng.integers(len(pool)))]


def _extras(
    held: dict[str, list[fo.Detection]], samples: dict[str, fo.Sample], count: int, nouns: Collection[str],
    rng: np.random.Generator,
) -> list[tuple[str, fo.Detection]]:  # fmt: skip
    """(sample id, label): shapes of one image put into another, where they fit."""
    ids = list(held)
    added: list[tuple[str, fo.Detection]] = []
    for _ in range(100 * count):
        if len(added) == count:
            break
        source, target = ids[int(rng.integers(len(ids)))], ids[int(rng.integers(len(ids)))]
        if source == target or not held[source]:
            continue
        label = held[source][int(rng.integers(len(held[source])))].copy()
        here, there = samples[target]["metadata"], samples[source]["metadata"]
        if label.label not in nouns or (here.width, here.height) != (there.width, there.height):
            continue  # a mask fills its box pixel by pixel
        others = [*held[target], *(one for where, one in added if where == target)]
        if all(overlap(label.bounding_box, other.bounding_box) <= _APART for other in others):
            added.append((target, label))
    return added


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """IoU of two boxes ``[x, y, width, height]``."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)
