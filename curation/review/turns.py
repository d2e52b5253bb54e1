"""Whose turn it is: the next questions of a queue, for one reviewer or several at once."""

from __future__ import annotations

from collections.abc import Iterator

import fiftyone as fo

from ..checks import check_known
from ..errors import CurationError
from .items import EXHAUSTIVITY, MASK, Item, Review, load_review, state_of
from .leases import SECONDS, claim, release
from .sheets import read_sheets
from .verdicts import check_reviewer

#: questions whose samples are read together
_STRETCH = 400


def next_items(
    dataset: fo.Dataset, review: Review | str, *, reviewer: str | None = None, n: int = 20,
    concept: str | None = None, task: str | None = None, after_ai: bool = False, skipped: bool = False,
    seconds: float = SECONDS,
) -> list[Item]:  # fmt: skip
    """The first questions that nobody has answered.

    With a ``reviewer``, these are theirs for a while (:func:`~curation.review.leases.claim`): no other reviewer gets
    them before that is over. What was answered in any other way, such as in the App's Annotate tab, is not asked.

    Args:
        dataset: the dataset.
        review: the queue, or its key.
        reviewer: who asks; None: just to look.
        n: how many at most.
        concept, task: only of these.
        after_ai: those as well that an AI has answered. Default: people are spared these.
        skipped: those as well that this reviewer has skipped.
        seconds: how long they are the reviewer's.

    Raises:
        CurationError: no such review, a concept or task that is not in it, no name.
    """
    dataset = dataset._root_dataset
    if isinstance(review, str):
        review = load_review(dataset, review)
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise CurationError(f"n={n!r} must be a whole number above 0")
    if concept is not None:
        check_known(concept, review.concepts, "concept of this review")
    if task is not None:
        task = MASK if task == f"{MASK}s" else task  # as build_review calls it
        check_known(task, (MASK, EXHAUSTIVITY), "task of a review")
    who = None if reviewer is None else check_reviewer(reviewer)
    items = [i for i in review.items if concept in (None, i.concept) and task in (None, i.task)]
    found: list[Item] = []
    for stretch in _open(dataset, items, who, after_ai, skipped):
        while len(found) < n and stretch:
            wanted = n - len(found)
            if who is None:
                found += stretch[:wanted]
                break
            mine = claim(dataset, stretch, who, wanted, seconds)
            # whoever had one until now may have answered it since the samples were read: only now can nobody else
            still = {item.key for part in _open(dataset, mine, who, after_ai, skipped) for item in part}
            found += [item for item in mine if item.key in still]
            late = [item for item in mine if item.key not in still]
            release(dataset, late, who)
            if not late:  # all that could be had of these
                break
            tried = {item.key for item in mine}
            stretch = [item for item in stretch if item.key not in tried]
        if len(found) == n:
            break
    return found


def _open(
    dataset: fo.Dataset, items: list[Item], reviewer: str | None, after_ai: bool, skipped: bool
) -> Iterator[list[Item]]:
    """What can be asked, some at a time."""
    for start in range(0, len(items), _STRETCH):
        part = items[start : start + _STRETCH]
        sheets = read_sheets(dataset, part[0].field, part[0].book, {item.sample_id for item in part})
        free = []
        for item in part:
            sheet = sheets.get(item.sample_id)
            state = state_of(sheet, item)
            if state.answered or state.gone or (state.by_ai and not after_ai):
                continue
            if reviewer is None or skipped or not sheet.skipped(item.concept, item.label_id, reviewer):
                free.append(item)
        if free:
            yield free
