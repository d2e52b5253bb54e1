"""What labels of a field are called, and which ledger knows about them: what reviews and checks of labels share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fiftyone as fo

from .answers import all_concepts, asked_concepts, check_ledger, ledgers_of
from .checks import check_known, check_whole, check_words
from .errors import CurationError
from .instances import check_field

if __package__ == "curation":
    from zoo.engine.errors import ConceptError
    from zoo.ledger import DEFAULT, Ledger
    from zoo.provenance import asked_phrases, instances_fields, ledger_of
    from zoo.segment import check_images
else:
    from ..zoo.engine.errors import ConceptError
    from ..zoo.ledger import DEFAULT, Ledger
    from ..zoo.provenance import asked_phrases, instances_fields, ledger_of
    from ..zoo.segment import check_images


@dataclass(frozen=True)
class Named:
    """Which concept a label is an instance of, by its name.

    Attributes:
        names: concept → what its labels are called, the first in new ones.
    """

    names: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        known: dict[str, str] = {}
        for concept, names in self.names.items():
            for name in names:
                known.setdefault(name.casefold(), concept)
        for concept, names in self.names.items():  # of its own name, a concept is sure
            if concept.casefold() in {name.casefold() for name in names}:
                known[concept.casefold()] = concept
        object.__setattr__(self, "_known", known)

    def concept(self, label: str | None) -> str | None:
        """The concept of that very name, else the first whose names hold it; None: it is none that is looked at.

        >>> named = Named({"vehicle": ("car", "truck"), "car": ("car",)})
        >>> named.concept("Car"), named.concept("truck"), named.concept("bus")
        ('car', 'vehicle', None)
        """
        return self._known.get((label or "").casefold())


def name_concepts(
    samples: fo.core.collections.SampleCollection, path: str, source: Ledger | None, concepts: Sequence[str] | None,
    gt_labels: Mapping[str, Any] | None,
) -> Named:  # fmt: skip
    """What there is to look at.

    Args:
        samples: a dataset or view.
        path: a field of ``Detections``.
        source: the ledger whose concepts were asked, if there is one.
        concepts: which; None: all that were asked, and all that are labelled.
        gt_labels: concept → the label, or labels, that mean it.

    Raises:
        CurationError: an unknown concept, names that are no words, nothing to look at.
    """
    if gt_labels is not None and not isinstance(gt_labels, Mapping):
        raise CurationError(f"gt_labels={gt_labels!r} must map concepts to labels, such as {{'cap': ['baseball cap']}}")
    said = {c: tuple(check_words(names, f"gt_labels[{c!r}]")) for c, names in (gt_labels or {}).items()}
    asked = () if source is None else asked_concepts(samples, source.name)
    phrases = {} if source is None else asked_phrases(samples._root_dataset, source)
    labelled = [name for name in samples.distinct(f"{path}.detections.label") if name]
    if concepts is None:
        wanted = list(dict.fromkeys([*asked, *said]))
    else:
        wanted = list(dict.fromkeys(check_words(concepts, "concepts")))
        if not wanted:
            raise CurationError("No concepts were named: leave concepts out to look at all")
        anywhere = [name for name in samples._root_dataset.distinct(f"{path}.detections.label") if name]
        known = list(dict.fromkeys([*asked, *all_concepts(samples), *said, *anywhere]))
        folded = {name.casefold() for name in known}
        for concept in wanted:
            if concept.casefold() not in folded:
                check_known(concept, known, "concept that is labelled, or was asked")
    names = {}
    for concept in wanted:
        usual = [name for name in labelled if name.casefold() == concept.casefold()] or [concept]
        names[concept] = said.get(concept) or tuple(dict.fromkeys([*usual, *phrases.get(concept, ())]))
    if concepts is None:
        taken = {name.casefold() for listed in names.values() for name in listed}
        names |= {name: (name,) for name in labelled if name.casefold() not in taken}
    if not names:
        raise CurationError(f"There is nothing to look at: {path!r} holds no labels, and nothing was asked")
    return Named(names)


def check_stills(samples: fo.core.collections.SampleCollection) -> None:
    """Refuse what is not whole images.

    Raises:
        CurationError: says what to do.
    """
    check_whole(samples)
    name = repr(samples._root_dataset.name)
    if samples._contains_videos(any_slice=True):
        raise CurationError(
            f"{name} holds videos, and labels of frames cannot be looked at here: take the images of "
            "dataset.to_frames(sample_frames=True).clone()"
        )
    if not len(samples):
        raise CurationError(f"There is nothing to look at: no samples in this dataset or view of {name}")
    try:
        check_images(samples)
    except ConceptError as error:
        raise CurationError(str(error)) from None


def verdict_ledger(dataset: fo.Dataset, ledger: str | None, own: Ledger | None) -> Ledger:
    """The ledger that gets verdicts: the one that was said, else the labels' ``own``, else the only one there is.

    Raises:
        CurationError: it cannot be called so.
    """
    if ledger is not None:
        try:
            return Ledger(ledger)
        except ConceptError as error:
            raise CurationError(str(error)) from None
    known = ledgers_of(dataset)
    return own or Ledger(known[0] if len(known) == 1 else DEFAULT)


def answering_ledger(
    samples: fo.core.collections.SampleCollection, book: Ledger, own: Ledger | None, found_field: str | None = None
) -> Ledger | None:
    """The ledger whose answers are evidence, if there is one; it need not be that which gets the verdicts.

    Raises:
        CurationError: it is of an older version, or a view leaves it out.
    """
    known = ledgers_of(samples)
    found = ledger_of(samples._root_dataset, found_field) if found_field is not None else own
    found = found or next((Ledger(name) for name in (book.name, DEFAULT, *known) if name in known), None)
    return None if found is None else check_ledger(samples, found.name)


def found_beside(
    samples: fo.core.collections.SampleCollection, path: str, source: Ledger | None, own: Ledger | None,
    said: str | None = None,
) -> str | None:  # fmt: skip
    """The field of instances that labels of ``path`` are compared with; None, where they are these themselves.

    Raises:
        CurationError: the one that was ``said`` holds no ``Detections``, or is ``path``.
    """
    if said is not None:
        found = check_field(samples, said, "found_field")
        if found == path:
            raise CurationError(f"found_field and label_field are both {path!r}: compare labels with something else")
        return found
    if own is not None or source is None:
        return None
    fields = instances_fields(samples._root_dataset, source)
    return next((name for name in fields if name != path and samples.has_field(name)), None)
