"""The same questions asked in the ways that people ask them today, in the same run and with the same numbers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from ..measuring import verdict
from .clock import Clock, ratios
from .image import SIZE, engine_run, pictures, thresholds
from .planted import Planted

#: how many times as long each takes as the engine at its best batch
TARGETS = {"stock loop": 5.0, "a forward per concept": 8.0}
#: of what every way says of presence and of the best score, in [0, 1]
SAME = {"float32": 1e-3}


class Stock:
    """transformers' own model and post-processing: the model that the engine runs, called as its documentation does.

    Args:
        checkpoint: the engine's
        folder: it was loaded from, for the processor
    """

    def __init__(self, checkpoint: Any, folder: str) -> None:
        from transformers import Sam3Processor

        self.model, self.device, self.dtype = checkpoint.model, checkpoint.device, checkpoint.dtype
        self.processor = Sam3Processor.from_pretrained(folder, local_files_only=True)

    def _pixels(self, image: np.ndarray, **text: str) -> tuple[dict[str, Any], list[Any]]:
        inputs = self.processor(images=image, return_tensors="pt", **text)
        sizes = inputs.pop("original_sizes").tolist()
        inputs = inputs.to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.dtype)
        return dict(inputs), sizes

    def _found(self, output: Any, threshold: float, sizes: list[Any]) -> int:
        post = self.processor.post_process_instance_segmentation(output, threshold, target_sizes=sizes)
        return len(post[0]["masks"].cpu())

    @torch.inference_mode()
    def reusing(self, image: np.ndarray, asked: dict[str, float]) -> int:
        """The best loop that transformers allows: the image encoded once, one call a concept."""
        inputs, sizes = self._pixels(image)
        vision = self.model.get_vision_features(inputs["pixel_values"])
        found = 0
        for phrase, threshold in asked.items():
            words = self.processor(text=phrase, return_tensors="pt").to(self.device)
            found += self._found(self.model(vision_embeds=vision, **words), threshold, sizes)
        return found

    @torch.inference_mode()
    def repeating(self, image: np.ndarray, asked: dict[str, float]) -> int:
        """The loop of notebooks, and of FiftyOne's community plugin: a whole forward for every concept."""
        found = 0
        for phrase, threshold in asked.items():
            inputs, sizes = self._pixels(image, text=phrase)
            found += self._found(self.model(**inputs), threshold, sizes)
        return found

    @torch.inference_mode()
    def said(self, image: np.ndarray, phrases: Sequence[str]) -> list[tuple[float, float]]:
        """Presence and best score of every phrase, before any threshold."""
        answers = []
        for phrase in phrases:
            inputs, _ = self._pixels(image, text=phrase)
            output = self.model(**inputs)
            presence, scores = (logits.float().sigmoid() for logits in (output.presence_logits, output.pred_logits))
            answers.append((float(presence), float(scores.max())))
        return answers


def official(device: str) -> Callable[[np.ndarray, dict[str, float]], int]:
    """Meta's package, where it is installed: its weights, or random ones where it has none. Nothing is planted in it:
    it draws what passes its own threshold.

    Raises:
        LookupError: it is not installed
    """
    if importlib.util.find_spec("sam3") is None:
        raise LookupError("the package sam3 is not installed")
    from PIL import Image
    from sam3.model.sam3_image_processor import Sam3Processor
    from sam3.model_builder import build_sam3_image_model

    try:
        model = build_sam3_image_model(device=device)
    except Exception:  # the weights are gated: without them, what they cost is the same
        model = build_sam3_image_model(device=device, load_from_HF=False)
    processor = Sam3Processor(model)

    def run(image: np.ndarray, asked: dict[str, float]) -> int:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            state = processor.set_image(Image.fromarray(image))
            return sum(
                len(processor.set_text_prompt(state=state, prompt=phrase)["masks"].cpu()) for phrase in asked
            )

    return run


