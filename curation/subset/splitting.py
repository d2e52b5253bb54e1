"""Splits: groups stay whole, sizes are as asked as far as groups allow, and every concept is in each (stratified)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .quotas import shared_out


def split_up(
    labels: Sequence[int], groups: NDArray[np.int64], splits: Mapping[str, float], rng: np.random.Generator
) -> list[str]:
    """A split for each sample: iterative stratification (Sechidis 2011) of whole groups.

    The largest groups first, then those with the rarest label; each goes where its labels are wanted most, of the
    splits that have room for it; where none has, to the one that has most.

    Args:
        labels: n numbers, by which to stratify: what a sample was chosen as, and for.
        groups: (n,) numbers of what stays together.
        splits: name → share.
        rng: for ties.

    Returns:
        n names.
    """
    names = list(splits)
    count, kinds = len(labels), max(labels, default=-1) + 1
    sizes = shared_out(count, splits)
    numbers, member = np.unique(groups, return_inverse=True)
    held = np.zeros((len(numbers), kinds))
    np.add.at(held, (member, np.asarray(labels, dtype=np.int64)), 1)
    whole = held.sum(axis=1)
    room = np.array([float(sizes[name]) for name in names])
    share = np.array([splits[name] for name in names])
    wanted = share[:, None] * held.sum(axis=0)  # (S, kinds) of each label, what a split still wants
    left = held.sum(axis=0)
    found = np.empty(len(numbers), np.int64)
    mixed = rng.permutation(len(numbers))
    single = len(numbers) == count
    waiting = [mixed] if single else [mixed[whole[mixed] == size] for size in sorted(set(whole.tolist()), reverse=True)]
    for same in waiting:
        todo = set(range(len(same)))
        by_kind = {kind: [k for k in range(len(same)) if held[same[k], kind]] for kind in range(kinds)}
        while todo:
            kind = min((k for k in range(kinds) if by_kind[k]), key=lambda k: (left[k], k))
            for k in by_kind[kind]:
                if k not in todo:
                    continue
                todo.discard(k)
                group = same[k]
                fits = room >= whole[group]
                if fits.any():
                    rank = np.lexsort((np.arange(len(names)), -room, -(wanted @ (held[group] > 0)), ~fits))
                    split = rank[0]
                else:
                    split = int(np.argmax(room))
                found[group] = split
                room[split] -= whole[group]
                wanted[split] -= held[group]
                left -= held[group]
            by_kind[kind] = []
    return [names[k] for k in found[member]]


def fits(sizes: Sequence[int], most: int) -> int:
    """How many samples can be chosen if no group may give more than ``most``."""
    return int(np.minimum(np.asarray(sizes, dtype=np.int64), most).sum())
