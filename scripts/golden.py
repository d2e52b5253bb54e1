"""Golden numbers of the metrics: generated files, and what the official evaluators say about them.

    python scripts/golden.py cases                                            # writes tests/golden/files/*.json
    PYTHONPATH=<checkout of facebookresearch/sam3> python scripts/golden.py official   # writes official.json there
    python scripts/golden.py trackeval                                        # writes trackeval.json there

The second needs an environment of its own (numpy < 2, torch, torchvision, pycocotools, scipy, pandas, iopath, tqdm),
and a checkout whose ``sam3/__init__.py`` is emptied: it would import the whole model. The third needs TrackEval, which
brings an OpenCV that does not go together with FiftyOne's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden" / "files"
ANNOTATORS = ("gold_a", "gold_b", "gold_c")
ORDERS = (("gold_a",), ("gold_a", "gold_b", "gold_c"), ("gold_c", "gold_b", "gold_a"))
HEIGHT, WIDTH = 20, 40


def rectangle(x: int, y: int, w: int, h: int) -> np.ndarray:
    """A mask, (20, 40) uint8; what lies outside is cut off."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = 1
    return mask


def rle(mask: np.ndarray) -> dict[str, Any]:
    """Compressed, as in the released files."""
    found = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": found["counts"].decode()}


def runs(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed: a list of runs."""
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": counts if flat[0] == 0 else [0, *counts]}


def bbox(mask: np.ndarray) -> list[float]:
    """Relative, as in the released files of images."""
    x, y, w, h = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask))).tolist()
    return [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT]


#: (ground truth, predictions (box, score)) of pairs that each show one rule; boxes are x, y, width, height
RULES: list[tuple[list, list]] = [
    ([(0, 0, 10, 10)], [((0, 0, 10, 5), 0.9)]),  # IoU exactly 0.5
    ([(0, 0, 20, 10)], [((0, 0, 15, 10), 0.5)]),  # exactly 0.75, score exactly 0.5
    ([(0, 0, 20, 10)], [((0, 0, 18, 10), 0.4999)]),  # below the threshold
    ([(0, 0, 20, 10)], [((0, 0, 18, 10), 0.8)]),  # exactly 0.9
    ([(0, 0, 20, 10)], [((0, 0, 19, 10), 0.8)]),  # exactly 0.95
    ([(0, 0, 20, 10)], [((0, 0, 20, 10), 0.8), ((0, 0, 20, 10), 0.8)]),  # the same twice
    ([(0, 0, 10, 10), (6, 0, 10, 10)], [((3, 0, 10, 10), 0.9), ((9, 0, 10, 10), 0.6)]),  # total IoU decides
    ([(0, 0, 8, 8), (8, 0, 8, 8)], [((4, 0, 8, 8), 0.9), ((4, 0, 8, 8), 0.9)]),  # a tie
    ([], [((0, 0, 4, 4), 0.9)]),  # made up
    ([], []),
    ([(0, 0, 6, 6)], []),
    ([(0, 0, 6, 6)], [((30, 10, 0, 0), 0.7)]),  # a prediction without a pixel
]


def write_cases() -> None:
    """The files: three annotators of one set of pairs, videos, and predictions of both."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, document in {**_gold(), **_veval()}.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")


