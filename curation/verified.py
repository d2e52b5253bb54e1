"""Which labels a reviewer accepted or rejected: an attribute on the label itself, so that views and the App know it.

True: the mask is right for its concept. False: it is not. Nobody looked yet: none. Rejected labels stay where they are,
so that a verdict can be taken back; what learns from labels, or hands them over, leaves them out.
"""

from __future__ import annotations

import fiftyone as fo
from fiftyone import ViewField as F

#: name of the attribute
ATTRIBUTE = "verified"


def verified_path(samples: fo.core.collections.SampleCollection, label_field: str) -> str:
    """Where the verdicts on the labels of a field are, such as ``"sam3.detections.verified"``."""
    _, path = samples._get_label_field_path(label_field, ATTRIBUTE)
    return path


def without_rejected(samples: fo.core.collections.SampleCollection, label_field: str) -> fo.DatasetView:
    """The samples, all of them, without those labels of a field that a reviewer rejected."""
    if verified_path(samples, label_field) not in samples.get_field_schema(flat=True):
        return samples.view()  # nobody said anything of these
    return samples.filter_labels(label_field, F(ATTRIBUTE) != False, only_matches=False)  # noqa: E712 - an expression
