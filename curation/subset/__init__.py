"""A training subset: what is worth labelling and learning from, chosen out of a pool, split, and explained."""

from .choose import KEY, choose_subset, subset_steps
from .result import METHOD, ROLES, Chosen, Share, Step, Subset
from .stored import load_subset

__all__ = [
    "KEY", "METHOD", "ROLES", "Chosen", "Share", "Step", "Subset", "choose_subset", "load_subset", "subset_steps",
]  # fmt: skip
