"""Where ``apply_model`` puts what the model returns.

FiftyOne never tells a model its ``label_field``, yet three things depend on it: declaring the instances'
attributes, merging with earlier instances, and finishing the good samples that follow a bad one. So the model
looks at a sample it answered earlier, and finds its own answer there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import fiftyone as fo

Answer = fo.Detections | None


class Landing:
    """Follows the answers of one run to the field they land in.

    Args:
        guess: where they will land if nothing better is ever learned
        on_known: called once, with the field's name, as soon as it is known
    """

    def __init__(self, guess: str, on_known: Callable[[str], None]) -> None:
        self.field: str | None = None
        self._guess = guess
        self._on_known = on_known
        self._last: tuple[Any, fo.Detections] | None = None
        self._stranded: list[tuple[Any, fo.Detections]] = []

    def deliver(self, samples: Sequence[Any], answers: Sequence[Answer], errors: Sequence[str | None]) -> Iterator[Answer]:
        """The answers of a batch, one at a time, as ``apply_model`` stores them.

        At the first sample that failed, the good ones after it are stored here and now, and the error is
        raised: with ``skip_failures`` FiftyOne logs it and goes on, without it the run ends; either way a bad
        sample costs itself alone.
        """
        for k, (sample, answer, error) in enumerate(zip(samples, answers, errors, strict=True)):
            if error is None:
                self._last = (sample, answer)
                yield answer
                continue
            self.look()
            for other, reply, problem in zip(samples[k:], answers[k:], errors[k:], strict=True):
                if problem is None:
                    self._stranded.append((other, reply))
                else:
                    other.save()  # its ledger holds the reason
            self._land()
            failed = [(s, e) for s, e in zip(samples[k:], errors[k:], strict=True) if e is not None]
            raise SampleError("; ".join(f"{s.filepath}: {e}" for s, e in failed))

    def look(self) -> None:
        """Learn the field from the last answer given, if it has landed by now."""
        if self.field is not None or self._last is None:
            return
        sample, answer = self._last
        for name in sample.field_names:
            if sample[name] is answer:
                self.field = name
                self._on_known(name)
                return

    def close(self) -> None:
        """End of the run: learn what can still be learned, store what is left."""
        self.look()
        if self._stranded and self.field is None:
            self.field = self._guess
            self._on_known(self._guess)
        self._land()

    def _land(self) -> None:
        if self.field is None:
            return
        for sample, answer in self._stranded:
            sample[self.field] = answer
            sample.save()
        self._stranded.clear()


class SampleError(RuntimeError):
    """Samples of a batch could not be processed."""
