"""What a training subset is worth, and how fast one is chosen: ``python -m benchmarks.subset [--json FILE]``.

``training``
    Scenes of the emoji world in which the concepts are rare. An ordinary model (SIFT and colour as a bag of words, a
    logistic regression a concept; nothing of SAM 3) learns from our subset, and from a random one of the same size, of
    the same pool, with the same settings; labels are the truth for both. What is chosen is chosen by the ledger of the
    tiny checkpoint alone. On unseen scenes, with thresholds at which both find the same share of the positives, false
    positives are counted where the concept is absent and a look-alike is there. Beside it a subset that nobody without
    the truth can have: random, but for as many scenes with one of the concepts as ours has
``scale``
    5,000 of 100,000 samples × 20 concepts with embeddings of 256 numbers, among them noisy copies, and videos of 20
    frames: seconds, and how many near-duplicates and videos lie in two splits
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.plugin import use_own_plugin

from .measuring import described, machine, verdict

TARGETS = {"fewer": 0.2, "seconds": 60.0, "memory": 4.0, "leaks": 0.0}
CONCEPTS = (
    "dog", "fox", "wolf", "mouse", "computer mouse", "bat", "cricket bat", "red cap", "blue cap",
)  # fmt: skip
#: share of the scenes with one of them that are in the pool: real pools hold little of what is looked for
RARE = 0.3
RECALLS = (0.7, 0.8, 0.9)
_FIRST_SEED, _FIRST_UNSEEN = 800_000, 850_000
_SCALE = 0.4
_WORDS = 500


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    said_of = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.subset", description=said_of)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--pool", type=int, default=2_400, help="scenes to choose from; 0: leave this part out")
    parser.add_argument("--chosen", type=int, default=240, help="scenes to choose")
    parser.add_argument("--unseen", type=int, default=1_500, help="scenes to be tested on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=100_000, help="of the large ledger; 0: leave this part out")
    args = parser.parse_args(argv)
    use_own_plugin()  # before FiftyOne is imported
    report: dict[str, Any] = dict(machine=machine())
    print(described(report["machine"]), flush=True)
    report |= subset(args.pool, args.chosen, args.unseen, range(args.seeds), args.samples)
    print(said(report), flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def subset(
    pool: int = 2_400, chosen: int = 240, unseen: int = 1_500, seeds: Iterable[int] = range(3), samples: int = 100_000
) -> dict[str, Any]:
    """Both parts; 0 scenes or samples leave one out."""
    found: dict[str, Any] = {}
    if pool:
        found["training"] = training(pool, chosen, unseen, seeds)
    if samples:
        found["scale"] = scale(samples)
    return found


def said(found: dict[str, Any]) -> str:
    """The numbers, for people."""
    lines = []
    if part := found.get("training"):
        lines.append(
            f"\nTrained on {part['chosen']} of {part['pool']} scenes; false positives on {part['hard_pairs']} hard "
            f"negatives of {part['unseen']} unseen scenes"
        )
        counts = part["false_positives"]
        for recall in map(str, part["recalls"]):
            ours = counts["ours"][recall]
            lines.append(f"  recall {recall}  ours {mean(ours):31.0f}")
            for who in (name for name in counts if name != "ours"):
                fewer = [1 - a / max(b, 1) for a, b in zip(ours, counts[who][recall], strict=True)]
                shares = ", ".join(f"{one:.0%}" for one in fewer)
                met = verdict(mean(fewer), TARGETS["fewer"] if who == "random" else None, "", at_least=True)
                theirs = f"{who:26s} {mean(counts[who][recall]):9.0f}"
                lines.append(f"              {theirs}   ours {mean(fewer):.0%} fewer ({shares}){met}")
        for who, held in part["positives"].items():
            lines.append(f"  scenes with each concept, {who}: {', '.join(map(str, held))}")
    if part := found.get("scale"):
        lines.append(f"\n{part['chosen']:,} of {part['samples']:,} samples chosen")
        lines.append(f"  wall     {part['seconds']:6.1f} s{verdict(part['seconds'], TARGETS['seconds'], ' s')}")
        lines.append(f"  CPU      {part['cpu_seconds']:6.1f} s")
        lines.append(f"  memory   {part['gigabytes']:6.2f} GB{verdict(part['gigabytes'], TARGETS['memory'], ' GB')}")
        for name in ("copies_chosen_twice", "near_duplicates", "near_across_splits", "videos_across_splits"):
            lines.append(f"  {name.replace('_', ' '):22s} {part[name]}{verdict(part[name], TARGETS['leaks'], '')}")
    return "\n".join(lines)


# --- training ---


def training(pool: int, chosen: int, unseen: int, seeds: Iterable[int]) -> dict[str, Any]:
    """False positives of the same model after our subset, and after a random one."""
    import fiftyone as fo

    from curation.embeddings import embed_images
    from curation.subset import choose_subset
    from emoji_world.dataset import SENSES
    from zoo.engine.checkpoint import TINY
    from zoo.source import load_model

    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="subset-") as folder:
        scenes, pictures = _drawn(_pool_seeds(pool), Path(folder))
        dataset = fo.Dataset(fo.core.dataset.make_unique_dataset_name("subset-benchmark"))
        try:
            dataset.add_samples([fo.Sample(filepath=str(path)) for path in pictures], progress=False)
            model = load_model("concepts/sam3-tiny-image", classes=list(CONCEPTS))
            dataset.apply_model(model, label_field="sam3", batch_size=16, num_workers=0, progress=False)
            embed_images(dataset, checkpoint=str(TINY), batch_size=16, progress=False)
            asked = time.perf_counter() - start
            place = {number: k for k, number in enumerate(dataset.values("id"))}
            senses = {name: sense for name, sense in SENSES.items() if name in CONCEPTS}
            picks: dict[str, list[list[int]]] = {"ours": [], "random": [], "random, as many positives": []}
            truth = _truth(scenes)
            some = truth.any(axis=1)
            for seed in seeds:
                found = choose_subset(
                    dataset, chosen, senses=senses, splits=None, seed=seed, key=None, progress=False
                )
                picks["ours"].append([place[one.sample_id] for one in found.chosen])
                size, held = len(picks["ours"][-1]), int(some[picks["ours"][-1]].sum())
                mixed = np.random.default_rng(seed).permutation(pool)
                picks["random"].append(mixed[:size].tolist())
                alike = [*mixed[some[mixed]][:held].tolist(), *mixed[~some[mixed]][: size - held].tolist()]
                picks["random, as many positives"].append(alike)
        finally:
            dataset.delete()
        described_by = [_descriptors(path) for path in pictures]
        others, other_pictures = _drawn(_unseen_seeds(unseen), Path(folder))
        tests = [_descriptors(path) for path in other_pictures]
    there, cruel = _truth(others), _cruel(others)
    wrong: dict[str, dict[str, list[int]]] = {who: {str(r): [] for r in RECALLS} for who in picks}
    for who, rounds in picks.items():
        for seed, rows in enumerate(rounds):
            scores = _learned([described_by[k] for k in rows], truth[rows], tests, seed)
            for recall in RECALLS:
                wrong[who][str(recall)].append(_false_positives(scores, there, cruel, recall))
    positives = {
        who: np.mean([truth[rows].sum(0) for rows in rounds], axis=0).round().astype(int).tolist()
        for who, rounds in picks.items()
    }
    return dict(
        pool=pool, chosen=chosen, unseen=len(others), hard_pairs=int((cruel & ~there).sum()), recalls=list(RECALLS),
        false_positives=wrong, positives=positives, in_pool=truth.sum(0).tolist(), seconds_asked=asked,
        seconds=time.perf_counter() - start,
    )  # fmt: skip


def _pool_seeds(count: int) -> Iterable[int]:
    """Scenes, those with one of the concepts being rare."""
    from emoji_world.scenes import sample_scene

    rng = np.random.default_rng(51)
    seed = _FIRST_SEED
    while count:
        scene = sample_scene(seed)
        rare = any(scene.instances(name) for name in CONCEPTS)
        if scene.objects and (not rare or rng.random() < RARE):
            yield seed
            count -= 1
        seed += 1


def _unseen_seeds(count: int) -> Iterable[int]:
    """Scenes in which one of the concepts is, or a look-alike of one."""
    from emoji_world.prompts import hard_negatives
    from emoji_world.scenes import sample_scene

    seed = _FIRST_UNSEEN
    while count:
        scene = sample_scene(seed)
        if any(scene.instances(name) for name in CONCEPTS) or not set(CONCEPTS).isdisjoint(hard_negatives(scene)):
            yield seed
            count -= 1
        seed += 1


def _drawn(seeds: Iterable[int], folder: Path) -> tuple[list[Any], list[Path]]:
    """The scenes, and their pictures, small."""
    import cv2

    from emoji_world.scenes import render, sample_scene

    scenes, pictures = [], []
    for seed in seeds:
        scene = sample_scene(seed)
        image, _ = render(scene, _SCALE)
        path = folder / f"{seed}.jpg"
        cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        scenes.append(scene)
        pictures.append(path)
    return scenes, pictures


def _truth(scenes: Sequence[Any]) -> NDArray[np.bool_]:
    return np.array([[bool(scene.instances(name)) for name in CONCEPTS] for scene in scenes])


def _cruel(scenes: Sequence[Any]) -> NDArray[np.bool_]:
    """Where a concept is absent, and something looks like it."""
    from emoji_world.prompts import hard_negatives

    return np.array([[name in held for name in CONCEPTS] for held in map(set, map(hard_negatives, scenes))])


def _descriptors(path: Path) -> NDArray[np.float32]:
    """(n, 131): SIFT of a picture's points, rooted (Arandjelović 2012), and the colour around each."""
    import cv2

    image = cv2.imread(str(path))
    points, shapes = cv2.SIFT_create(nfeatures=400, contrastThreshold=0.02).detectAndCompute(
        cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), None
    )
    if not points:
        return np.zeros((0, 131), np.float32)
    rooted = np.sqrt(shapes / np.maximum(shapes.sum(1, keepdims=True), 1e-6))
    smooth = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 2), cv2.COLOR_BGR2LAB).astype(np.float32) / 255
    xy = np.array([point.pt for point in points]).astype(int)
    return np.concatenate([rooted, 1.5 * smooth[xy[:, 1], xy[:, 0]]], axis=1).astype(np.float32)


