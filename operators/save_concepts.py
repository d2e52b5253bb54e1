"""``@concepts/sam3/save_concepts``: what a dataset was asked, as a concept file that a team can share."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .form import mark_problems, refusal
from .truth_form import add_choice


class SaveConcepts(foo.Operator):
    """Writes the concepts of a ledger, with phrases, thresholds and marked examples, to a YAML file."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="save_concepts",
            label="SAM 3: save concepts to a file",
            description="What was asked, with phrases, thresholds and examples, as a concept file for other datasets",
            dynamic=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        from ..curation.answers import ledgers_of

        inputs = types.Object()
        known = ledgers_of(ctx.dataset)
        wrong = {"ledger": add_choice(inputs, "ledger", "Ledger", known, known[0] if known else None)}
        wrong["path"] = inputs.str("path", required=True, default="concepts.yaml", label="File, on the App's machine")
        inputs.bool("overwrite", default=False, label="Replace a file that is there")
        problem = refusal(lambda: _vocabulary(ctx.dataset, ctx.params.get("ledger") or (known or ["sam3"])[0]))
        mark_problems(inputs, wrong, {"ledger": problem})
        return types.Property(inputs, view=types.View(label="Save concepts to a file"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        from pathlib import Path

        path, ledger = ctx.params["path"], ctx.params.get("ledger") or "sam3"
        count = self(ctx.dataset, path, ledger=ledger, overwrite=bool(ctx.params.get("overwrite")))
        ctx.ops.notify(f"{count} concepts are in {Path(path).expanduser().resolve()}", variant="success")
        return dict(concepts=count)

    def resolve_output(self, ctx: Any) -> types.Property:
        outputs = types.Object()
        outputs.int("concepts", label="Concepts saved")
        return types.Property(outputs, view=types.View(label="Saved"))

    def __call__(
        self, dataset: fo.Dataset, path: str, *, ledger: str = "sam3", overwrite: bool = False
    ) -> int:  # fmt: skip
        """Run from Python: ``foo.get_operator("@concepts/sam3/save_concepts")(dataset, "concepts.yaml")``.

        Args:
            dataset: the dataset, or a view of it
            path: the file; its name ends with .yaml
            ledger: name of the ledger
            overwrite: replace a file that is there

        Returns:
            how many concepts

        Raises:
            ConceptError: nothing was asked; the file is there already, or no concept file by its name
        """
        from ..zoo.engine.vocabulary_file import write_vocabulary

        vocabulary = _vocabulary(dataset._root_dataset, ledger)
        write_vocabulary(path, vocabulary, overwrite=overwrite)
        return len(vocabulary.concepts)


def _vocabulary(dataset: fo.Dataset, ledger: str) -> Any:
    from ..zoo.provenance import vocabulary_of

    marks = f"{ledger}_marks"
    there = marks in dataset.get_field_schema() and dataset.count(f"{marks}.detections")
    return vocabulary_of(dataset, ledger, marks if there else None)
