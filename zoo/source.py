"""What FiftyOne's model zoo calls: download, load, and the form of its App operator."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from .engine.errors import ConceptError
from .engine.vocabulary_file import is_vocabulary, read_vocabulary
from .recipe import remembered

#: zoo name -> checkpoint; ``None`` is the one that ships in ``tiny/``
MODELS: dict[str, str | None] = {
    "concepts/sam3-image": "facebook/sam3", "concepts/sam3-tiny-image": None,
    "concepts/sam3-video": "facebook/sam3", "concepts/sam3-tiny-video": None,
}

_COMMON = ("classes", "thresholds", "confidence_thresh", "ledger", "skip_existing", "cls_token")
_IMAGE = (
    *_COMMON, "floor", "prompt_field", "box_prompt_field", "exemplars_alone", "exemplars_required",
    "exemplars_of", "exemplars", "exemplar_transfer", "conflicts", "tiles",
)
_VIDEO = (
    *_COMMON, "tracking", "start", "max_frames", "stride", "reverse", "prompt_field", "box_prompt_field",
    "point_prompt_field", "operation_mode", "propagation_direction", "prompt_frame_indices",
)
_VISUAL = (
    "ledger", "operation_mode", "prompt_field", "box_prompt_field", "point_prompt_field", "boxes", "choice",
    "multimask",
)
_SEMANTIC = ("classes", "thresholds", "confidence_thresh", "ledger", "cls_token", "operation_mode")
#: what an image model may do, and what it is told for that
_IMAGE_MODES = ("concept", "semantic", "visual", "everything")
_PLACES = ("checkpoint", "device", "dtype", "compile")


def download_model(model_name: str, model_path: str) -> None:
    """Leave the marker that FiftyOne looks for. Weights are fetched when the model is loaded, into the hub's cache:
    only then it is known which, for ``load_zoo_model(..., checkpoint="my/folder")`` calls this first, without a word
    of the folder.
    """
    marker = Path(model_path)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps({"model": model_name, "checkpoint": MODELS[model_name] or "ships with the source"}))


@remembered
def load_model(model_name: str, model_path: str | None = None, **kwargs: Any) -> Any:
    """Load a model of this source.

    Args:
        model_name: a key of :data:`MODELS`
        model_path: FiftyOne's marker file; not needed
        **kwargs: ``checkpoint``, ``device``, ``dtype`` and ``compile`` as for ``load_checkpoint``; the rest as for
            :class:`Sam3ImageModel`, :class:`Sam3SemanticModel`, :class:`Sam3VisualModel` or :class:`Sam3VideoModel`

    Raises:
        ConceptError: unknown arguments, or wrong concepts, thresholds, names
        CheckpointError: the checkpoint cannot be had, or is not whole
    """
    from .cache import shared_checkpoint
    from .engine.checkpoint import TINY
    from .engine.everything import EverythingSettings
    from .engine.tracker_settings import TrackerSettings

    video = is_video(model_name)
    mode = kwargs.get("operation_mode", "concept")
    if not video and mode not in _IMAGE_MODES:
        raise ConceptError(f"operation_mode must be one of {', '.join(map(repr, _IMAGE_MODES))}, got {mode!r}")
    if video:
        own = (*_VIDEO, *(f.name for f in dataclasses.fields(TrackerSettings)))
    elif mode == "semantic":
        own = _SEMANTIC
    elif mode != "concept":
        own = (*_VISUAL, *(f.name for f in dataclasses.fields(EverythingSettings)))
    else:
        own = (*_IMAGE, "operation_mode")
    known = (*_PLACES, *own)
    unknown = sorted(set(kwargs) - set(known))
    if unknown:
        with_mode = f" with operation_mode={mode!r}" if not video and mode != "concept" else ""
        raise ConceptError(f"Unknown argument {unknown[0]!r}: {model_name}{with_mode} takes {', '.join(known)}")
    if is_vocabulary(kwargs.get("classes")):
        kwargs |= _vocabulary(kwargs, "in videos" if video else "for regions" if mode == "semantic" else None)
    place = {k: kwargs.pop(k) for k in _PLACES if k in kwargs}
    place["checkpoint"] = place.get("checkpoint") or MODELS[model_name] or TINY
    if video:
        from .video_model import Sam3VideoModel

        return Sam3VideoModel(shared_checkpoint(**place, tracker=True), **kwargs)
    if mode == "semantic":
        from .semantic_model import Sam3SemanticModel

        kwargs.pop("operation_mode")
        return Sam3SemanticModel(shared_checkpoint(**place), **kwargs)
    if mode != "concept":
        from .visual_model import Sam3VisualModel

        return Sam3VisualModel(shared_checkpoint(**place, tracker=True), **kwargs)
    from .image_model import Sam3ImageModel

    kwargs.pop("operation_mode", None)
    return Sam3ImageModel(shared_checkpoint(**place), **kwargs)


def _vocabulary(kwargs: dict[str, Any], words_only: str | None) -> dict[str, Any]:
    """A concept file in place of its name, and its examples, unless ``words_only`` says where these are not used."""
    vocabulary = read_vocabulary(kwargs["classes"])
    wordless = [c.label for c in vocabulary.concepts if not c.phrases]
    if words_only:
        if wordless:
            raise ConceptError(f"{wordless[0]!r} has no phrases: {words_only}, examples of a concept file are not used")
        return dict(classes=vocabulary)
    exemplars = {**vocabulary.exemplars, **(kwargs.get("exemplars") or {})}
    return dict(classes=vocabulary, **(dict(exemplars=exemplars) if exemplars else {}))


def is_video(model_name: str) -> bool:
    """Whether a model of :data:`MODELS` is for videos."""
    return model_name.endswith("-video")


def resolve_input(model_name: str, ctx: Any) -> Any:
    """The form in FiftyOne's own "apply zoo model" operator."""
    from fiftyone.operators import types

    inputs = types.Object()
    inputs.list(
        "classes", types.String(), required=True, label="Concepts", view=types.AutocompleteView(multiple=True),
        description="Short noun phrases: 'red baseball cap', 'fire truck'. Press Enter after each",
    )
    inputs.str("ledger", default="sam3", label="Ledger", description="Presence goes to <ledger>_presence, and so on")
    device = types.Dropdown()
    for value in ("auto", "cpu", "cuda", "mps"):
        device.add_choice(value, label=value)
    inputs.enum("device", device.values(), default="auto", label="Device", view=device)
    return types.Property(inputs)


def parse_parameters(model_name: str, ctx: Any, params: dict[str, Any]) -> None:
    """Tidy the form's values in place: leave out what was left empty."""
    for key in [k for k, v in params.items() if v is None or v == "" or v == []]:
        del params[key]
