"""``@concepts/sam3/query_presence``: samples by what is present, absent or in doubt, as a view that can be saved."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from .form import mark_problems, refusal, samples_of
from .truth_form import add_words

_ALL = "combination"
_KINDS = {"present": "Present", "absent": "Absent", "uncertain": "In doubt"}


class QueryPresence(foo.Operator):
    """Shows the samples that a question to the ledger finds, sorted; saves the view if it gets a name."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="query_presence",
            label="SAM 3: query presence",
            description="Samples where concepts are present, absent or in doubt, as a sorted view",
            dynamic=True,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        from ..curation.answers import asked_concepts
        from ..curation.presence import QUERIES

        inputs = types.Object()
        inputs.view_target(ctx, action_description="Look in")
        names = tuple(asked_concepts(ctx.dataset))
        view = types.Dropdown()
        view.add_choice(_ALL, label="A combination: present, absent, in doubt")
        for name, (label, _) in QUERIES.items():
            view.add_choice(name, label=label)
        inputs.enum("query", view.values(), view=view, default=_ALL, label="Find samples")
        wrong = {}
        if ctx.params.get("query", _ALL) == _ALL:
            for name, label in _KINDS.items():
                # as long as there is nothing at all, the form cannot be sent
                lacking = name == "present" and not any(ctx.params.get(kind) for kind in _KINDS)
                wrong[name] = add_words(inputs, name, label, required=lacking, choices=names)
        else:
            wrong["concept"] = add_words(inputs, "concepts", "Concept", choices=names, description="One")
            inputs.float(
                "threshold", min=0.0, max=1.0, label="Presence from which on it counts as present",
                description="Empty: the concept's own threshold", required=False,
            )  # fmt: skip
        inputs.str("save_as", label="Save the view as", description="Empty: it is shown only")
        said = any(ctx.params.get(name) is not None for name in (*_KINDS, "concepts"))
        mark_problems(inputs, wrong, {"concept": self._problem(ctx)} if said else {})
        return types.Property(inputs, view=types.View(label="Query presence"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        view = query(samples_of(ctx), ctx.params)
        name = (ctx.params.get("save_as") or "").strip()
        if name:
            ctx.dataset.save_view(name, view, overwrite=True)
            ctx.ops.set_view(name=name)
        else:
            ctx.ops.set_view(view)
        count = len(view)
        ctx.ops.notify(f"{count} samples" + (f", saved as {name!r}" if name else ""), variant="success")
        return dict(samples=count)

    def resolve_output(self, ctx: Any) -> types.Property:
        outputs = types.Object()
        outputs.int("samples", label="Samples")
        return types.Property(outputs, view=types.View(label="Found"))

    def __call__(
        self, sample_collection: fo.core.collections.SampleCollection, query: str = _ALL, concept: str | None = None, *,
        save_as: str | None = None, **settings: Any,
    ) -> fo.DatasetView:  # fmt: skip
        """Run from Python: ``foo.get_operator("@concepts/sam3/query_presence")(dataset, present=["cap"])``, or
        ``(dataset, "suppressed", "wolf")``.

        Args:
            sample_collection: a dataset or view
            query: "combination", or what is asked of one concept: a name in ``curation.presence.QUERIES``
            concept: of a query about one
            save_as: a name to save the view by; one of that name is replaced
            **settings: of ``curation.presence.where`` (``present``, ``absent``, ``uncertain`` and so on), or of the
                function that the query names

        Returns:
            the samples, sorted

        Raises:
            CurationError: as of these functions
            ValueError: no such query, or a concept where several are wanted
        """
        from ..curation.presence import QUERIES, where

        if query not in (_ALL, *QUERIES):
            raise ValueError(f"query={query!r}; want one of {[_ALL, *QUERIES]}")
        if query == _ALL and concept is not None:
            raise ValueError(f"What of {concept!r}? Say present=[{concept!r}], or query= one of {list(QUERIES)}")
        if query == _ALL:
            view = where(sample_collection, **settings)
        else:
            view = QUERIES[query][1](sample_collection, concept, **settings)
        if save_as:
            sample_collection._root_dataset.save_view(save_as, view, overwrite=True)
        return view

    @staticmethod
    def _problem(ctx: Any) -> str | None:
        from ..curation.errors import CurationError

        return refusal(lambda: query(samples_of(ctx), ctx.params), CurationError)


def query(samples: fo.core.collections.SampleCollection, params: dict[str, Any]) -> fo.DatasetView:
    """The view that the form describes."""
    from ..curation.presence import QUERIES, where

    kind = params.get("query") or _ALL
    ledger = params.get("ledger") or "sam3"
    if kind == _ALL:
        said = {name: params.get(name) or () for name in _KINDS}
        return where(samples, **said, ledger=ledger)
    concept = (params.get("concepts") or [params.get("concept")])[0]
    said = {} if params.get("threshold") is None or kind == "rich" else dict(threshold=params["threshold"])
    return QUERIES[kind][1](samples, concept, ledger=ledger, **said)
