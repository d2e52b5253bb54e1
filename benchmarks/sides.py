"""The two sides of the video benchmark, the engine and transformers, and the film that both are shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import cycle, islice
from typing import Any
from unittest import mock

import numpy as np
import torch

#: eight cars of three colours: the same objects can be asked for as one concept, or as three
EVERY, EACH = ("car",), ("red car", "blue car", "green car")
#: frames until it begins anew
ROUND = 48
_OBJECTS, _SIZE = 8, (640, 480)


@lru_cache(maxsize=2)
def one_round(objects: int = _OBJECTS) -> list[np.ndarray]:
    """Eight cars, or the first of them, each going round in a corner of its own; the end is the beginning."""
    from emoji_world.scenes import Placed, backdrop, paint, with_grain
    from emoji_world.vocabulary import THINGS

    things = {f"{thing.colour} {thing.noun}": thing for thing in THINGS}
    width, height = _SIZE
    empty, columns = backdrop("gradient", 3, width, height), _OBJECTS // 2
    images = []
    for t in range(ROUND):
        placed = []
        for k in range(objects):
            turn = 2 * np.pi * (t / ROUND + 0.37 * k)
            x = (k % columns + 0.5) * width / columns + 16 * np.cos(turn)
            y = (k // columns + 0.5) * height / 2 + 40 * np.sin(turn)
            placed.append(Placed(things[EACH[k % len(EACH)]], float(x), float(y), 110.0, 0.0, False, 1.0))
        canvas = empty.copy()
        paint(canvas, placed, 1.0)
        images.append(with_grain(canvas, t))
    return images


def stream(count: int, objects: int = _OBJECTS) -> Iterator[tuple[int, np.ndarray]]:
    """``count`` frames, numbered from 1, of cars that go round and round."""
    return enumerate(islice(cycle(one_round(objects)), count), 1)


class Ours:
    """The engine, as the App runs it; squeezing frames to the network's square is part of its time."""

    def __init__(self, checkpoint: str) -> None:
        from zoo.engine.checkpoint import load_checkpoint
        from zoo.engine.detector import ConceptDetector
        from zoo.engine.tracker import ConceptTracker
        from zoo.engine.tracker_settings import TrackerSettings

        loaded = load_checkpoint(checkpoint, device="cpu", dtype="float32", tracker=True)
        settings = TrackerSettings.of(loaded.tracker_config)
        self.tracker = ConceptTracker(ConceptDetector(loaded), loaded.tracker, settings)

    def session(self, phrases: Sequence[str], length: int | None = None, detect_every: int = 1) -> Any:
        """A fresh one; the texts are encoded."""
        from zoo.engine.concepts import parse_concepts
        from zoo.engine.session import Session
        from zoo.engine.tracker import ConceptTracker

        self.tracker.detector.encode_phrases(phrases)
        settings = replace(self.tracker.settings, detect_every=detect_every)
        tracker = ConceptTracker(self.tracker.detector, self.tracker.network, settings)
        return Session(tracker, parse_concepts(phrases), length)

    def prepared(
        self, phrases: Sequence[str], count: int, objects: int = _OBJECTS, detect_every: int = 1
    ) -> Callable[[], tuple[float, float]]:
        """A pass over ``count`` frames; it gives how many objects were followed and how many masks shown, a frame."""
        session, frames = self.session(phrases, count, detect_every), list(stream(count, objects))

        def run() -> tuple[float, float]:
            followed, results = 0, []
            for number, image in frames:
                results += session.advance(number, image)
                followed += len(session.tracks)
            results += session.finish()
            return followed / count, sum(len(c.instances) for result in results for c in result.concepts) / count

        return run

    @contextmanager
    def timed(self) -> Iterator[dict[str, float]]:
        """CPU seconds by part of what the engine does meanwhile."""
        spent = {"encode": 0.0, "detect": 0.0, "follow": 0.0}
        tracker = self.tracker
        parts = [(tracker.detector, "encode_images", "encode"), (tracker.network, "features", "encode")]
        parts += [(type(tracker), "detect", "detect")]
        parts += [(tracker.network, name, "follow") for name in ("follow", "remember", "from_masks")]

        def clocked(method: Callable[..., Any], part: str) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                start = time.process_time()
                try:
                    return method(*args, **kwargs)
                finally:
                    spent[part] += time.process_time() - start

            return run

        with ExitStack() as stack:
            for owner, name, part in parts:
                stack.enter_context(mock.patch.object(owner, name, clocked(getattr(owner, name), part)))
            yield spent


class Stock:
    """transformers' own model and loop, post-processing included, decoding and preprocessing not."""

    def __init__(self, checkpoint: str) -> None:
        from transformers import Sam3VideoModel, Sam3VideoProcessor
        from transformers.utils import logging

        from zoo.engine.checkpoint import locate

        logging.set_verbosity_error()  # it warns of the kernels that it goes without on a CPU
        logging.disable_progress_bar()
        folder = locate(checkpoint)
        self.model = Sam3VideoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        self.processor = Sam3VideoProcessor.from_pretrained(folder, local_files_only=True)

    def session(self, phrases: Sequence[str], count: int) -> Any:
        """A fresh one, with its ``count`` frames preprocessed and its texts encoded."""
        session = self.processor.init_video_session(video=np.stack([image for _, image in stream(count)]))
        self.processor.add_text_prompt(session, list(phrases))
        for k, words in session.prompt_input_ids.items():
            with torch.inference_mode():
                session.prompt_embeddings[k] = self.model.detector_model.get_text_features(
                    input_ids=words, attention_mask=session.prompt_attention_masks[k], return_dict=True
                )
        return session

    def prepared(self, phrases: Sequence[str], count: int) -> Callable[[], tuple[float, float]]:
        """As of :class:`Ours`."""
        session = self.session(phrases, count)

        def run() -> tuple[float, float]:
            followed = shown = 0
            for output in self.model.propagate_in_video_iterator(session):
                followed += len(output.object_ids)
                shown += len(self.processor.postprocess_outputs(session, output)["object_ids"])
            return followed / count, shown / count

        return run
