"""An AI looks first: any callable, or any FiftyOne model that classifies, answers the questions of a queue.

What it says is kept apart from people's verdicts, spares people the questions it is sure of, and never overrules them.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import fiftyone.core.models as fom
import numpy as np

from ..errors import CurationError
from ..steps import run_steps
from .items import EXHAUSTIVITY, Item, Review, load_review, question, state_of
from .pictures import picture
from .sheets import is_ai, read_sheets
from .verdicts import AnswerConflict, ItemGone, answer, check_reviewer

#: questions between two reports of progress
_STRETCH = 16
_WORDS = {"yes": True, "true": True, "right": True, "correct": True, "no": False, "false": False, "wrong": False}


@dataclass(frozen=True)
class Verified:
    """What a verifier did.

    Attributes:
        reviewer: its name.
        accepted, rejected: answers.
        unsure: questions that it did not answer, or not surely enough.
        spared: questions that a person answered meanwhile, or whose label or sample is gone.
        failed: (key of the item, why) of those that could not be put.
    """

    reviewer: str
    accepted: int
    rejected: int
    unsure: int
    spared: int
    failed: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        told = f"{self.reviewer}: {self.accepted} yes, {self.rejected} no, {self.unsure} left to people"
        return told + (f"; {len(self.failed)} failed: {self.failed[0][1]}" if self.failed else "")


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` questions; ``result`` once all are."""

    done: int
    total: int
    result: Verified | None = None


def verify_with(
    dataset: fo.Dataset, review: Review | str, verifier: Any, *, progress: Any = None, **settings: Any
) -> Verified:
    """Let an AI answer the open questions of a review.

    Args:
        dataset: the dataset of the review.
        review: the queue, or its key.
        verifier: a callable ``(picture, question) -> verdict``: the picture is uint8 ``(height, width, 3)`` RGB, the
            question is in words, the verdict is True, False, None (not sure), or a pair of that and a confidence in
            [0, 1]. Or a FiftyOne model that predicts a ``Classification``: its label is yes or no, or names the
            concept that it sees, which is the same or another.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`verify_steps`: ``confidence``, ``reviewer``, ``limit`` and so on.

    Raises:
        CurationError: before anything is asked: no such review, no verifier, a reviewer that is no AI.
    """
    return run_steps("verify_with", verify_steps, (dataset, review, verifier), settings, progress)


def verify_steps(
    dataset: fo.Dataset, review: Review | str, verifier: Any, *, confidence: float = 0.0, reviewer: str | None = None,
    limit: int | None = None, task: str | None = None, overlay: bool | None = None, context: float | None = None,
    size: int = 512,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`verify_with`, reporting as it goes. Nothing that was answered is lost when it is cut short.

    Args:
        dataset, review, verifier: see there.
        confidence: a verdict that is less sure is left to people.
        reviewer: its name, which begins with "ai:". Default: made of the verifier's.
        limit: questions, at most.
        task: "mask" or "exhaustivity" alone. Default: both; of a model that names concepts, masks alone.
        overlay: draw outlines on the picture. Default: for callables, and not for models, which have not seen any.
        context: how much of the surroundings of a mask to show, relative to its box. Default: 0.6 with an overlay, else
            0.1.
        size: of the picture's longer side, in pixels.

    Yields:
        first with nothing done, once everything was checked.

    Raises:
        CurationError: see :func:`verify_with`.
    """
    dataset = dataset._root_dataset
    if isinstance(review, str):
        review = load_review(dataset, review)
    model = isinstance(verifier, fom.Model)
    if not model and not callable(verifier):
        raise CurationError(f"verifier={verifier!r} must be a callable (picture, question) -> verdict, or a model")
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float)) or not 0 <= confidence <= 1:
        raise CurationError(f"confidence={confidence!r} must be a number in [0, 1]")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise CurationError(f"limit={limit!r} must be a whole number above 0")
    kind = getattr(verifier, "__name__", None) or type(verifier).__name__
    who = check_reviewer(f"ai:{kind}" if reviewer is None else reviewer)
    if not is_ai(who):
        raise CurationError(f"reviewer={reviewer!r} would pass for a person: begin it with 'ai:', as in 'ai:{who}'")
    drawn = (not model) if overlay is None else bool(overlay)
    around = context if context is not None else 0.6 if drawn else 0.1
    items = open_items(dataset, review.of(task=task))[:limit]
    ask = _asker(verifier) if model else verifier
    counts: Counter[str] = Counter()
    failed: list[tuple[str, str]] = []
    yield Step(0, len(items))
    with verifier if model else contextlib.nullcontext():
        for done, item in enumerate(items, 1):
            try:
                shown = np.asarray(picture(dataset, item, size, overlay=drawn, context=around))
                verdict, sure = _verdict(ask(shown, item if model else question(item)))
                if verdict is None or (sure is not None and sure < confidence):
                    counts["unsure"] += 1
                else:
                    answer(dataset, item, verdict, reviewer=who, confidence=sure)
                    counts["accepted" if verdict else "rejected"] += 1
            except (AnswerConflict, ItemGone):
                counts["spared"] += 1
            except Exception as error:  # of whatever the verifier is; it costs this question
                failed.append((item.key, f"{type(error).__name__}: {error}"))
            if done % _STRETCH == 0 and done < len(items):
                yield Step(done, len(items))
    told = Verified(who, *(counts[name] for name in ("accepted", "rejected", "unsure", "spared")), tuple(failed))
    yield Step(len(items), len(items), told)


def open_items(dataset: fo.Dataset, items: list[Item]) -> list[Item]:
    """Those that neither a person nor an AI has answered."""
    if not items:
        return []
    sheets = read_sheets(dataset, items[0].field, items[0].book, {item.sample_id for item in items})
    states = [state_of(sheets.get(item.sample_id), item) for item in items]
    return [i for i, s in zip(items, states, strict=True) if not (s.answered or s.by_ai or s.gone)]


def _asker(model: Any) -> Callable[[np.ndarray, Item], Any]:
    """Asks a FiftyOne model, and reads its classification as a verdict."""

    def ask(shown: np.ndarray, item: Item) -> Any:
        said = model.predict(shown)
        if isinstance(said, dict) and len(said) == 1:
            said = next(iter(said.values()))
        if isinstance(said, fo.Classifications):
            said = max(said.classifications, key=lambda one: one.confidence or 0, default=None)
        if said is None:
            return None
        if not isinstance(said, fo.Classification):
            raise CurationError(f"the model predicts {type(said).__name__}, and a Classification is needed")
        word = " ".join((said.label or "").split()).casefold()
        if word in _WORDS:
            return _WORDS[word], said.confidence
        if item.task == EXHAUSTIVITY:
            return None  # what it sees does not say whether all of it is marked
        known = {item.concept.casefold(), *(name.casefold() for name in item.names)}
        return word.removeprefix("a photo of a ").removeprefix("a ") in known or word in known, said.confidence

    return ask


def _verdict(said: Any) -> tuple[bool | None, float | None]:
    verdict, sure = said if isinstance(said, tuple) and len(said) == 2 else (said, None)
    if isinstance(verdict, np.bool_):
        verdict = bool(verdict)
    if verdict is not None and not isinstance(verdict, bool):
        raise CurationError(f"the verifier said {said!r}; want True, False, None, or (True, 0.9)")
    return verdict, None if sure is None else min(max(float(sure), 0.0), 1.0)
