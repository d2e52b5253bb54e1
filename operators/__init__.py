"""The App's face: one capability a file."""

from __future__ import annotations

from typing import Any

from .ask_again import AskAgain
from .build_review import BuildReview
from .check_exhaustivity import CheckExhaustivity
from .choose_subset import ChooseSubset
from .choose_wording import ChooseWording
from .compare_wordings import CompareWordings
from .compute_embeddings import ComputeEmbeddings
from .delete_findings import DeleteFindings
from .evaluate_concepts import EvaluateConcepts
from .export_subset import ExportSubset
from .find_confusions import FindConfusions, SettleConfusion, UndoPolicy
from .find_hard_negatives import FindHardNegatives
from .find_label_errors import FindLabelErrors
from .metrics import METRICS
from .panel import ConceptsPanel
from .pick_thresholds import PickThresholds, ResetThresholds
from .query_presence import QueryPresence
from .refine_labels import RefineLabels
from .render_overlay import RenderOverlay
from .save_concepts import SaveConcepts
from .segment_concepts import SegmentConcepts
from .segment_everything import SegmentEverything
from .segment_regions import SegmentRegions
from .setup_annotation import SetupAnnotation
from .track_concepts import TrackConcepts
from .undo_change import UndoChange
from .verify_presence import VerifyPresence

OPERATORS = (
    SegmentConcepts, TrackConcepts, SegmentRegions, AskAgain, RefineLabels, SegmentEverything, UndoChange,
    CompareWordings, ChooseWording, SaveConcepts, RenderOverlay, EvaluateConcepts, QueryPresence, FindHardNegatives,
    FindLabelErrors, FindConfusions, SettleConfusion, UndoPolicy, PickThresholds, ResetThresholds, VerifyPresence,
    CheckExhaustivity, BuildReview, SetupAnnotation, ComputeEmbeddings, ChooseSubset, ExportSubset, DeleteFindings,
    *METRICS, ConceptsPanel,
)  # fmt: skip


def register(plugin: Any) -> None:
    """Hand the operators to FiftyOne."""
    for operator in OPERATORS:
        plugin.register(operator)
