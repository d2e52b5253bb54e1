"""Concept tracking: every instance of every concept of a video, each with one number from its first frame to its last.

One pass for all concepts, and a shorter one before it, backward, where a person points at something in the middle: an
object has been there before it was pointed at. What happens in a frame is in :mod:`session`; what differs from SAM 3's
port in transformers, and why, is in docs/tracking.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing

import torch

from .ahead import encode_ahead, read_ahead
from .concepts import Concept
from .detections import Detected, detect
from .detector import ConceptDetector, ImageFeatures
from .given import Given
from .images import to_square
from .prompts import Exemplars, Prompts
from .results import FrameResult
from .session import Encoded, Frame, Session, Squeezed
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
        self._device = torch.device(detector.checkpoint.device)

    def track(
        self, frames: Iterable[Frame], concepts: Sequence[Concept], *, length: int | None = None,
        prompts: Prompts | None = None, before: Iterable[Frame] | None = None, onward: bool = True,
    ) -> Iterator[FrameResult]:
        """Follow every instance of every concept, and every object that is pointed at.

        Args:
            frames: number and image, uint8 ``(H, W, 3)`` RGB, in the order to work through; read one at a time, in
                another thread, a few before they are needed
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
            for frame in self.encoded(frames):
                yield from session.work(frame)
        except Exception:
            # a decoder that fails half-way costs what it did not deliver, and no more
            yield from session.finish()
            raise
        yield from session.finish()

    def encoded(self, frames: Iterable[Frame]) -> Iterator[Encoded]:
        """The frames ready to be worked through, one after the other; see :mod:`ahead`."""
        with closing(read_ahead(frames, self.squeeze)) as squeezed:
            yield from encode_ahead(squeezed, self.encode, self._device)

    def squeeze(self, frame: Frame) -> Squeezed:
        """A frame for the network; needs no more than a CPU."""
        number, image = frame
        pixels = to_square(image, self.detector.checkpoint.side)[None]
        return Squeezed(number, image.shape[:2], pixels.pin_memory() if self._device.type == "cuda" else pixels)

    @torch.inference_mode()
    def encode(self, frame: Squeezed) -> Encoded:
        """What detector and tracker read of a frame."""
        pixels = frame.pixels.to(self._device, non_blocking=True)
        features = self.detector.encode_images(pixels, [frame.size], tokens=True)
        return Encoded(frame.number, frame.size, features, self.network.features(features.tokens))

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
        for frame in self.encoded(frames):
            for result in session.work(frame):
                given.note(result)
        for result in session.finish():
            given.note(result)
        return given