def _gold() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    files: dict[str, Any] = {
        name: {
            "info": {"description": "generated"}, "images": [], "annotations": [],
            "categories": [{"id": 1, "name": "object"}, {"id": 2, "name": "other"}],
        } for name in ANNOTATORS
    }  # fmt: skip
    predictions: list[dict[str, Any]] = []
    for k in range(150):
        pair = 1000 + 7 * k
        truth = [rectangle(*box) for box in RULES[k][0]] if k < len(RULES) else _objects(rng)
        for name in ANNOTATORS:
            mine = truth if k < len(RULES) else _seen_by(rng, truth)
            files[name]["images"].append({
                "id": pair, "file_name": f"image-{k // 3}.jpg", "text_input": f"thing {k % 11}", "height": HEIGHT,
                "width": WIDTH, "queried_category": str(k % 11), "is_pixel_exhaustive": 1,
                "is_instance_exhaustive": int(k < len(RULES) or rng.random() > 0.06),
            })  # fmt: skip
            for mask in mine:
                number = len(files[name]["annotations"]) + 1
                form = runs(mask) if number % 9 == 0 else rle(mask)
                files[name]["annotations"].append({
                    "id": number, "image_id": pair, "category_id": 3 if number % 31 == 0 else 1 + (number % 13 == 0),
                    "area": float(mask.mean()), "bbox": bbox(mask), "segmentation": form,
                    "iscrowd": int(k >= len(RULES) and rng.random() < 0.12), "source": "generated",
                })  # fmt: skip
        found = (
            [(rectangle(*box), score) for box, score in RULES[k][1]] if k < len(RULES) else _found(rng, truth)
        )  # fmt: skip
        for mask, score in found:
            strange = len(predictions) % 37 == 36
            predictions.append({
                "image_id": pair, "category_id": 5 if strange else 1 + (len(predictions) % 17 == 0), "score": score,
                "segmentation": rle(mask), "bbox": bbox(mask),
            })  # fmt: skip
    predictions.append({**predictions[0], "image_id": 999_999})  # of a pair that is not there
    return {**files, "gold_pred": predictions}


def _objects(rng: np.random.Generator) -> list[np.ndarray]:
    """What is in an image: nothing, or some things, some of them alike."""
    count = 0 if rng.random() < 0.4 else int(rng.integers(1, 6))
    return [
        rectangle(int(rng.integers(0, 34)), int(rng.integers(0, 15)), int(rng.integers(3, 14)), int(rng.integers(3, 9)))
        for _ in range(count)
    ]


def _seen_by(rng: np.random.Generator, truth: list[np.ndarray]) -> list[np.ndarray]:
    """What one annotator makes of it: edges move, things are missed, or seen where there is nothing."""
    mine = [np.roll(mask, int(rng.integers(-1, 2)), axis=1) for mask in truth if rng.random() > 0.15]
    return mine + ([rectangle(30, 10, 6, 6)] if rng.random() < 0.08 else [])


def _found(rng: np.random.Generator, truth: list[np.ndarray]) -> list[tuple[np.ndarray, float]]:
    """What a model makes of it."""
    found = [
        (np.roll(mask, rng.integers(-2, 3, size=2), axis=(0, 1)), float(rng.choice([0.3, 0.5, 0.7, 0.9])))
        for mask in truth
        for _ in range(int(rng.choice([0, 1, 1, 1, 2])))
    ]
    made_up = [(rectangle(int(rng.integers(0, 30)), 3, 7, 7), 0.6)] if rng.random() < 0.25 else []
    return [found[i] for i in rng.permutation(len(found))] + made_up


