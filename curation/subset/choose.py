"""Choosing a training subset: what is positive, what misleads, what is neither; unlike each other, split, explained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import fiftyone as fo
import numpy as np
from numpy.typing import NDArray

from .. import records
from ..answers import check_asked, check_concepts, check_ledger, ledgers_of, read_answers
from ..checks import check_whole
from ..definitions import chosen_senses
from ..errors import CurationError
from ..hard_negatives import METHOD as HARD
from ..hard_negatives import family_of
from ..instances import check_field
from ..kin import find_kin
from ..label_errors import ledger_name
from ..negatives import HardNegative
from ..steps import run_steps
from ..truth import Said
from . import settings as checked
from .facts import known_of, misleading, stored_negatives, with_positives
from .picking import Pick, Picker
from .pool import about_pool, check_enough, groups_of, usable_of
from .quotas import shared_out
from .result import ROLES, Step, Subset
from .roles import reviewed, roles_of
from .splitting import split_up
from .stored import check_free, write
from .telling import chosen_of, shares_of, shortages, uneven, unmined
from .vectors import check_embeddings, read_vectors

if __package__ == "curation.subset":
    from zoo.ledger import DEFAULT
else:
    from ...zoo.ledger import DEFAULT

KEY = "subset"
RATIO = {"positive": 0.5, "hard": 0.25, "easy": 0.25}
SPLITS = {"train": 0.8, "val": 0.2}


def choose_subset(
    samples: fo.core.collections.SampleCollection, n: int, *, progress: Any = None, **settings: Any
) -> Subset:
    """Choose the samples that are worth labelling and learning from.

    Each sample is chosen *as* something, *for* a concept: as a positive (the concept is there), as a hard negative (it
    is not, and SAM 3 takes or nearly takes something for it), or as an easy negative (it is not, and nothing looks like
    it). Concepts get equal shares; samples are unlike each other; near-duplicates, and what belongs together, never lie
    in two splits.

    With a ``key``, samples get the tags ``<key>`` and ``<key>:<split>`` and the fields ``<key>_split``,
    ``<key>_role``, ``<key>_concept`` and ``<key>_because``; a view of that name is saved. An earlier subset of that key
    is replaced.

    Args:
        samples: a dataset or view with a ledger.
        n: how many to choose.
        progress: whether to show a progress bar, or a function, as everywhere in FiftyOne.
        **settings: of :func:`subset_steps`: ``ratio``, ``splits`` and so on.

    Raises:
        CurationError: before anything is stored, see :func:`subset_steps`.
    """
    return run_steps("choose_subset", subset_steps, (samples, n), settings, progress)


def subset_steps(
    samples: fo.core.collections.SampleCollection, n: int, *, label_field: str | None = DEFAULT,
    ledger: str | None = None, concepts: Sequence[str] | None = None, gt_field: str | None = None,
    exhaustive: Any = None, gt_labels: Any = None, negatives_field: str | None = None,
    not_exhaustive_field: str | None = None, ratio: Mapping[str, float] | Sequence[float] = RATIO,
    balance: bool = True, diversity: str | None = "k_center", embeddings: Any = None, duplicates: bool | float = True,
    group_field: str | None = None, splits: Mapping[str, float] | None = SPLITS, hard_negatives: str | None = None,
    senses: Mapping[str, str] | str | None = None, strict: bool = False, seed: int = 51, key: str | None = KEY,
) -> Iterator[Step]:  # fmt: skip
    """As :func:`choose_subset`, reporting as it goes.

    Args:
        samples, n: see there.
        label_field: the instances that SAM 3 found. What a reviewer accepted is a fact; where all instances of a
            concept are rejected, the model's word does not count. None: presence alone is looked at.
        ledger: name of the ledger. Default: the label field's.
        concepts: which to choose for. Default: all that were asked, but for those with no positive.
        gt_field: labels that say what is there; None: what people verified, and else what the model says.
        exhaustive, gt_labels, negatives_field, not_exhaustive_field: what labels mean, see ``evaluation.policy``.
        ratio: shares of the samples that are chosen as "positive", "hard" and "easy", as a mapping or in that order.
            Where a role has too few candidates, the others get the rest.
        balance: each concept gets the same share of every role, as far as there is enough of it. False: as common as
            it is in the pool.
        diversity: "k_center" (always the farthest from all chosen before), "facility_location" (the one that stands
            for the most others), or None (at random; of hard negatives, the highest score).
        embeddings: a field of vectors, or an array (N, D) in the order of the samples. Default: ``<ledger>_embedding``
            if there is such a field, else presences. Samples without a vector are left out.
        duplicates: of samples whose embeddings have at least this cosine, only one can be chosen. True: 0.97, where
            there are embeddings. False: all can be.
        group_field: what must not be in two splits, such as the video or scene. Default: groups of grouped datasets,
            ``sample_id`` of frames that were made samples; else none.
        splits: name → share, which add up to 1; None: nothing is split.
        hard_negatives: key of an earlier ``find_hard_negatives``. Default: the latest, and where that has too few, or
            there is none, more are mined, by presence alone.
        senses: for mining, as of ``find_hard_negatives``; where nothing is said, those of the concepts' definitions.
        strict: refuse, rather than get as near as can be to what was asked.
        seed: for ties, and where nothing else is said.
        key: a name; None: nothing is stored.

    Yields:
        first with nothing done, once all settings were checked.

    Raises:
        CurationError: at the first step no ledger, unknown fields or concepts, wrong settings, a named concept without
            any positive, more samples asked for than there are; later, yet before anything is stored, more than can be
            chosen without near-duplicates and within groups; with ``strict``, a share that cannot be met.
    """
    dataset = samples._root_dataset
    check_whole(samples)
    n, ratio = checked.check_number(n), checked.check_ratio(ratio)
    splits, seed = checked.check_splits(splits, n), checked.check_seed(seed)
    balance, strict = checked.check_flag(balance, "balance"), checked.check_flag(strict, "strict")
    diversity = checked.check_diversity(diversity)
    if key is not None:
        check_free(dataset, key, splits)
    if not ledgers_of(samples):
        check_ledger(samples, ledger or DEFAULT)
    if label_field == DEFAULT and not samples.has_field(DEFAULT) and not samples.has_field(f"frames.{DEFAULT}"):
        label_field = None  # presence alone was asked for
    found_in = None if label_field is None else check_field(samples, label_field, "label_field")
    name = ledger or (DEFAULT if found_in is None else ledger_name(dataset, found_in, strict=True))
    check_ledger(samples, name)
    wanted = check_concepts(samples, concepts, name)
    if hard_negatives is not None:
        records.check_found(samples, hard_negatives, HARD)
    grouped = checked.check_group(samples, group_field)
    embeddings = check_embeddings(samples, embeddings, name)
    level = checked.check_duplicates(duplicates, embeddings is not None)
    answers = read_answers(samples, name, kinds=("count",))  # of all concepts: any may be a rival
    check_asked(samples, answers, name, wanted)
    senses = chosen_senses(dataset, name, answers.concepts, senses)
    kin = find_kin(answers.concepts, senses, family=family_of(dataset, name))
    if n > len(answers):
        raise CurationError(f"n={n}, but there are only {len(answers)} samples to choose from")
    said = Said(gt_field, exhaustive, gt_labels, negatives_field, not_exhaustive_field)
    truth = known_of(samples, answers, said, name)
    accepted, rejected = reviewed(samples, found_in, answers)
    wanted, notes = with_positives(answers, truth, accepted, rejected, wanted, concepts is not None, ratio)
    yield Step(0, n)
    vectors = read_vectors(samples, embeddings, answers)
    found: list[HardNegative] = []
    ambiguous: dict[str, str] = {}
    if not ratio["hard"]:  # none is wanted, yet a finding that knew labels says what is no positive
        found = stored_negatives(dataset, hard_negatives)
    else:
        found, ambiguous = misleading(samples, hard_negatives, answers, truth, kin, wanted, int(n * ratio["hard"]) + 1)
        notes += unmined(ambiguous)
    roles = roles_of(answers, truth, accepted, rejected, found, wanted)
    usable, pool = usable_of(roles, answers, vectors, level, ratio)
    groups = None if grouped is None else groups_of(samples, grouped)
    most = max(shared_out(n, splits).values(), default=n)
    check_enough(n, usable, pool, groups, most, grouped, splits)
    rng = np.random.default_rng([seed, 0x5AB5E7])
    numbers = None if groups is None else np.unique(groups, return_inverse=True)[1]
    picker = Picker(roles, usable, vectors.rows, diversity, balance, numbers, most, rng)
    for done in picker.choose(n, ratio):
        yield Step(done, n)
    picks = picker.picks
    notes = [*about_pool(pool, vectors, level, duplicates), *notes, *shortages(picker, n)]
    if strict and (len(picks) < n or any(sum(picker.got[role]) < sum(picker.asked[role]) for role in ROLES)):
        raise CurationError("; ".join(shortages(picker, n)) + ": ask for less, or say strict=False")
    places: list[str] | list[None] = [None] * len(picks)
    if splits:
        places = _split(picks, numbers, splits, len(roles.concepts), rng)
        notes += uneven(places, splits)
    result = Subset(
        key or "", n, tuple(chosen_of(picks, places, roles, answers, groups)), tuple(shares_of(picker)), splits, pool,
        tuple(notes), tuple(ambiguous.values()),
    )  # fmt: skip
    if key is not None:
        about = dict(
            ledger=name, label_field=found_in, gt_field=gt_field, concepts=list(wanted), ratio=ratio, balance=balance,
            diversity=diversity, embeddings=vectors.field, duplicates=level, group_field=grouped, splits=splits,
            hard_negatives=hard_negatives, strict=strict, seed=seed,
        )  # fmt: skip
        write(dataset, result, about)
    yield Step(n, n, result)


def _split(
    picks: Sequence[Pick], groups: NDArray[np.int64] | None, splits: Mapping[str, float], concepts: int,
    rng: np.random.Generator,
) -> list[str]:  # fmt: skip
    labels = [ROLES.index(pick.role) * concepts + pick.column for pick in picks]
    rows = np.array([pick.row for pick in picks])
    return split_up(labels, rows if groups is None else groups[rows], splits, rng)