def _learned(
    pictures: Sequence[NDArray[np.float32]], truth: NDArray[np.bool_], tests: Sequence[NDArray[np.float32]], seed: int
) -> NDArray[np.float64]:
    """(M, K): how sure a model that learned from some pictures is of each concept in others."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    points = np.concatenate(pictures)
    some = points[rng.permutation(len(points))[:40_000]]
    number = min(_WORDS, max(len(some) // 40, 2))  # of few points, fewer words
    words = MiniBatchKMeans(number, random_state=seed, n_init=1, batch_size=2048, max_iter=30).fit(some)

    def counted(held: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        return np.array([
            np.bincount(words.predict(one), minlength=number) if len(one) else np.zeros(number) for one in held
        ])

    weigh = TfidfTransformer(sublinear_tf=True).fit(counted(pictures))
    learn, test = weigh.transform(counted(pictures)), weigh.transform(counted(tests))
    scores = np.zeros((len(tests), truth.shape[1]))
    for k in range(truth.shape[1]):
        if truth[:, k].any():  # of what it never saw, a model knows nothing
            fitted = LogisticRegression(C=10, class_weight="balanced", max_iter=500).fit(learn, truth[:, k])
            scores[:, k] = fitted.decision_function(test)
    return scores


def _false_positives(
    scores: NDArray[np.float64], there: NDArray[np.bool_], cruel: NDArray[np.bool_], recall: float
) -> int:
    """Hard negatives above the threshold of their concept, at which the share ``recall`` of its positives is found."""
    wrong = 0
    for k in np.flatnonzero(there.any(axis=0)).tolist():
        level = np.quantile(scores[there[:, k], k], 1 - recall)
        wrong += int((scores[cruel[:, k] & ~there[:, k], k] >= level).sum())
    return wrong


# --- scale ---


def scale(samples: int, concepts: int = 20, width: int = 256, share: float = 0.05) -> dict[str, Any]:
    """Choosing a twentieth of a large ledger: how long it takes, and whether anything leaks."""
    from curation.subset import choose_subset
    from curation.subset.settings import DUPLICATE

    from .scale import large_ledger

    rng = np.random.default_rng(51)
    chosen, copies = samples // 20, int(samples * share)
    dataset = large_ledger(samples, concepts)
    try:
        rows = rng.normal(size=(samples, width)).astype(np.float32)
        mixed = rng.permutation(samples)
        originals, twins = mixed[:copies], mixed[copies : 2 * copies]
        rows[twins] = rows[originals] + rng.normal(size=(copies, width)).astype(np.float32) * 0.1
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        videos = np.arange(samples) // 20
        dataset.set_values("video", [f"video {k}" for k in videos.tolist()], progress=False)
        dataset.set_values("sam3_embedding", list(rows), progress=False)
        place = {number: k for k, number in enumerate(dataset.values("id"))}
        start, before = time.perf_counter(), time.process_time()
        found = choose_subset(
            dataset, chosen, gt_field="ground_truth", exhaustive=True, group_field="video", progress=False
        )
        seconds, cpu = time.perf_counter() - start, time.process_time() - before
    finally:
        dataset.delete()
    at = np.array([place[one.sample_id] for one in found.chosen])
    split = np.array([one.split for one in found.chosen])
    alike = rows[at] @ rows[at].T
    np.fill_diagonal(alike, 0)
    first, second = np.nonzero(np.triu(alike >= DUPLICATE))
    among = set(at.tolist())
    both = [pair for pair in zip(originals.tolist(), twins.tolist(), strict=True) if among.issuperset(pair)]
    films: dict[int, set[str]] = {}
    for row, where in zip(at.tolist(), split.tolist(), strict=True):
        films.setdefault(int(videos[row]), set()).add(where)
    return dict(
        samples=samples, concepts=concepts, width=width, copies=copies, chosen=len(found), sizes=found.sizes,
        counts=found.counts, pool=dict(found.pool), seconds=seconds, cpu_seconds=cpu,
        gigabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, copies_chosen_twice=len(both),
        near_duplicates=len(first), near_across_splits=int((split[first] != split[second]).sum()),
        videos_across_splits=sum(len(held) > 1 for held in films.values()),
    )  # fmt: skip


if __name__ == "__main__":
    main()
