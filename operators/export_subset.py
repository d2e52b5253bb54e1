"""``@concepts/sam3/export_subset``: what was curated, as a training set that others can read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fiftyone as fo
from fiftyone.operators import types

from .finding import FindingOperator, kept
from .form import mark_problems
from .truth_form import (
    absence_settings,
    add_absence,
    add_choice,
    add_names,
    add_words,
    guess,
    label_fields,
    names_of,
)

_FORMATS = {
    "coco": "COCO: exact masks, and what is absent",
    "yolo": "YOLO segmentation: a polygon for each instance",
    "saco": "SA-Co/Gold: pairs of image and phrase, negatives included",
    "crops": "Crops: a picture with alpha for each instance",
}
_SPLITS = {"none": "No splits", "field": "A field has the names of splits", "tags": "Tags are the splits"}
_MEDIA = {"copy": "Copies of the images", "symlink": "Links to the images", "none": "None: files name them as they are"}
_MASKS = {"refuse": "Stop, and say so", "skip": "Leave them out", "box": "Fill their boxes"}


class ExportSubset(FindingOperator):
    """Writes the samples, the view or a subset to a new folder on the App's machine.

    1. The form asks for a format, a folder, labels, splits, and what is known to be absent.
    2. Everything that can be wrong is said before anything is written.
    3. The folder appears when it is whole.
    """

    NAME = "export_subset"
    LABEL = "SAM 3: export a training set"
    ABOUT = "COCO with negatives, YOLO segmentation, SA-Co, or crops with alpha; no inference"

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Export")
        format = ctx.params.get("format") or "coco"
        _add_radio(inputs, "format", _FORMATS, "Format")
        wrong = {"directory": _add_folder(inputs, ctx, format)}
        fields = label_fields(ctx.dataset)
        likely = guess(fields, "sam3", "ground_truth")
        wrong["label_field"] = add_choice(inputs, "label_field", "Labels", fields, likely)
        wrong |= _add_splits(inputs, ctx)
        if format != "crops":
            wrong |= _add_negatives(inputs, ctx, format)
            media = {name: text for name, text in _MEDIA.items() if name != "none" or format != "yolo"}
            _add_radio(inputs, "yolo_media" if format == "yolo" else "media", media, "Images")
        inputs.bool(
            "overwrite", default=False, label="Replace an earlier export",
            description="Files that it did not write stay",
        )  # fmt: skip
        inputs.bool("more", default=False, label="More settings")
        if ctx.params.get("more"):
            wrong |= _add_more(inputs, format)
        ready = _folder(ctx.params) and (not ctx.params.get("gt_field") or ctx.params.get("absence"))
        mark_problems(inputs, wrong, {"directory": self.problem(ctx)} if ready else {})
        return types.Property(inputs, view=types.View(label="Export a training set"))

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.handover import export_steps

        return export_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        names = ("format", "label_field", "subset", "ledger", "concepts", "masks", "min_size", "tolerance", "margin")
        said = dict(kept(params, *names), export_dir=_folder(params))
        own = {"yolo": {"tolerance"}, "crops": {"margin", "square", "min_size"}}.get(said.get("format", "coco"), set())
        for name in {"tolerance", "margin", "min_size"} - own:  # left over from another format
            said.pop(name, None)
        for name in ("rejected", "overwrite", *own & {"square"}):
            said[name] = bool(params.get(name))
        by = params.get(_by(params))
        said["splits"] = {"field": params.get("split_field"), "tags": params.get("split_tags")}.get(by)
        if by == "none" and "subset" in said:
            said["splits"] = False
        if "export_media" in params:
            said["export_media"] = params["export_media"]
        elif said.get("format") != "crops":
            chosen = params.get("yolo_media" if said.get("format") == "yolo" else "media")
            said["export_media"] = {"symlink": "symlink", "none": False}.get(chosen, True)
        said["negatives"] = params.get("negatives", True)
        if said["negatives"] and params.get("gt_field"):
            truth = absence_settings(params)
            said |= dict(truth, gt_field=params["gt_field"], gt_labels=names_of(params.get("gt_labels")))
        return said

    def summary(self, result: Any) -> str:
        images, instances = result.total("images"), result.total("instances")
        words = f"{images} images with {instances} instances are in {result.export_dir}"
        negatives = result.total("negatives")
        words += f", and {negatives} negatives" if negatives else ""
        return ". ".join([words, *result.notes])

    def __call__(
        self, sample_collection: fo.core.collections.SampleCollection, export_dir: str, format: str = "coco",
        **settings: Any,
    ) -> Any:  # fmt: skip
        """Run from Python: ``foo.get_operator("@concepts/sam3/export_subset")(view, "handover", "yolo", splits=True)``.

        Args:
            sample_collection: a dataset or view of images
            export_dir: a new folder; a relative one is meant from here, wherever a delegated run happens
            format: "coco", "yolo", "saco" or "crops"
            **settings: of ``curation.handover.export_steps``, and ``delegate`` and ``progress``

        Returns:
            what was written; if delegated, FiftyOne's execution result

        Raises:
            CurationError: before anything is written, or queued
        """
        if isinstance(export_dir, (str, os.PathLike)) and str(export_dir).strip():
            export_dir = os.path.abspath(os.path.expanduser(export_dir))
        return super().__call__(sample_collection, export_dir=export_dir, format=format, **settings)


def _add_radio(inputs: types.Object, name: str, choices: Mapping[str, str], label: str) -> None:
    view = types.RadioGroup(orientation="vertical")
    for value, text in choices.items():
        view.add_choice(value, label=text)
    inputs.enum(name, view.values(), view=view, default=next(iter(choices)), label=label)


def _add_folder(inputs: types.Object, ctx: Any, format: str) -> types.Property:
    """The folder as FiftyOne's own export asks for it, and the name of the one to be made in it."""
    view = types.FileExplorerView(choose_dir=True, button_label="Choose a directory…", choose_button_label="Accept")
    chosen = inputs.file(
        "directory", required=True, label="Directory", description="On the App's machine", view=view
    )  # fmt: skip
    inputs.str(
        "folder", default=f"{ctx.dataset.name}-{format}", label="New folder in it",
        description="Empty: the directory itself, if nothing is in it",
    )  # fmt: skip
    return chosen