def _veval() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    phrases = ["a dog", "the red ball", "person", "bicycle", "a cup"]
    truth: dict[str, Any] = {
        "info": {"version": "generated"}, "videos": [], "annotations": [], "video_np_pairs": [],
        "categories": [{"id": 10 * (c + 1), "name": phrase} for c, phrase in enumerate(phrases)],
    }  # fmt: skip
    predictions: list[dict[str, Any]] = []
    for video in range(6):
        frames = int(rng.integers(5, 12))
        truth["videos"].append({
            "id": video, "video_name": f"clip-{video}", "height": HEIGHT, "width": WIDTH, "length": frames,
            "file_names": [f"clip-{video}/{t:05d}.jpg" for t in range(frames)],
        })  # fmt: skip
        for c, phrase in enumerate(phrases):
            category = 10 * (c + 1)
            count = 0 if rng.random() < 0.35 else int(rng.integers(1, 5))
            asked = not (video == 5 and c == 4)  # that one is only predicted
            paths = [_path(rng, frames) for _ in range(count if asked else 0)]
            if asked:
                truth["video_np_pairs"].append({
                    "id": len(truth["video_np_pairs"]), "video_id": video, "category_id": category,
                    "noun_phrase": phrase, "num_masklets": len(paths),
                })  # fmt: skip
            for path in paths:
                number = len(truth["annotations"]) + 1
                truth["annotations"].append({
                    "id": number, "video_id": video, "category_id": category, "noun_phrase": phrase,
                    "height": HEIGHT, "width": WIDTH, "iscrowd": int(rng.random() < 0.1),
                    **_frames(path, spelled_out=number % 5 == 0),
                })  # fmt: skip
            followed = _followed(rng, paths, frames)
            if not asked:
                followed = [([rectangle(4, 4, 5, 5)] * frames, 0.8)]
            for path, score in followed:
                predictions.append({
                    "video_id": video, "category_id": category, "score": score,
                    **_frames(path, spelled_out=len(predictions) % 3 == 0),
                })  # fmt: skip
    return {"veval_gt": truth, "veval_pred": predictions}


def _path(rng: np.random.Generator, frames: int) -> list[np.ndarray | None]:
    """A thing that moves, and is away for a while."""
    x, y, w, h = (int(rng.integers(*limits)) for limits in ((0, 30), (0, 12), (4, 12), (4, 9)))
    dx, dy = int(rng.integers(-2, 3)), int(rng.integers(-1, 2))
    away = int(rng.integers(0, frames)) if rng.random() < 0.5 else frames
    return [None if away <= t < away + 2 else rectangle(x + dx * t, y + dy * t, w, h) for t in range(frames)]


def _followed(rng: np.random.Generator, paths: list, frames: int) -> list[tuple[list, float]]:
    """What a tracker makes of it: shifted, lost, exchanged with one another, and ghosts."""
    found = []
    for k, path in enumerate(paths):
        if rng.random() < 0.1:
            continue
        other = paths[(k + 1) % len(paths)]
        change = int(rng.integers(1, frames)) if rng.random() < 0.4 else frames
        mine = [path[t] if t < change else other[t] for t in range(frames)]
        shift = rng.integers(-1, 2, size=2)
        mine = [None if m is None or rng.random() < 0.1 else np.roll(m, shift, axis=(0, 1)) for m in mine]
        found.append((mine, float(rng.choice([0.5, 0.6, 0.9, 0.9, 0.4]))))
    if rng.random() < 0.3:
        found.append(([rectangle(30, 2, 6, 6)] * frames, 0.7))
    if rng.random() < 0.15:
        found.append(([None] * frames, 0.8))  # never anywhere, and a prediction all the same
    return found


def _frames(path: list[np.ndarray | None], spelled_out: bool) -> dict[str, list]:
    """The lists of a masklet, one entry a frame; what is away is None, or an empty mask that is spelled out."""
    masks = [np.zeros((HEIGHT, WIDTH), np.uint8) if m is None and spelled_out else m for m in path]
    boxes = [
        None if m is None else coco_mask.toBbox(coco_mask.encode(np.asfortranarray(m))).tolist() for m in masks
    ]  # fmt: skip
    return {
        "segmentations": [None if m is None else rle(m) for m in masks],
        "bboxes": boxes,
        "areas": [None if m is None else int(m.sum()) for m in masks],
    }


