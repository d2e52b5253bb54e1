"""What questions on trial need: images, phrases that can be asked, and a model that asks as the ledger was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fiftyone as fo

from .checks import check_whole, check_words
from .errors import CurationError
from .refine import usual_checkpoint

if __package__ == "curation":
    from zoo.engine.concepts import MAX_TOKENS, check_length, check_phrase, refuse_twins
    from zoo.engine.concepts import check_whole as check_number
    from zoo.engine.errors import ConceptError
    from zoo.ledger import Ledger
    from zoo.provenance import run_info
    from zoo.segment import build_model, check_images
else:
    from ..zoo.engine.concepts import MAX_TOKENS, check_length, check_phrase, refuse_twins
    from ..zoo.engine.concepts import check_whole as check_number
    from ..zoo.engine.errors import ConceptError
    from ..zoo.ledger import Ledger
    from ..zoo.provenance import run_info
    from ..zoo.segment import build_model, check_images

#: of how a concept was asked, what decides whether an instance is found
_KEPT = ("cls_token", "tiles", "conflicts")
_USUAL = 0.5


def check_trial(samples: fo.core.collections.SampleCollection, batch_size: int) -> None:
    """Refuse samples that cannot be asked.

    Raises:
        CurationError: none, or no images; says what to take instead.
    """
    check_whole(samples)
    try:
        check_number(batch_size, "batch_size", 1)
        check_images(samples)
    except ConceptError as error:
        frames = samples.media_type == fo.core.media.VIDEO
        more = ". Of a video, ask its frames: dataset.to_frames(sample_frames=True).clone()" if frames else ""
        raise CurationError(f"{error}{more}") from None
    if not len(samples):
        raise CurationError(f"There are no images in this view of {samples._root_dataset.name!r}: nothing can be asked")


def check_phrases(said: Any, what: str = "phrases") -> tuple[str, ...]:
    """Phrases, with their white space tidied.

    Raises:
        CurationError: none, words that are none, one that is there twice but for letter case, or one that is surely too
            long for the text encoder.
    """
    named = check_words(said, what)
    if not named:
        raise CurationError(f"{what} is empty: say at least one phrase, such as {what}=['cap', 'baseball cap']")
    try:
        tidy = [check_phrase(phrase) for phrase in named]
        refuse_twins(tidy, f"phrase of {what}")
    except ConceptError as error:
        raise CurationError(str(error)) from None
    long = next((phrase for phrase in tidy if len(phrase.split()) + 2 > MAX_TOKENS), None)
    if long is not None:
        raise CurationError(
            f"{what}: {long!r} has {len(long.split())} words; SAM 3 reads {MAX_TOKENS} tokens at most: use a short "
            "noun phrase"
        )
    return tuple(tidy)


def entries_of(dataset: fo.Dataset, ledger: str) -> dict[str, Any]:
    """Concept → what the ledger's record says of how it was asked."""
    return run_info(dataset, ledger).get("concepts") or {}


def trial_settings(entry: Mapping[str, Any] | None) -> dict[str, Any]:
    """How a concept was asked, as far as it matters to a trial; ``confidence_thresh`` is always there.

    Args:
        entry: what the ledger's record says of the concept, if anything.
    """
    entry = entry or {}
    said = {name: entry[name] for name in _KEPT if entry.get(name) is not None}
    if "conflicts" in said:  # wordings of one concept are on the same pixels, and must not drive each other out
        said["conflicts"] = {name: v for name, v in said["conflicts"].items() if name != "cross_nms_thresh"}
    levels = (entry.get("threshold"), entry.get("confidence_thresh"), _USUAL)
    return dict(said, confidence_thresh=next(level for level in levels if level is not None))


def trial_model(
    dataset: fo.Dataset, ledger: str, concept: str, phrases: Iterable[str], checkpoint: str | None, device: str | None
) -> Any:
    """A model without concepts of its own, with the settings that the concept was asked with.

    Raises:
        CurationError: a phrase is longer than the text encoder reads.
    """
    entry = entries_of(dataset, ledger).get(concept)
    model = build_model(
        None, ledger=ledger, checkpoint=checkpoint or usual_checkpoint(dataset, Ledger(ledger)), device=device,
        **trial_settings(entry),
    )  # fmt: skip
    check_readable(model, list(phrases))
    return model


def check_readable(model: Any, phrases: Sequence[str]) -> None:
    """Refuse phrases that the model cannot read whole.

    Raises:
        CurationError: naming the first.
    """
    try:
        check_length(phrases, model.detector.checkpoint.tokenizer)
    except ConceptError as error:
        raise CurationError(str(error)) from None