def measure(
    detector: Any, folder: str, planted: Planted, clock: Clock, batch: int, count: int, tell: Callable[[str], None], *,
    judged: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """All ways in turn, on 1080p images in the host's memory, squeezing them included.

    Args:
        detector: a ``ConceptDetector`` without the geometry token, as transformers
        folder: its checkpoint
        planted: in its model
        clock: of its device
        batch: images at a time, of the engine's second row
        count: concepts
        tell: what prints
        judged: say whether the goals are met; if not, with as few repeats as can be
    """
    from zoo.engine.images import to_square

    stock, asked = Stock(detector.checkpoint, folder), thresholds(count)
    (image,), several = pictures(1), pictures(min(batch, 4))
    side, device = detector.checkpoint.side, str(detector.checkpoint.device)

    def engine(images: Sequence[np.ndarray], at_once: int) -> Callable[[], int]:
        def run() -> int:
            squares = torch.stack([to_square(images[k % len(images)], side) for k in range(at_once)])
            return engine_run(detector, squares, count)()

        return run

    ways: dict[str, Callable[[], int]] = {
        "engine": engine([image], 1), f"engine, batch {batch}": engine(several, batch),
        "stock loop": lambda: stock.reusing(image, asked),
        "a forward per concept": lambda: stock.repeating(image, asked),
    }  # fmt: skip
    report: dict[str, Any] = dict(concepts=count, same=same(detector, stock, planted, image, list(asked)))
    try:
        theirs = official(device.split(":")[0])
        theirs(image, asked)
        ways["official package"] = lambda: theirs(image, asked)
    except Exception as error:  # somebody else's package: whatever it lacks, the others are measured
        report["official"] = str(error)
    found = {name: run() for name, run in ways.items()}
    units = {f"engine, batch {batch}": batch}
    times = clock.side_by_side(ways, units)
    best = min((name for name in ways if name.startswith("engine") and times.get(name)), key=lambda n: median(times[n]))
    counts = {found[name] / units.get(name, 1) for name in ways if name != "official package"}
    report |= dict(best=best, same_instances=len(counts) == 1, rows=[
        dict(
            name=name, found=found[name] / units.get(name, 1), ms=median(each) if each else None,
            least=min(each, default=None), most=max(each, default=None), slower=ratios(each, times[best]),
        ) for name, each in times.items()
    ])  # fmt: skip
    tell(said(report, str(detector.checkpoint.dtype).removeprefix("torch."), judged=judged))
    return report


def same(
    detector: Any, stock: Stock, planted: Planted, image: np.ndarray, phrases: Sequence[str]
) -> dict[str, float]:
    """How far the engine's ``presence`` and best object ``score`` are from transformers' at most, nothing planted; and
    how far apart transformers' own answers are, ``spread``: without a difference, none could be missed.
    """
    from zoo.engine.concepts import parse_concepts
    from zoo.engine.images import to_square

    planted.active = False
    try:
        theirs = stock.said(image, phrases)
        features = detector.encode_images(to_square(image, detector.checkpoint.side)[None], [SIZE])
        (ours,) = detector.detect(features, [parse_concepts(phrases)], threshold=1.0)
    finally:
        planted.active = True
    return dict(
        presence=max(abs(a.presence - p) for a, (p, _) in zip(ours, theirs, strict=True)),
        score=max(abs(a.object_score - s) for a, (_, s) in zip(ours, theirs, strict=True)),
        spread=max(float(np.ptp([said[k] for said in theirs])) for k in (0, 1)),
    )


def said(report: dict[str, Any], dtype: str, *, judged: bool = True) -> str:
    """The report for people."""
    lines = [
        f"{report['concepts']} concepts on one 1080p image, {dtype}; {report['best']} = 1; "
        f"{'as many' if report['same_instances'] else 'DIFFERENT numbers of'} instances in every row", "",
        f"{'':<24}{'found':>7}{'ms an image':>13}{'slower':>9}",
    ]  # fmt: skip
    for row in report["rows"]:
        if row["ms"] is None:
            lines.append(f"{row['name']:<24}{row['found']:>7.0f}{'no time':>13}")
            continue
        slower = row["slower"]
        goal = verdict(slower["median"], TARGETS.get(row["name"]) if judged else None, "x", at_least=True)
        lines.append(
            f"{row['name']:<24}{row['found']:>7.0f}{row['ms']:>13.1f}{slower['median']:>8.2f}x"
            f"  ({slower['least']:.2f} to {slower['most']:.2f}){goal}"
        )
    if "official" in report:
        lines.append(f"official package: not measured, {report['official']}")
    lines.append(apart_said(report["same"], dtype))
    return "\n".join(lines)


def apart_said(apart: dict[str, float], dtype: str) -> str:
    """What :func:`same` found, for people."""
    return (
        f"engine and transformers differ by {apart['presence']:.1e} in presence and {apart['score']:.1e} in the best "
        f"score at most, of answers that span {apart['spread']:.2f}"
        f"{verdict(max(apart['presence'], apart['score']), SAME.get(dtype), '')}"
    )