def write_official() -> None:
    """What the official evaluators print about the files, unchanged."""
    from sam3.eval.cgf1_eval import CGF1Evaluator
    from sam3.eval.saco_veval_evaluators import VideoCGF1Evaluator, VideoPhraseHotaEvaluator

    found: dict[str, Any] = {"gold": {}}
    for iou in ("segm", "bbox"):
        for order in ORDERS:
            evaluator = CGF1Evaluator([str(FOLDER / f"{name}.json") for name in order], iou_type=iou)
            numbers = evaluator.evaluate(str(FOLDER / "gold_pred.json"))
            sums = evaluator.coco_evals[0].eval
            found["gold"][f"{iou} {' '.join(order)}"] = {
                "numbers": {name.replace(f"cgF1_eval_{iou}_", ""): value for name, value in numbers.items()},
                "counts": {name: sums[name].tolist() for name in ("TPs", "FPs", "positive_micro_FPs", "FNs")},
                "pairs": len(evaluator.eval_img_ids),
            }
    truth, predictions = str(FOLDER / "veval_gt.json"), str(FOLDER / "veval_pred.json")
    by_volume, by_pair = VideoCGF1Evaluator(truth, iou_types=["segm"]).evaluate(predictions)
    tracked, tracked_by_pair = VideoPhraseHotaEvaluator(truth, iou_types=["segm"]).evaluate(predictions)
    found["veval"] = {name: float(value) for name, value in {**by_volume, **tracked}.items()}
    found["veval pairs"] = [
        {"video": pair[0], "category": pair[1], **values, **tracked_by_pair.get(pair, {})}
        for pair, values in sorted(by_pair.items())
    ]
    (FOLDER / "official.json").write_text(json.dumps(found, indent=1) + "\n")




def write_trackeval() -> None:
    """HOTA of the videos' pairs by its authors' TrackEval, pooled, by alpha."""
    from trackeval.metrics import HOTA

    gt, predictions = (json.loads((FOLDER / f"{name}.json").read_text()) for name in ("veval_gt", "veval_pred"))
    lengths = {video["id"]: video["length"] for video in gt["videos"]}
    metric, found = HOTA(), {}
    of = [(entry["video_id"], entry["category_id"]) for entry in (*gt["annotations"], *predictions)]
    for pair in sorted(set(of)):
        sides = [
            [e for e in entries if (e["video_id"], e["category_id"]) == pair and e.get("score", 1) > 0.5]
            for entries in (gt["annotations"], predictions)
        ]
        found[str(pair)] = metric.eval_sequence(_trackeval_data(*sides, lengths[pair[0]]))
    pooled = metric.combine_sequences(found)
    numbers = {name: pooled[name].tolist() for name in ("HOTA", "DetA", "AssA")}
    (FOLDER / "trackeval.json").write_text(json.dumps(numbers, indent=1) + "\n")


def _trackeval_data(gt: list, pred: list, frames: int) -> dict[str, Any]:
    """One pair as TrackEval has it; empty masks are objects in ground truth, and nothing in predictions."""
    data = {"gt_ids": [], "tracker_ids": [], "similarity_scores": [], "num_gt_dets": 0, "num_tracker_dets": 0}
    for t in range(frames):
        ours = [(k, entry["segmentations"][t]) for k, entry in enumerate(gt) if entry["segmentations"][t]]
        theirs = [(k, entry["segmentations"][t]) for k, entry in enumerate(pred) if entry["segmentations"][t]]
        theirs = [(k, rle) for k, rle in theirs if coco_mask.area(rle)]
        both = [r for _, r in ours], [r for _, r in theirs]
        iou = coco_mask.iou(*both, [0] * len(theirs)) if ours and theirs else []
        data["gt_ids"].append(np.array([k for k, _ in ours], int))
        data["tracker_ids"].append(np.array([k for k, _ in theirs], int))
        data["similarity_scores"].append(np.reshape(iou, (len(ours), len(theirs))))
        data["num_gt_dets"] += len(ours)
        data["num_tracker_dets"] += len(theirs)
    for side in ("gt", "tracker"):
        seen = sorted({k for ids in data[f"{side}_ids"] for k in ids.tolist()})
        data[f"{side}_ids"] = [np.array([seen.index(k) for k in ids], int) for ids in data[f"{side}_ids"]]
        data[f"num_{side}_ids"] = len(seen)
    return data


if __name__ == "__main__":
    {"cases": write_cases, "official": write_official, "trackeval": write_trackeval}[sys.argv[1]]()
