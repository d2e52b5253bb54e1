"""Handing over what was curated: training sets in the formats that others read, and reading them back."""

from .export import FORMATS, Exported, LeftOut, Step, export_steps, export_subset
from .reading import import_coco, read_negatives

__all__ = [
    "FORMATS", "Exported", "LeftOut", "Step", "export_steps", "export_subset", "import_coco", "read_negatives",
]  # fmt: skip
