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
from ..truth import Said, Truth, any_verified, read_truth
from .roles import roles_of

#: at least and at most as many hard negatives of a concept are mined
_LEAST_MINED, _MOST_MINED = 25, 1_000


def known_of(
    samples: fo.core.collections.SampleCollection, answers: Answers, said: Said, ledger: str
) -> Truth | None:
    """What is known, if anything is."""
    if said.gt_field is None and not any_verified(samples, answers.concepts, ledger):
        return None
    return read_truth(samples, answers, said, ledger)


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
        them = "it" if len(none) == 1 else "them"
        way = f"leave {them} out of concepts=…" if named else "ask for other concepts, or of more samples"
        raise CurationError(
            f"There is no positive of {listed(none, 5)} among these {len(answers)} samples: {way}, or say "
            "ratio={'positive': 0, …}"
        )
    kept = tuple(name for name in concepts if name not in none)
    return kept, [f"There is no positive of {listed(none, 5)}: left out"]


def misleading(
    samples: fo.core.collections.SampleCollection, key: str | None, answers: Answers, truth: Truth | None, kin: Kin,
    concepts: Sequence[str], wanted: int,
) -> tuple[list[HardNegative], dict[str, str]]:  # fmt: skip
    """Hard negatives, those of an earlier finding first; and the concepts whose look-alikes could not be mined: why.

    Args:
        samples: whose.
        key: of an earlier finding, which is all then; None: the latest, and what it lacks is mined.
        answers, truth, kin: of all concepts: any may be a rival.
        concepts: which to find them for.
        wanted: how many, of all concepts together.
    """
    found = stored_negatives(samples._root_dataset, key)
    if key is not None:
        return found, {}
    each = min(max(4 * -(-wanted // max(len(concepts), 1)), _LEAST_MINED), _MOST_MINED)
    here = set(answers.ids.tolist())
    held = Counter(one.concept for one in found if one.sample_id in here)
    few = [name for name in concepts if held[name] < each]
    mined = mine(answers, truth, kin, concepts=few, per_concept=each) if few else []
    undecided = dict(zip(kin.open, kin.notes(), strict=True))
    return [*found, *mined], {name: undecided[name] for name in few if name in undecided}


def stored_negatives(dataset: fo.Dataset, key: str | None) -> list[HardNegative]:
    """Those of an earlier finding; ``None``: of the latest, if there is any."""
    known = [key] if key is not None else records.findings(dataset, HARD)
    return list(load_hard_negatives(dataset, known[-1]).found) if known else []