def _folder(params: Mapping[str, Any]) -> str | None:
    """The folder of the export, out of the form."""
    chosen = params.get("directory")
    if isinstance(chosen, Mapping):
        chosen = chosen.get("absolute_path")
    if not chosen:
        return params.get("export_dir")
    return os.path.join(chosen, (params.get("folder") or "").strip())


def _add_splits(inputs: types.Object, ctx: Any) -> dict[str, types.Property]:
    """The subset, if there are any, and the splits."""
    schema = ctx.dataset.get_field_schema()
    fields = [name for name, field in schema.items() if type(field) is fo.StringField and name != "filepath"]
    subsets = [name.removesuffix("_split") for name in fields if name.endswith("_split") and name != "_split"]
    wrong = {}
    if subsets:
        wrong["subset"] = add_choice(
            inputs, "subset", "Subset", subsets, None, required=False,
            description="Only its samples, by its own splits; empty: all",
        )  # fmt: skip
    by = _by(ctx.params)
    _add_radio(inputs, by, {"own": "The subset's own", **_SPLITS} if by == "subset_by" else _SPLITS, "Splits")
    if ctx.params.get(by) == "field":
        wrong["split_field"] = add_choice(inputs, "split_field", "Field of splits", fields, guess(fields, "split"))
    if ctx.params.get(by) == "tags":
        tags = tuple(ctx.dataset.distinct("tags"))
        usual = [tag for tag in ("train", "val", "validation", "test") if tag in tags]
        wrong["split_tags"] = add_words(inputs, "split_tags", "Tags of splits", choices=tags, default=usual)
    return wrong


def _by(params: Mapping[str, Any]) -> str:
    """The parameter that says where splits are: what was chosen of a subset is no choice without one."""
    return "subset_by" if params.get("subset") else "by"


def _add_negatives(inputs: types.Object, ctx: Any, format: str) -> dict[str, types.Property]:
    """What is known to be absent."""
    inputs.bool(
        "negatives", default=True, label="Say what is absent from each image",
        description="By the word of a person, of labels, or of SAM 3's presence; in negatives.json, too",
    )  # fmt: skip
    if not ctx.params.get("negatives", True):
        return {}
    truths = label_fields(ctx.dataset, (fo.Detections, fo.Classification, fo.Classifications, fo.Polylines))
    wrong = {
        "gt_field": add_choice(
            inputs, "gt_field", "Labels that say so", truths, None, required=False,
            description="Without them, people and SAM 3 do",
        )
    }  # fmt: skip
    return wrong | add_absence(inputs, ctx) if ctx.params.get("gt_field") else wrong


def _add_more(inputs: types.Object, format: str) -> dict[str, types.Property]:
    label = "Concepts (all that were asked or are labelled, if empty)"
    wrong = {"concepts": add_words(inputs, "concepts", label, required=False)}
    if format != "crops":
        wrong["gt_labels"] = add_names(inputs)
    inputs.bool("rejected", default=False, label="Export what reviewers rejected, too")
    _add_radio(inputs, "masks", _MASKS, "If labels have no mask")
    if format == "yolo":
        inputs.float("tolerance", default=0.0, min=0.0, max=10.0, label="Tolerance of polygons, in pixels")
    if format == "crops":
        inputs.float(
            "margin", default=0.0, min=0.0, max=2.0, label="Margin", description="As a share of the longer side"
        )
        inputs.bool("square", default=False, label="Square crops")
        inputs.int("min_size", default=1, min=1, label="Least size, in pixels of the longer side")
    return wrong
