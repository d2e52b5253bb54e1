"""Wordings on the emoji world: ``python -m benchmarks.wordings [--scenes N] [--limit N] [--json FILE]``.

Nouns of the emoji world are asked as :func:`curation.phrasing.suggest_wordings` suggests, on scenes that nothing was
trained on, with the tiny checkpoint, and judged by the world's truth:

``regret``
    true F1 of the best wording, less that of the recommended one; "blind" is without labels, "labelled" with the labels
    of other scenes (the recommendation is made on one half, and judged on the other). Beside them, what the noun as it
    stands, and a wording drawn at random, would lose
``known``
    share of the suggested wordings of each kind that find anything: the network was taught articles and plurals, and no
    synonyms but by chance
``senses``
    words with two senses: whether the names of the two are groups of their own, and how often two nouns that mean
    different things are one group by mistake
``stability``
    AUC of stability, of confidence and of both for an instance being right: its mask is that of an object of its
    concept, IoU 0.5 or more. Over all instances from confidence 0.05 on, and over those that count (0.5 on), whose
    doubtful ones are what a reviewer looks for. "single": each object is right once, and its duplicates are wrong
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scripts.plugin import use_own_plugin

#: within so much F1 of the best, a wording is as good
NEAR = 0.02
#: a noun counts if so many of its instances are in each half of the scenes
_LEAST = 3
#: scenes whose instances' stability is measured, at most
_STABLE = 100


def wordings(world: Any, limit: int = 50) -> dict[str, Any]:
    """Regret of recommendations, senses told apart, and what stability says of instances.

    Args:
        world: a :class:`benchmarks.planted.World`: its ``dataset`` has ``ground_truth``, and every noun was asked.
        limit: scenes that each noun is asked of, in each half.
    """
    from curation.trying import trial_model
    from emoji_world.vocabulary import AMBIGUOUS, NOUNS

    loaded = trial_model(world.dataset, "sam3", "dog", [], None, None)  # held, so that it is loaded once
    ids = world.dataset.values("id")
    halves = [world.dataset.select(ids[start::2], ordered=True) for start in (0, 1)]
    rows, kinds = [], defaultdict(list)
    for noun in NOUNS:
        row = _regret(noun, halves, kinds, limit)
        if row is not None:
            rows.append(row)
    return dict(
        checkpoint=loaded.about()["checkpoint"], scenes=len(ids), nouns=len(rows), regret=_summary(rows), rows=rows,
        known={kind: float(np.mean(found)) for kind, found in kinds.items()},
        senses=_senses(world.dataset, AMBIGUOUS, limit), stability=_stability(world.dataset, list(NOUNS)),
    )  # fmt: skip


def said(found: dict[str, Any]) -> str:
    """The numbers for people."""
    lines = [
        f"Wordings of {found['nouns']} nouns, {found['scenes']} scenes: F1 lost to the best wording",
        f"  {'':12s}{'mean':>8s}{'worst':>8s}   the best   within {NEAR:g} of it",
    ]
    for name, row in found["regret"].items():
        lines.append(f"  {name:12s}{row['mean']:8.4f}{row['worst']:8.3f}{row['best']:11.3f}{row['near']:13.3f}")
    spread = found["rows"] and np.mean([row["spread"] for row in found["rows"]])
    lines.append(f"  between the best and the worst wording that finds anything: {spread:.3f} on average")
    lines.append("Wordings that find anything: " + ", ".join(f"{k} {v:.2f}" for k, v in found["known"].items()))
    senses = found["senses"]
    lines.append("Words with two senses:")
    lines += [f"  {word:8s} {'apart' if apart else 'ONE GROUP'}  (F1 {f1:.2f})" for word, apart, f1 in senses["words"]]
    lines.append(f"  pairs of different nouns that are one group: {senses['mixed']} of {senses['pairs']}")
    lines.append("AUC of an instance being right        stability  confidence     both   instances  wrong")
    for name, row in found["stability"].items():
        numbers = "".join(f"{row[k]:>{w}.3f}" for k, w in (("stability", 11), ("confidence", 12), ("both", 9)))
        lines.append(f"  {name:34s}{numbers}{row['instances']:12d}{row['wrong']:7d}")
    return "\n".join(lines)


def _regret(
    noun: str, halves: Sequence[Any], kinds: dict[str, list[bool]], limit: int
) -> dict[str, Any] | None:
    """What the recommendations of one half lose on the other, on average over both ways."""
    from curation.phrasing import suggest_wordings
    from curation.recommend import recommended
    from curation.wordings import compare_wordings

    offered = [one for one in suggest_wordings(noun) if one.because != "another sense"]
    phrases = [one.phrase for one in offered]
    there = [half.filter_labels("ground_truth", _is(noun)).count("ground_truth.detections") for half in halves]
    if len(phrases) < 2 or min(there) < _LEAST:
        return None
    judged = [
        compare_wordings(
            half, noun, phrases, None, gt_field="ground_truth", exhaustive=True, limit=limit, progress=False
        ) for half in halves
    ]  # fmt: skip
    found: dict[str, list[float]] = defaultdict(list)
    for learn, test in ((0, 1), (1, 0)):
        scores = {one.phrase: one.f1 or 0.0 for one in judged[test].wordings}
        best, finding = max(scores.values()), [one.f1 or 0.0 for one in judged[test].wordings if one.instances]
        unseen = dict(precision=None, recall=None, f1=None, presence_accuracy=None)
        blind = recommended(noun, [replace(one, **unseen) for one in judged[learn].wordings])[0]
        taken = dict(blind=blind, labelled=judged[learn].recommended, plain=noun)
        for name, phrase in taken.items():
            found[name].append(best - scores.get(phrase, 0.0))
        found["random"].append(best - float(np.mean(list(scores.values()))))
        found["spread"].append(best - min(finding, default=0.0))
        for one, wording in zip(offered, judged[test].wordings, strict=True):
            kinds[one.because].append(wording.instances > 0)
    return dict(noun=noun, **{name: float(np.mean(some)) for name, some in found.items()})


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    made = {}
    for name in ("blind", "labelled", "plain", "random"):
        lost = np.array([row[name] for row in rows])
        made[name] = dict(
            mean=float(lost.mean()), worst=float(lost.max()), best=float((lost <= 1e-9).mean()),
            near=float((lost <= NEAR).mean()),
        )  # fmt: skip
    return made


def _senses(dataset: Any, ambiguous: dict[str, tuple[str, str]], limit: int) -> dict[str, Any]:
    """Whether names of different things are different groups."""
    from curation.wordings import compare_wordings
    from emoji_world.vocabulary import NEIGHBOURHOODS

    def pair(first: str, second: str) -> tuple[bool, float] | None:
        view = dataset.match_labels(filter=_is(first) | _is(second), fields="ground_truth")
        if not len(view):
            return None
        done = compare_wordings(
            view, first, [first, second], None, label_field=None, limit=limit, progress=False
        )  # fmt: skip
        groups = [one.group for one in done.wordings]
        return 0 in groups or groups[0] != groups[1], float(np.nan_to_num(done.agreement[0, 1]))

    words = [(word, *found) for word, both in ambiguous.items() if (found := pair(*both)) is not None]
    others = sorted({
        (a, b) for some in NEIGHBOURHOODS for a in some for b in some if a < b and (a, b) not in ambiguous.values()
    })  # fmt: skip
    apart = [found[0] for both in others if (found := pair(*both)) is not None]
    return dict(words=words, pairs=len(apart), mixed=len(apart) - sum(apart))


def _stability(dataset: Any, nouns: list[str]) -> dict[str, dict[str, Any]]:
    """How well stability tells right instances from wrong ones."""
    from sklearn.metrics import roc_auc_score

    from curation.stability import measure_stability

    some = dataset.limit(_STABLE)
    measure_stability(some, "sam3", nouns, progress=False)
    numbers = _instances(some, set(nouns))
    stable, sure, right, single = (np.array(column) for column in zip(*numbers, strict=True))
    made = {}
    for name, chosen in (("all from 0.05 on", sure >= 0), ("those that count, from 0.5 on", sure >= 0.5),
                         ("doubtful, 0.3 to 0.7", (sure >= 0.3) & (sure <= 0.7))):  # fmt: skip
        for kind, truth in (("", right), (", single", single)):
            facts = truth[chosen].astype(bool)
            both = stable[chosen] + sure[chosen]
            columns = dict(stability=stable[chosen], confidence=sure[chosen], both=both)
            defined = 0 < facts.sum() < len(facts)
            made[name + kind] = dict(
                {k: float(roc_auc_score(facts, v)) if defined else float("nan") for k, v in columns.items()},
                instances=len(facts), wrong=int((~facts).sum()),
            )  # fmt: skip
    return made


def _instances(dataset: Any, nouns: set[str]) -> list[tuple[float, float, bool, bool]]:
    """Of each measured instance: stability, confidence, right, and right and no duplicate of a surer one."""
    from curation.agreement import SAME, overlaps
    from curation.stability import shapes_of

    rows = []
    for sample in dataset.iter_samples():
        size = sample.metadata.height, sample.metadata.width
        for noun in nouns & {label.label for label in sample.sam3.detections}:
            labels = [d for d in sample.sam3.detections if d.label == noun]
            labels = [d for d in labels if getattr(d, "stability", None) is not None]
            labels.sort(key=lambda d: -d.confidence)
            there = [d for d in sample.ground_truth.detections if d.label == noun]
            iou = overlaps(shapes_of(labels, size), shapes_of(there, size))
            taken: set[int] = set()
            for label, row in zip(labels, iou, strict=True):
                hits = [k for k in np.argsort(-row).tolist() if row[k] >= SAME]
                free = next((k for k in hits if k not in taken), None)
                if free is not None:
                    taken.add(free)
                rows.append((label.stability, label.confidence, bool(hits), free is not None))
    return rows


def _is(noun: str) -> Any:
    from fiftyone import ViewField

    return ViewField("label") == noun


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wordings", description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--scenes", type=int, default=200, help="of the emoji world")
    parser.add_argument("--limit", type=int, default=50, help="scenes that a noun is asked of, in each half")
    args = parser.parse_args(argv)
    use_own_plugin()  # before FiftyOne is imported
    from .planted import World

    world = World(args.scenes)
    try:
        found = wordings(world, args.limit)
    finally:
        world.close()
    print(said(found), flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
