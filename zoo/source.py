"""What FiftyOne's model zoo calls: download, load, and the form of its App operator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .engine.errors import ConceptError

#: zoo name -> checkpoint; ``None`` is the one that ships in ``tiny/``
MODELS: dict[str, str | None] = {"concepts/sam3-image": "facebook/sam3", "concepts/sam3-tiny-image": None}

_SETTINGS = (
    "classes", "thresholds", "confidence_thresh", "floor", "prompt_field", "ledger", "skip_existing", "cls_token",
)
_PLACES = ("checkpoint", "device", "dtype")


def download_model(model_name: str, model_path: str) -> None:
    """Leave the marker that FiftyOne looks for. Weights are fetched when the model is loaded, into the hub's cache:
    only then it is known which, for ``load_zoo_model(..., checkpoint="my/folder")`` calls this first, without a word
    of the folder.
    """
    marker = Path(model_path)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps({"model": model_name, "checkpoint": MODELS[model_name] or "ships with the source"}))


def load_model(model_name: str, model_path: str | None = None, **kwargs: Any) -> Any:
    """Load a model of this source.

    Args:
        model_name: a key of :data:`MODELS`
        model_path: FiftyOne's marker file; not needed
        **kwargs: ``checkpoint``, ``device`` and ``dtype`` as for ``load_checkpoint``; the rest as for
            :class:`Sam3ImageModel`

    Raises:
        ConceptError: unknown arguments, or wrong concepts, thresholds, names
        CheckpointError: the checkpoint cannot be had, or is not whole
    """
    from .cache import shared_checkpoint
    from .engine.checkpoint import TINY
    from .image_model import Sam3ImageModel

    unknown = sorted(set(kwargs) - {*_SETTINGS, *_PLACES})
    if unknown:
        raise ConceptError(f"Unknown argument {unknown[0]!r}: {model_name} takes {', '.join((*_PLACES, *_SETTINGS))}")
    place = {k: kwargs.pop(k) for k in _PLACES if k in kwargs}
    place["checkpoint"] = place.get("checkpoint") or MODELS[model_name] or TINY
    return Sam3ImageModel(shared_checkpoint(**place), **kwargs)


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
