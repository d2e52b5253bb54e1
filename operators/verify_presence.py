"""``@concepts/sam3/verify_presence``: a person's word on whether a concept is there."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .form import mark_problems, samples_of
from .truth_form import add_choice

_VERDICTS = {"present": True, "absent": False}


class VerifyPresence(foo.Operator):
    """A person says of selected samples whether a concept is there."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="verify_presence",
            label="SAM 3: verify presence",
            description="Say of samples that a concept is, or is not, there; thresholds learn from it",
            dynamic=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        from ..curation.answers import asked_concepts

        inputs = types.Object()
        inputs.view_target(ctx, action_description="Verify")
        names = list(asked_concepts(ctx.dataset))
        wrong = {"concept": add_choice(inputs, "concept", "Concept", names, None)}
        view = types.RadioGroup()
        view.add_choice("present", label="is there")
        view.add_choice("absent", label="is not there")
        inputs.enum("verdict", view.values(), view=view, required=True, label="In all of these samples it")
        mark_problems(inputs, wrong, {})
        return types.Property(inputs, view=types.View(label="Verify presence"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        from ..curation.truth import verify

        count = verify(samples_of(ctx), ctx.params["concept"], _VERDICTS[ctx.params["verdict"]])
        ctx.ops.reload_dataset()
        ctx.ops.notify(f"{count} samples verified", variant="success")
        return dict(samples=count)

    def resolve_output(self, ctx: Any) -> types.Property:
        outputs = types.Object()
        outputs.int("samples", label="Samples verified")
        return types.Property(outputs, view=types.View(label="Verified"))

    def __call__(
        self, sample_collection: fo.core.collections.SampleCollection, concept: str, verdict: str | bool | None, *,
        ledger: str = "sam3",
    ) -> int:  # fmt: skip
        """Run from Python: ``foo.get_operator("@concepts/sam3/verify_presence")(view, "fox", "present")``.

        Args:
            sample_collection: the samples looked at, such as ``dataset.select(session.selected)``
            concept: one that was asked
            verdict: "present" or "absent" (or True or False) in all of them; None takes back what was said
            ledger: name of the ledger

        Returns:
            of how many samples

        Raises:
            CurationError: as of ``curation.truth.verify``
        """
        from ..curation.truth import verify

        said = _VERDICTS.get(verdict, verdict) if isinstance(verdict, str) else verdict
        return verify(sample_collection, concept, said, ledger=ledger)
