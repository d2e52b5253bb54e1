"""``@concepts/sam3/setup_annotation``: lets labels be corrected in the App's own Annotate tab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .finding import kept
from .form import mark_problems, refusal
from .truth_form import add_choice, add_words, guess, label_fields


class SetupAnnotation(foo.Operator):
    """Makes, or completes, the label schema of a field, and shows it in the Annotate tab."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="setup_annotation",
            label="SAM 3: set up annotation",
            description="Masks can be drawn and corrected in the App's Annotate tab, with the concepts as classes",
            dynamic=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        from ..curation.annotation import check_annotation
        from ..curation.errors import CurationError

        inputs = types.Object()
        fields = label_fields(ctx.dataset)
        label = "Classes (all that are labelled, or were asked, if empty)"
        wrong = {
            "label_field": add_choice(
                inputs, "label_field", "Labels", fields, guess(fields, "sam3", "ground_truth", "labels")
            ),
            "concepts": add_words(inputs, "concepts", label, required=False),
        }  # fmt: skip
        said = kept(ctx.params, "label_field", "concepts")
        problem = refusal(lambda: check_annotation(ctx.dataset, **said), CurationError)
        mark_problems(inputs, wrong, {"label_field": problem})
        return types.Property(inputs, view=types.View(label="Set up annotation"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        from ..curation.annotation import setup_annotation

        done = setup_annotation(ctx.dataset, **kept(ctx.params, "label_field", "concepts"))
        ctx.ops.reload_dataset()
        ctx.ops.notify(str(done), variant="success")
        return dict(classes=len(done.classes), attributes=len(done.attributes))

    def resolve_output(self, ctx: Any) -> types.Property:
        outputs = types.Object()
        outputs.int("classes", label="Classes")
        outputs.int("attributes", label="Attributes")
        return types.Property(outputs, view=types.View(label="In the Annotate tab"))

    def __call__(
        self, dataset: fo.Dataset, label_field: str = "sam3", concepts: Sequence[str] | None = None
    ) -> Any:
        """Run from Python: ``foo.get_operator("@concepts/sam3/setup_annotation")(dataset, "ground_truth")``.

        Args:
            dataset: a dataset of images
            label_field: ``Detections``
            concepts: the classes; default: all that are labelled, and all that were asked

        Returns:
            what the Annotate tab knows of the field

        Raises:
            CurationError: as of ``curation.annotation.setup_annotation``
        """
        from ..curation.annotation import setup_annotation

        return setup_annotation(dataset, label_field, concepts)
