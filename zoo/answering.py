"""What models have in common that answer image by image within ``apply_model``: runs, batches, and what fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from .engine.errors import ConceptError, ImageError
from .inputs import Loaded
from .landing import Reply, deliver
from .loading import ImageInput
from .run import Refused

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Answering(ImageInput):
    """The part of a model that gives answers: alone, or within a run, sample by sample.

    A model says what a run is (:meth:`_begin`), what it answers within one (:meth:`_replies`), and without
    (:meth:`_free`); it makes ``_run`` when it is entered.
    """

    _run: Any = None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        run = self._run
        run.entered -= 1
        if not run.entered:
            self._run = None
            run.finish()
        if isinstance(error, Refused):
            raise error.reason from None

    @property
    def totals(self) -> dict[str, int]:
        """Within a run: samples done, failed, and instances found, so far."""
        return dict(self._run.totals) if self._run else dict(samples=0, failed=0, instances=0)

    def predict(self, arg: Any, sample: Any = None) -> Any:
        """As :meth:`predict_all`, for one image."""
        return next(iter(self.predict_all([arg], samples=None if sample is None else [sample])))

    def predict_all(self, args: Sequence[Any], samples: Sequence[Any] | None = None) -> Iterable[Any]:
        """Answers of a batch.

        Args:
            args: images, uint8 ``(height, width, 3)`` RGB; within ``apply_model``, what :class:`LoadImage` made
            samples: the samples or frames they belong to; given by ``apply_model``, within a run

        Returns:
            in order, their labels; within a run, answers for ``Sample.add_labels`` (see ``landing.py``)
        """
        images = self._loaded(args)
        if samples is None:
            broken = next((error for _, _, error in images if error is not None), None)
            if broken is not None:
                raise ImageError(broken)
            return self._free(images)
        run = self._run
        if run is None:
            raise RuntimeError("predict(..., sample) belongs to a run: use dataset.apply_model(model, ...)")
        self._begin(run, samples[0])
        replies = self._replies(run, images, samples)
        if run.ledger.frames:  # an exception would cost the rest of the video
            return [reply.answer() for reply in replies]
        return deliver(replies, lambda: run.label_field)

    def _free(self, images: Sequence[Loaded]) -> list[Any]:
        """Labels of images that belong to no sample."""
        raise NotImplementedError

    def _begin(self, run: Any, sample: Any) -> None:
        """Let the run learn its dataset from its first sample, unless it knows."""
        raise NotImplementedError

    def _replies(self, run: Any, images: Sequence[Loaded], samples: Sequence[Any]) -> list[Reply]:
        """What the run has to say about each sample."""
        raise NotImplementedError


def tried_apart(
    asking: Sequence[int], answer: Callable[[Sequence[int]], Iterable[T]], errors: list[str | None]
) -> dict[int, T]:
    """Place -> answer, of the places ``asking`` of a batch. If they fail together, each is tried alone, and those that
    fail again have their reason in ``errors``: memory may do for one image and not for eight.

    Args:
        asking: places in the batch
        answer: gives an answer for each of the places it is told
        errors: a reason for each sample of the batch, filled in here
    """
    if not asking:
        return {}
    try:
        return dict(zip(asking, answer(asking), strict=True))
    except Exception as error:  # whatever it is, it must cost one sample and be recorded there
        ours = isinstance(error, ConceptError)
        if len(asking) == 1:
            errors[asking[0]] = str(error) if ours else f"{type(error).__name__}: {error}"
            return {}
        if not ours:
            logger.warning("A batch of %d failed (%s); trying its samples one by one", len(asking), error)
        parts = [tried_apart([k], answer, errors) for k in asking]
        return {k: found for part in parts for k, found in part.items()}
