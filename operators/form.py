"""What the forms of several operators share: concepts, checkpoint, thresholds, and how they report."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import fiftyone.operators as foo
from fiftyone.operators import types

TINY = "tiny"
FACEBOOK = "facebook/sam3"
#: the parameter with the settings of a call from Python that waits in the queue
CALL = "call"
_MAX_SLIDERS = 24
_MOST_TOLD = 6


def add_concepts(inputs: types.Object, ctx: Any, *, required: bool = True) -> types.Property:
    """The field for concepts; how those are asked that have a definition stands below it."""
    field = inputs.list(
        "classes",
        types.String(),
        required=required,
        default=usual_concepts(ctx) if required else [],
        label="Concepts",
        description="Short noun phrases such as 'red baseball cap'. Press Enter after each",
        view=types.AutocompleteView(multiple=True, allow_user_input=True),
    )
    asked = ctx.params.get("classes") or (usual_concepts(ctx) if required else [])
    other = {label: words for label, words in defined(ctx).items() if label in asked and words != [label]}
    if other:
        told = "; ".join(f"{label}: {', '.join(words)}" for label, words in list(other.items())[:_MOST_TOLD])
        more = "; …" if len(other) > _MOST_TOLD else ""
        inputs.view("defined", types.Notice(label=f"Asked by their definition: {told}{more}"))
    return field


def defined(ctx: Any) -> dict[str, list[str]]:
    """Concept -> phrases that somebody chose for it, in the ledger that the form is about."""
    from ..zoo.definitions import definitions
    from ..zoo.engine.errors import ConceptError

    ledger = ctx.params.get("ledger") or ctx.params.get("label_field") or "sam3"
    try:
        return definitions(ctx.dataset, str(ledger).removeprefix("frames."))
    except ConceptError:  # no ledger's name, which the form shows
        return {}


def usual_concepts(ctx: Any) -> list[str]:
    """What a form proposes to ask: concepts that have a definition, and those that the dataset suggests."""
    from ..zoo.segment import suggested_concepts

    made = list(defined(ctx))
    plain = {label.casefold() for label in made}
    return [*made, *(name for name in suggested_concepts(ctx.dataset) if name.casefold() not in plain)]


def add_checkpoint(inputs: types.Object, ctx: Any) -> None:
    """The choice of weights."""
    view = types.Dropdown()
    for value, label in {
        TINY: "Tiny, trained on emoji: ships with the plugin",
        FACEBOOK: "facebook/sam3 (gated)",
        "other": "Another checkpoint",
    }.items():
        view.add_choice(value, label=label)
    inputs.enum("checkpoint", view.values(), view=view, default=default_checkpoint(), label="Checkpoint")
    if ctx.params.get("checkpoint") == "other":
        inputs.str("other_checkpoint", required=True, label="Folder or hub id")


def add_label_field(inputs: types.Object) -> types.Property:
    """The field for the field."""
    return inputs.str(
        "label_field",
        default="sam3",
        label="Label field",
        description="Instances go here; presence goes to <field>_presence, one number for each concept",
    )


def add_threshold(inputs: types.Object, ctx: Any) -> None:
    """One threshold, or one for each concept."""
    inputs.float("confidence_thresh", default=0.5, min=0.0, max=1.0, label="Threshold", view=types.SliderView())
    inputs.bool("own_thresholds", default=False, label="A threshold for each concept")
    if not ctx.params.get("own_thresholds"):
        return
    for k, label in enumerate((ctx.params.get("classes") or [])[:_MAX_SLIDERS]):
        inputs.float(
            f"threshold_{k}",
            default=ctx.params.get("confidence_thresh", 0.5),
            min=0.0,
            max=1.0,
            label=str(label),
            view=types.SliderView(),
        )


def add_distribute(inputs: types.Object, ctx: Any) -> None:
    """Who computes: this process, or workers; not asked where there is no choice."""
    from ..zoo.cluster import has_ray

    if not has_ray():
        return
    view = types.Dropdown()
    view.add_choice("", label="This process")
    view.add_choice("ray", label="Ray: worker processes, here or on the cluster at RAY_ADDRESS")
    inputs.enum("distribute", view.values(), view=view, default="", label="Computed by")
    if ctx.params.get("distribute"):
        inputs.int("workers", min=1, label="Workers", description="Left empty: one a GPU, or, without GPUs, a core")


def distribute_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Who computes, out of the form, or of a call from Python."""
    distribute = params.get("distribute") or None
    # a number of workers may be left of a choice that was taken back
    return dict(distribute=distribute, workers=params.get("workers") if distribute else None)


def mark_problems(
    inputs: types.Object, properties: Mapping[str, types.Property | None], problems: Mapping[str, str | None]
) -> None:
    """Show what is wrong, and stop the form from being sent."""
    for name, problem in problems.items():
        if not problem:
            continue
        if properties.get(name) is not None:
            properties[name].invalid, properties[name].error_message = True, problem
        shown = inputs.view(f"problem_{name}", types.Error(label=problem))
        shown.invalid, shown.error_message = True, problem


def refusal(attempt: Callable[[], Any], kind: type[Exception] | None = None) -> str | None:
    """In what words ``attempt`` is refused, if it is: with a ``ConceptError``, or an error of another ``kind``."""
    from ..zoo.engine.errors import ConceptError

    caught = kind or ConceptError
    try:
        attempt()
    except caught as error:
        return str(error)
    return None


