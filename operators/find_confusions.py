"""``@concepts/sam3/find_confusions`` and the operators that follow its advice, and undo that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .finding import FindingOperator, add_key, kept
from .form import mark_problems, samples_of
from .truth_form import add_choice, guess, label_fields

_POLICIES = {
    "keep": "Keep both as they are",
    "keep best": "Keep the more confident of two instances on the same pixels",
    "nest": "Nest: the first is a part, or a kind, of the second",
    "relabel": "Relabel both to one name",
}


class FindConfusions(FindingOperator):
    """Finds concepts whose instances are on the same pixels."""

    NAME = "find_confusions"
    LABEL = "SAM 3: find confusions"
    ABOUT = "Concepts that claim the same masks, and what to do about it; no inference"

    def form(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Compare the instances of")
        fields = label_fields(ctx.dataset)
        wrong = {
            "label_field": add_choice(inputs, "label_field", "What SAM 3 found", fields, guess(fields, "sam3")),
            "key": add_key(inputs, "confusions"),
        }
        inputs.float(
            "iou", default=0.7, min=0.3, max=1.0, label="IoU from which on two instances are the same",
            view=types.SliderView(),
        )  # fmt: skip
        inputs.bool("use_masks", default=True, label="Compare masks", description="Off: boxes")
        mark_problems(inputs, wrong, {"label_field": self.problem(ctx)})
        return types.Property(inputs, view=types.View(label="Find confusions between concepts"))

    def steps(self) -> Callable[..., Iterator[Any]]:
        from ..curation.confusion import confusion_steps

        return confusion_steps

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return kept(params, "label_field", "key", "iou", "sure", "use_masks", "concepts", "ledger")

    def summary(self, result: Any) -> str:
        return f"{len(result.pairs)} pairs of concepts claim the same masks"


class SettleConfusion(foo.Operator):
    """Follows an advice: keep, keep best, nest or relabel two concepts."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="settle_confusion",
            label="SAM 3: settle a confusion",
            description="Keep, keep best, nest or relabel the instances of two concepts; can be undone",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        inputs = types.Object()
        inputs.view_target(ctx, action_description="Settle it in")
        names = _asked(ctx)
        fields = label_fields(ctx.dataset)
        wrong = {
            "label_field": add_choice(inputs, "label_field", "Instances", fields, guess(fields, "sam3")),
            "first": add_choice(inputs, "first", "First concept", names, None),
            "second": add_choice(inputs, "second", "Second concept", names, None),
        }
        view = types.RadioGroup(orientation="vertical")
        for value, label in _POLICIES.items():
            view.add_choice(value, label=label)
        inputs.enum("policy", view.values(), view=view, required=True, default="keep best", label="What to do")
        if ctx.params.get("policy") == "relabel":
            wrong["parent"] = inputs.str("parent", required=True, label="Name of both")
        first, second = ctx.params.get("first"), ctx.params.get("second")
        same = f"{first!r} cannot be settled with itself" if first and first == second else None
        mark_problems(inputs, wrong, {"second": same})
        return types.Property(inputs, view=types.View(label="Settle a confusion"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        from ..curation.policies import apply_policy

        done = apply_policy(
            samples_of(ctx), ctx.params["first"], ctx.params["second"], ctx.params.get("policy") or "keep best",
            **kept(ctx.params, "label_field", "parent", "iou", "use_masks"),
        )  # fmt: skip
        ctx.ops.reload_dataset()
        ctx.ops.notify(str(done), variant="success")
        return dict(key=done.key, removed=done.removed, changed=done.changed, samples=done.samples)

    def resolve_output(self, ctx: Any) -> types.Property:
        outputs = types.Object()
        for name in ("removed", "changed", "samples"):
            outputs.int(name, label=name.capitalize())
        outputs.str("key", label="To undo it")
        return types.Property(outputs, view=types.View(label="Settled"))

    def __call__(
        self, sample_collection: fo.core.collections.SampleCollection, first: str, second: str, policy: str,
        **settings: Any,
    ) -> Any:  # fmt: skip
        """Run from Python; arguments of ``curation.policies.apply_policy``."""
        from ..curation.policies import apply_policy

        return apply_policy(sample_collection, first, second, policy, **settings)


class UndoPolicy(foo.Operator):
    """Puts back what settling a confusion changed."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="undo_policy",
            label="SAM 3: undo what was settled",
            description="Puts back the labels and the ledger as they were",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        from ..curation.policies import applied_policies

        inputs = types.Object()
        known = applied_policies(ctx.dataset)[::-1]
        if not known:
            mark_problems(inputs, {}, {"key": "Nothing was settled in this dataset: there is nothing to undo"})
            return types.Property(inputs, view=types.View(label="Undo"))
        view = types.RadioGroup(orientation="vertical")
        for one in known:
            view.add_choice(one.key, label=str(one))
        inputs.enum("key", view.values(), view=view, required=True, default=known[0].key, label="Undo")
        return types.Property(inputs, view=types.View(label="Undo what was settled"))

    def execute(self, ctx: Any) -> None:
        from ..curation.policies import undo_policy

        undone = undo_policy(ctx.dataset, ctx.params.get("key"))
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"Undone: {undone.policy} of {undone.first!r} and {undone.second!r}", variant="success")

    def __call__(self, dataset: fo.Dataset, key: str | None = None) -> Any:
        """Run from Python; arguments of ``curation.policies.undo_policy``."""
        from ..curation.policies import undo_policy

        return undo_policy(dataset, key)


def _asked(ctx: Any) -> list[str]:
    from ..curation.answers import asked_concepts
    from ..curation.label_errors import ledger_name

    return list(asked_concepts(ctx.dataset, ledger_name(ctx.dataset, ctx.params.get("label_field") or "sam3")))
