"""How a model was loaded, so that other processes can load the same."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .engine.errors import ConceptError
from .engine.vocabulary_file import is_vocabulary, read_vocabulary


@dataclass(frozen=True)
class Recipe:
    """What was said to ``load_model``.

    Attributes:
        name: of the zoo model, ``"concepts/sam3-image"``
        settings: the arguments; a concept file is read already, for it may be on this machine alone
    """

    name: str
    settings: Mapping[str, Any]

    def elsewhere(self, checkpoint: str, device: str, dtype: str) -> dict[str, Any]:
        """The arguments for another process, perhaps on another machine: paths are absolute there.

        Args:
            checkpoint: name of the one that was loaded here
            device: kind of device, ``"cuda"``, without a number: each process sees its own alone
            dtype: of the weights
        """
        folder = Path(checkpoint).expanduser()
        settings = dict(self.settings, checkpoint=str(folder.absolute()) if folder.is_dir() else checkpoint)
        if settings.get("exemplars"):
            shown = settings["exemplars"].items()
            settings["exemplars"] = {label: [_placed(one) for one in some] for label, some in shown}
        return dict(settings, device=device, dtype=dtype)


def remembered(load: Callable[..., Any]) -> Callable[..., Any]:
    """``load_model``, whose models know their recipe (:func:`recipe_of`)."""

    @functools.wraps(load)
    def load_and_remember(model_name: str, model_path: str | None = None, **kwargs: Any) -> Any:
        model = load(model_name, model_path, **kwargs)
        if is_vocabulary(kwargs.get("classes")):
            vocabulary = read_vocabulary(kwargs["classes"])
            kwargs["classes"] = vocabulary
            exemplars = {**vocabulary.exemplars, **(kwargs.get("exemplars") or {})}
            if exemplars and hasattr(model, "bank"):
                kwargs["exemplars"] = exemplars
        model.recipe = Recipe(model_name, kwargs)
        return model

    return load_and_remember


def recipe_of(model: Any) -> Recipe:
    """How a model was loaded.

    Raises:
        ConceptError: it was put together by hand, so nobody else can load it
    """
    recipe = getattr(model, "recipe", None)
    if recipe is None:
        raise ConceptError(
            'distribute="ray" loads the model anew in every worker process, and this one was built by hand: load it by '
            'name, foz.load_zoo_model("concepts/sam3-image", classes=[...])'
        )
    return recipe


def _placed(one: Mapping[str, Any]) -> dict[str, Any]:
    return dict(one, image=os.path.abspath(one["image"]))
