"""Concept tracking: every instance of every concept of a video, each with one number from its first frame to its last.

One pass for all concepts, and a shorter one before it, backward, where a person points at something in the middle: an
object has been there before it was pointed at. What happens in a frame is in :mod:`session`; what differs from SAM 3's
port in transformers, and why, is in docs/tracking.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from .concepts import Concept
from .detections import Detected, detect
from .detector import ConceptDetector, ImageFeatures
from .given import Given
from .prompts import Exemplars, Prompts
from .results import FrameResult
from .session import Frame, Session
from .tracker_network import TrackerNetwork
from .tracker_settings import TrackerSettings


class ConceptTracker:
    """SAM 3 on videos, for any number of concepts.

    Args:
        detector: finds concepts in single frames
        network: follows objects; of the same checkpoint
        settings: see there

    >>> tracker = ConceptTracker(detector, network)                                       # doctest: +SKIP
    >>> for frame in tracker.track(open_video("clip.mp4"), parse_concepts("dog, ball")):  # doctest: +SKIP
    ...     print(frame.number, [i.masklet for c in frame.concepts for i in c.instances])
    """

    def __init__(
        self, detector: ConceptDetector, network: TrackerNetwork, settings: TrackerSettings | None = None
    ) -> None:
        self.detector = detector
        self.network = network
        self.settings = settings or TrackerSettings()

    def track(
        self, frames: Iterable[Frame], concepts: Sequence[Concept], *, length: int | None = None,
        prompts: Prompts | None = None, before: Iterable[Frame] | None = None, onward: bool = True,
    ) -> Iterator[FrameResult]:
        """Follow every instance of every concept, and every object that is pointed at.

        Args:
            frames: number and image, uint8 ``(H, W, 3)`` RGB, in the order to work through; read one at a time
            concepts: what to look for; one without phrases is only what ``prompts`` say
            length: how many frames there will be, if that is known; matters only for clips shorter than the network's
                memory
            prompts: what a person points at, by frame
            before: the frames from the last prompt to the first frame of all, in the opposite order: what is pointed at
                is followed through them too. ``None``: only onward from where it is pointed at
            onward: follow what is pointed at in the order of ``frames`` as well; if not, through ``before`` only

        Yields:
            every frame, in the order of ``frames``, ``hotstart_delay`` frames late; if ``frames`` raises, what was
            worked out until then comes first
        """
        concepts, prompts = tuple(concepts), prompts or {}
        looked = self._look_back(before, concepts, prompts) if before is not None and prompts else None
        session = Session(self, concepts, length, given=Given(prompts, looked, onward=onward))
        try:
            for number, image in frames:
                yield from session.advance(number, image)
        except Exception:
            # a decoder that fails half-way costs what it did not deliver, and no more
            yield from session.finish()
            raise
        yield from session.finish()

    def detect(
        self, features: ImageFeatures, concepts: Sequence[Concept], exemplars: Mapping[int, Exemplars] | None = None, *,
        everywhere: bool = True,
    ) -> Detected:
        """The detections of one frame; see :func:`detect`."""
        side = self.network.mask_side
        return detect(self.detector, features, concepts, self.settings, side, exemplars, everywhere=everywhere)

    def _look_back(self, frames: Iterable[Frame], concepts: tuple[Concept, ...], prompts: Prompts) -> Given:
        """Follow what is pointed at, and nothing else, through frames that run backward."""
        given = Given(prompts, backward=True)
        session = Session(self, concepts, given=given)
        for number, image in frames:
            for result in session.advance(number, image):
                given.note(result)
        for result in session.finish():
            given.note(result)
        return given
