"""``@concepts/sam3/compute_embeddings``: vectors of images, or of instances, from SAM 3's encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fiftyone.operators import types

from .finding import FindingOperator, kept
from .form import add_checkpoint, add_distribute, chosen_checkpoint, distribute_settings, mark_problems
from .truth_form import add_choice, guess, label_fields

_WHAT = {"images": "Images, one vector each", "instances": "Instances, each below its own mask"}


class ComputeEmbeddings(FindingOperator):
    """Embeds images or instances; FiftyOne Brain, and the choice of a training subset, take it from there."""

    NAME = "compute_embeddings"
    LABEL = "SAM 3: compute embeddings"
    ABOUT = "Vectors of images or instances: for similarity, near-duplicates, plots, and training subsets"

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Embed")
        view = types.RadioGroup(orientation="vertical")
        for value, words in _WHAT.items():
            view.add_choice(value, label=words)
        inputs.enum("what", view.values(), default="images", view=view, label="What")
        wrong: dict[str, Any] = {}
        if ctx.params.get("what") == "instances":
            fields = label_fields(ctx.dataset)
            wrong["label_field"] = add_choice(
                inputs, "label_field", "Instances", fields, guess(fields, "sam3") or next(iter(fields), None)
            )
            wrong["attribute"] = inputs.str(
                "attribute", default="embedding", label="Attribute", description="Of each label"
            )
        else:
            wrong["embeddings_field"] = inputs.str("embeddings_field", default="sam3_embedding", label="Field")
        inputs.bool("skip_existing", default=False, label="Leave out those that have a vector")
        inputs.int("batch_size", default=8, min=1, label="Images encoded together")
        add_checkpoint(inputs, ctx)
        add_distribute(inputs, ctx)
        mark_problems(inputs, wrong, {next(iter(wrong)): self.problem(ctx)})
        return types.Property(inputs, view=types.View(label="Compute embeddings with SAM 3"))

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.embeddings import embedding_steps

        return embedding_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        said = kept(params, "what", "skip_existing", "batch_size", "device") | distribute_settings(params)
        said["checkpoint"] = chosen_checkpoint(params)
        if params.get("what") == "instances":
            where = kept(params, "label_field") | {"embeddings_field": params.get("attribute") or "embedding"}
            return dict(said, **where)
        return dict(said, **kept(params, "embeddings_field"))

    def summary(self, result: Any) -> str:
        return f"{result.vectors} {result.what} embedded in {result.field}, {result.width} numbers each"
