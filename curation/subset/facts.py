"""What speaks for and against samples: what is known of them, and what misleads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from .. import records
from ..answers import Answers
from ..checks import listed
from ..errors import CurationError
from ..hard_negatives import METHOD as HARD
from ..hard_negatives import load_hard_negatives
from ..kin import Kin
from ..negatives import HardNegative, mine
from ..truth import Said, Truth, read_truth
from ..verified import without_rejected
from .roles import roles_of

if __package__ == "curation.subset":
    from zoo.ledger import Ledger
else:
    from ...zoo.ledger import Ledger

#: at least and at most as many hard negatives of a concept are mined
_LEAST_MINED, _MOST_MINED = 25, 1_000


def known_of(
    samples: fo.core.collections.SampleCollection, answers: Answers, said: Said, ledger: str
) -> Truth | None:
    """What is known, if anything is; labels that a reviewer rejected say nothing."""
    if said.gt_field is not None:
        return read_truth(_unrejected(samples, said.gt_field), answers, said, ledger)
    verified = Ledger(ledger).verified
    paths = [path for path in samples.get_field_schema(flat=True) if path.startswith(f"{verified}.")]
    return read_truth(samples, answers, said, ledger) if any(samples.count(path) for path in paths) else None


def with_positives(
    answers: Answers, truth: Truth | None, accepted: NDArray[np.bool_], rejected: NDArray[np.bool_],
    concepts: Sequence[str], named: bool, ratio: Mapping[str, float],
) -> tuple[tuple[str, ...], list[str]]:  # fmt: skip
    """The concepts that can be chosen for, and a word about the others; ``named``: whether somebody named them."""
    roles = roles_of(answers, truth, accepted, rejected, (), concepts)
    there = roles.positive.any(axis=0)
    none = [name for k, name in enumerate(concepts) if not there[k]]
    if not none or not ratio["positive"]:
        return tuple(concepts), []
    if named or len(none) == len(concepts):
        raise CurationError(
            f"There is no positive of {listed(none, 5)} among these {len(answers)} samples: leave "
            f"{'it' if len(none) == 1 else 'them'} out of concepts=…, or say ratio={{'positive': 0, …}}"
        )
    kept = tuple(name for name in concepts if name not in none)
    return kept, [f"There is no positive of {listed(none, 5)}: left out"]


def misleading(
    samples: fo.core.collections.SampleCollection, key: str | None, answers: Answers, truth: Truth | None, kin: Kin,
    concepts: Sequence[str], wanted: int,
) -> tuple[list[HardNegative], list[str]]:  # fmt: skip
    """Hard negatives, those of an earlier finding first; and why some could not be mined.

    Args:
        samples: whose.
        key: of an earlier finding, which is all then; None: the latest, and what it lacks is mined.
        answers, truth, kin: of all concepts: any may be a rival.
        concepts: which to find them for.
        wanted: how many, of all concepts together.
    """
    if key is not None:
        return list(load_hard_negatives(samples._root_dataset, key).found), []
    known = records.findings(samples._root_dataset, HARD)
    found = list(load_hard_negatives(samples._root_dataset, known[-1]).found) if known else []
    each = min(max(4 * -(-wanted // max(len(concepts), 1)), _LEAST_MINED), _MOST_MINED)
    here = set(answers.ids.tolist())
    held = Counter(one.concept for one in found if one.sample_id in here)
    few = [name for name in concepts if held[name] < each]
    mined = mine(answers, truth, kin, concepts=few, per_concept=each) if few else []
    return [*found, *mined], [note for note in kin.notes() if any(note.startswith(repr(name)) for name in few)]


def _unrejected(
    samples: fo.core.collections.SampleCollection, gt_field: str | None
) -> fo.core.collections.SampleCollection:
    if gt_field is None or not isinstance(gt_field, str) or not samples.has_field(gt_field):
        return samples  # whoever reads it says what is wrong
    held = samples.get_field(gt_field)
    lists = getattr(held, "document_type", None) in (fo.Detections, fo.Classifications, fo.Polylines)
    return without_rejected(samples, gt_field) if lists else samples