def notified(ctx: Any, work: Iterator[Any]) -> Iterator[Any]:
    """``work``, and a word where it fails: the App closes the form without one."""
    try:
        with contextlib.closing(work):
            for step in work:
                yield step
                if "progress" in ctx.params:
                    _stop_if_interrupted()
    except Exception as error:
        if not ctx.delegated:
            yield ctx.ops.notify(str(error), variant="error")
        raise


def _stop_if_interrupted() -> None:
    """End what a script called, when its user pressed Ctrl-C. FiftyOne runs it in a task of a loop of its own, whose
    first Ctrl-C merely cancels the loop's tasks; and as nothing is awaited here, nobody would hear of it.
    """
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        return
    if any(getattr(task, "cancelling", int)() for task in tasks):
        raise asyncio.CancelledError


@contextlib.contextmanager
def progress_bar(ctx: Any) -> Iterator[Callable[[int, int], None]]:
    """What is told how much is done, of how much: it moves a bar for who called from Python. The App has its own."""
    held: list[fou.ProgressBar] = []

    def tell(done: int, total: int) -> None:
        if "progress" not in ctx.params or ctx.delegated:
            return
        if not held:
            held.append(fou.ProgressBar(total=total, progress=ctx.params["progress"]).__enter__())
        held[0].set_iteration(done)

    try:
        yield tell
    finally:
        for bar in held:
            bar.__exit__(None, None, None)


def default_checkpoint() -> str:
    """Meta's weights if they are on this machine, else the ones that always are."""
    from ..zoo.engine.checkpoint import has_gated

    return FACEBOOK if has_gated() else TINY


def asked_classes(ctx: Any) -> dict[str, Any]:
    """Label -> phrase(s), out of the form, or of a call from Python."""
    pointed = any(ctx.params.get(name) for name in ("prompt_field", "box_prompt_field", "point_prompt_field"))
    labels = ctx.params.get("classes") or ([] if pointed else usual_concepts(ctx))
    # a form has labels only, which are asked as they are defined; a call from Python has both
    phrases = {**defined(ctx), **(ctx.params.get("phrases") or {})}
    return {label: phrases.get(label, label) for label in labels}


def chosen_checkpoint(params: Mapping[str, Any]) -> str | None:
    """Folder or hub id, out of the form."""
    from ..zoo.engine.checkpoint import TINY as TINY_FOLDER

    choice = params.get("checkpoint") or default_checkpoint()
    return {TINY: str(TINY_FOLDER), "other": params.get("other_checkpoint")}.get(choice, choice)


def common_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """What every model takes, out of the form."""
    thresholds = params.get("thresholds")
    if thresholds is None and params.get("own_thresholds"):
        thresholds = {
            label: params[f"threshold_{k}"]
            for k, label in enumerate(params.get("classes") or [])
            if params.get(f"threshold_{k}") is not None
        }
    weights = {name: params[name] for name in ("dtype", "compile") if params.get(name) is not None}
    return dict(
        checkpoint=chosen_checkpoint(params),
        thresholds=thresholds,
        ledger=params.get("label_field") or "sam3",
        device=params.get("device"),
        confidence_thresh=0.5 if params.get("confidence_thresh") is None else params["confidence_thresh"],
        **weights,
    )


def concept_parameters(
    classes: Any, thresholds: Mapping[str, float] | None, checkpoint: str | None, *, pointed: bool = False
) -> dict[str, Any]:
    """What a call from Python asks, as the form would have said it; ``pointed``: there are prompts, so that nothing
    else need be asked.
    """
    from ..zoo.engine.concepts import parse_concepts

    concepts = () if pointed and not classes else parse_concepts(classes, thresholds)
    return dict(
        classes=[c.label for c in concepts],
        phrases={c.label: list(c.phrases) for c in concepts},
        thresholds=thresholds,
        checkpoint="other" if checkpoint else TINY,
        other_checkpoint=checkpoint,
    )


def execution_context(
    collection: fo.core.collections.SampleCollection,
) -> tuple[dict[str, Any], dict[str, str]]:
    """For a call from Python on ``collection``: the operator's context, and the parameter that names its target."""
    is_view = isinstance(collection, fo.DatasetView)
    ctx = dict(view=collection) if is_view else dict(dataset=collection)
    return ctx, dict(view_target="CURRENT_VIEW" if is_view else "DATASET")


def samples_of(ctx: Any) -> fo.core.collections.SampleCollection:
    """The samples that a run is about, as its form would propose them where nobody chose: the selected ones, if there
    are any, else the current view, else the dataset.
    """
    said = ctx.params.get("view_target") or ctx.request_params.get("view_target")
    return ctx.target_view() if said or not ctx.selected else ctx.view.select(ctx.selected)


def queue(
    uri: str, collection: fo.core.collections.SampleCollection, settings: Mapping[str, Any], **params: Any
) -> Any:
    """Have an operator run later, with the settings of a call from Python, which go by its form (:data:`CALL`).

    Args:
        uri: the operator
        collection: a dataset or view
        settings: of the call; plain values
        **params: what the operator itself asks of its form

    Returns:
        FiftyOne's execution result

    Raises:
        ValueError: settings that cannot be stored, such as expressions
    """
    import bson

    try:
        bson.encode(dict(settings))
    except (bson.errors.InvalidDocument, OverflowError) as error:
        raise ValueError(f"delegate=True stores the settings until they are used, and cannot: {error}") from None
    ctx, target = execution_context(collection)
    params = {**params, **target, CALL: dict(settings)}
    return foo.execute_operator(uri, ctx, params=params, request_delegation=True)


def listed(labels: Iterable[str], most: int = 6) -> str:
    """The first of ``labels``, for a message."""
    shown = list(labels)
    return ", ".join(shown[:most]) + (", …" if len(shown) > most else "")
