"""How the model learns, and chooses, the fields that its answers go to.

FiftyOne never tells a model its ``label_field``, yet three things depend on it: refusing a field that holds
something else, declaring the instances' attributes, and merging with earlier instances. But an answer may be a
dictionary, and then ``Sample.add_labels`` forms each field's name itself, ``label_field + "_" + key``, just
before it stores the value. A key that knows how to be added hears the name in time, and decides what becomes
of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo


class Slot(str):
    """A dictionary's key that is told ``label_field``, and answers with the field where its value belongs.

    Args:
        name: the field, where FiftyOne forms no name
        place: label field -> field

    >>> "preds" + "_" + Slot("sam3", lambda label_field: label_field)
    'preds'
    """

    _place: Callable[[str], str]

    def __new__(cls, name: str, place: Callable[[str], str]) -> Slot:
        slot = super().__new__(cls, name)
        slot._place = place
        return slot

    def __radd__(self, prefix: str) -> str:
        if not prefix.endswith("_"):  # FiftyOne speaks of the field, and forms no name
            return prefix + str(self)
        return self._place(prefix.removesuffix("_"))


@dataclass
class Reply:
    """What a run has to say about one sample or frame.

    Attributes:
        target: the sample or frame, its ledger written but not saved
        found: the labels, to be completed by ``land``
        error: why there are none
        error_field: where that goes
        land: called with ``label_field`` before anything of this reply is stored
    """

    target: Any
    found: fo.Label | None
    error: str | None
    error_field: str
    land: Callable[[Reply, str], None]

    def answer(self) -> dict[str, Any]:
        """For ``add_labels``. A failed sample's label field stays as it is: its answer is its error."""
        if self.error is not None:
            return {Slot(self.error_field, self._to_error): self.error}
        return {Slot(self.error_field, self._to_label_field): self.found}

    def store(self, label_field: str | None) -> None:
        """As FiftyOne would, here and now."""
        if self.error is not None:
            self.target[self.error_field] = self.error
        else:
            self.target[self._to_label_field(label_field)] = self.found
        self.target.save()

    def _to_error(self, label_field: str) -> str:
        self.land(self, label_field)
        return self.error_field

    def _to_label_field(self, label_field: str) -> str:
        self.land(self, label_field)
        return label_field


def deliver(replies: Sequence[Reply], label_field: Callable[[], str | None]) -> Iterator[dict[str, Any]]:
    """The answers of a batch, one at a time, as ``apply_model`` takes them.

    If a sample of it failed, the run must hear of it, or ``skip_failures=False`` would mean nothing; but an
    exception costs all that follows in the batch. So it is raised in place of the last answer, which is stored
    here: a bad sample costs itself alone.

    Args:
        replies: of a batch
        label_field: what is known of it by then

    Raises:
        SampleError: some failed
    """
    failed = [reply for reply in replies if reply.error is not None]
    for reply in replies[:-1] if failed else replies:
        yield reply.answer()
    if failed:
        replies[-1].store(label_field())
        raise SampleError("; ".join(f"{reply.target.filepath}: {reply.error}" for reply in failed))


class SampleError(RuntimeError):
    """Samples of a batch could not be processed."""
