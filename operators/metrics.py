"""``@concepts/sam3/cgf1`` and so on: the metrics as FiftyOne's evaluations know them.

In any evaluation of detections: ``dataset.evaluate_detections("sam3", gt_field="ground_truth", eval_key="eval",
custom_metrics=["@concepts/sam3/cgf1"])``; they stand in the summary of the App's Model Evaluation panel.
``@concepts/sam3/evaluate_concepts`` has them all, and does more.
"""

from __future__ import annotations

import logging
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo

logger = logging.getLogger(__name__)


class _ConceptMetric(foo.EvaluationMetric):
    """One number of a concept evaluation of the fields that are being evaluated."""

    name = ""
    label = ""
    description = ""

    @property
    def config(self) -> foo.EvaluationMetricConfig:
        config = foo.EvaluationMetricConfig(
            name=self.name,
            label=self.label,
            description=self.description,
            eval_types=["detection"],
            aggregate_key=self.label,
            unlisted=True,
        )
        config.kwargs["lower_is_better"] = False  # where FiftyOne 1.22 looks for it; it ignores the argument
        return config

    def compute(self, samples: fo.core.collections.SampleCollection, results: Any, **kwargs: Any) -> float | None:
        """The number, of the fields of ``results``.

        Args:
            samples: what is evaluated
            results: FiftyOne's results
            **kwargs: of ``evaluation.concepts.evaluate_concepts``; without a word about absence, ground truth counts as
                exhaustive, as it does for FiftyOne
        """
        if not kwargs.keys() & {"exhaustive", "negatives_field"}:
            kwargs["exhaustive"] = True
        return _numbers(samples, results, kwargs).get(self.label)

    def get_fields(self, samples: fo.core.collections.SampleCollection, config: Any, eval_key: str) -> list[str]:
        return []


def _numbers(samples: fo.core.collections.SampleCollection, results: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """All metrics at once: FiftyOne asks for them one by one."""
    from ..evaluation.concepts import evaluate_concepts

    asked, numbers = getattr(results, "_sam3_numbers", (None, None))
    if asked != settings:
        config = results.config
        defaults = dict(iou=config.iou, use_masks=config.use_masks, concepts=_concepts(samples, config, results))
        found = evaluate_concepts(
            samples, config.pred_field, config.gt_field, progress=False, **{**defaults, **settings}
        )
        numbers = found.report()
        for warning in numbers["warnings"]:
            logger.warning(warning)
        results._sam3_numbers = dict(settings), numbers
    return numbers


def _concepts(samples: fo.core.collections.SampleCollection, config: Any, results: Any) -> list[str] | None:
    """What is evaluated: what was asked; where nothing says what that was, FiftyOne's classes."""
    from ..zoo.provenance import ledger_of

    bare = config.pred_field.removeprefix("frames.")
    known = ledger_of(samples._root_dataset, bare, frames=bare != config.pred_field)
    if known:
        return None
    said = sorted({str(name) for name in results.ypred} - {results.missing})
    spelled = {name.casefold() for name in said}
    return said + [str(name) for name in results.classes if name != results.missing and name.casefold() not in spelled]


class CgF1(_ConceptMetric):
    """Is the concept known to be there, and where? Also takes away what a concept evaluation leaves behind."""

    name, label = "cgf1", "cgF1"
    description = "pmF1 x IL_MCC, SAM 3's own metric: are concepts known to be there, and are their masks right?"

    def get_fields(self, samples: fo.core.collections.SampleCollection, config: Any, eval_key: str) -> list[str]:
        from ..evaluation.record import own_fields

        return own_fields(samples, config, eval_key)

    def cleanup(self, samples: fo.core.collections.SampleCollection, config: Any, eval_key: str) -> None:
        from ..evaluation.record import forget

        super().cleanup(samples, config, eval_key)
        forget(samples._root_dataset, eval_key)

    def rename(
        self, samples: fo.core.collections.SampleCollection, config: Any, eval_key: str, new_eval_key: str
    ) -> None:
        from ..evaluation.record import renamed

        super().rename(samples, config, eval_key, new_eval_key)
        renamed(samples._root_dataset, eval_key, new_eval_key)


class PmF1(_ConceptMetric):
    """How good are the masks where the concept is?"""

    name, label = "pmf1", "pmF1"
    description = "F1 of masks, averaged over IoU thresholds, on the pairs whose concept is there"


class IlMcc(_ConceptMetric):
    """Is it known whether the concept is there?"""

    name, label = "il_mcc", "IL_MCC"
    description = "Matthews correlation of whether a concept is there with whether anything was found; -1 to 1"


class PHota(_ConceptMetric):
    """Are masklets found, and kept apart?"""

    name, label = "phota", "pHOTA"
    description = "HOTA of masklets, phrase by phrase"


METRICS = (CgF1, PmF1, IlMcc, PHota)
