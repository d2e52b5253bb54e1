"""The review queue: people look at masks, and at whether all instances are marked, the most doubtful first.

1. :func:`build_review` orders the questions, in batches of one concept and one task.
2. :func:`next_items` hands them out, to several reviewers at once; :func:`picture` and :func:`question` put them.
3. :func:`answer` writes the verdict where everything else reads it: on the label, and in the ledger.
"""

from .additions import add_missing, candidates_of
from .evidence import TASKS
from .items import Item, Progress, Review, load_review, question
from .leases import release
from .pictures import jpeg, picture
from .queue import build_review, review_steps
from .turns import next_items
from .updates import Answered
from .verdicts import AnswerConflict, ItemGone, answer, last_answer, take_back
from .verifier import verify_steps, verify_with

__all__ = [
    "AnswerConflict",
    "Answered",
    "Item",
    "ItemGone",
    "Progress",
    "Review",
    "TASKS",
    "add_missing",
    "answer",
    "build_review",
    "candidates_of",
    "jpeg",
    "last_answer",
    "load_review",
    "next_items",
    "picture",
    "question",
    "release",
    "review_steps",
    "take_back",
    "verify_steps",
    "verify_with",
]
