"""``make demo``: from nothing to images and clips on which SAM 3 has found concepts, open in the App."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scripts.plugin import use_own_plugin

ROOT = Path(__file__).resolve().parent.parent
DATASET = "sam3-demo"
CLIPS = "sam3-demo-clips"
LABEL_FIELD = "sam3"
EVALUATION = "eval"
#: ground truth with errors of which we know the place
LABELS = "labels"


def main() -> None:
    """Build the datasets, ask them their concepts, print what was found, open the App (``APP=0``: do not)."""
    use_own_plugin()
    print("Starting FiftyOne ...", flush=True)
    import fiftyone as fo
    import torch

    from evaluation.concepts import evaluate_concepts
    from zoo.sidebar import show
    from zoo.source import load_model
    from zoo.track import track

    from .clip_dataset import CLIP_CONCEPTS, build_clips
    from .dataset import CONCEPTS, GT_LABELS, build_dataset

    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    print("Drawing 60 scenes ...", flush=True)
    dataset = build_dataset(DATASET, ROOT / "build" / "demo")
    sam3 = load_model("concepts/sam3-tiny-image", classes=list(CONCEPTS))
    print(f"Asking each scene {len(CONCEPTS)} concepts ...", flush=True)
    dataset.apply_model(sam3, label_field=LABEL_FIELD, batch_size=8)
    dataset.app_config.color_scheme = fo.ColorScheme(color_by="value")  # look-alikes stand apart
    show(dataset, sam3.ledger, list(CONCEPTS))
    print(table(dataset, CONCEPTS), flush=True)
    print("\nDrawing 2 clips ...", flush=True)
    clips = build_clips(CLIPS, ROOT / "build" / "demo")
    tracker = load_model("concepts/sam3-tiny-video", classes=list(CLIP_CONCEPTS))
    print(f"Tracking {len(CLIP_CONCEPTS)} concepts through them ...", flush=True)
    for progress in track(clips, tracker, LABEL_FIELD):
        if progress.frame:
            print(f"  {progress}", flush=True)
    clips.app_config.color_scheme = fo.ColorScheme(color_by="instance")  # one colour a masklet
    clips.save()
    print(masklet_table(clips, CLIP_CONCEPTS))
    print("\nMeasured against their ground truth, in which everything is labelled.")
    for measured, names, what in ((dataset, GT_LABELS, "images"), (clips, None, "clips")):
        found = evaluate_concepts(
            measured, LABEL_FIELD, "ground_truth", EVALUATION, exhaustive=True, gt_labels=names, progress=False
        )
        print(f"\n{what}:\n{found}", flush=True)
    print(f"\n{curate(dataset)}", flush=True)
    print(
        f'\nBoth datasets are there until the next `make demo`:  fo.load_dataset("{DATASET}"), '
        f'fo.load_dataset("{CLIPS}")\nTry:  dataset.match(F("{LABEL_FIELD}_presence.red cap") > 0.5),  '
        f'dataset.match(F("{EVALUATION}_outcome.fp").contains("cap"))'
    )
    if os.environ.get("APP") == "0":
        return
    session = fo.launch_app(dataset, spaces=beside_the_grid("concepts"))
    print(
        f"\nThe App is open at {session.url} on the panel Concepts - drag the threshold, click a bar, open the tabs. "
        f'The numbers are in the panel Model Evaluation ("+" beside it); the clips are the dataset {CLIPS}, in the '
        "selector at the top. Ctrl+C ends it."
    )
    session.wait(-1)


def beside_the_grid(panel: str):
    """The App's layout: samples on the left, a panel on the right, both open."""
    import fiftyone as fo

    panels = fo.Panel(type="Samples", pinned=True), fo.Panel(type=panel)
    sides = [fo.Space(children=[one], active_child=one.component_id) for one in panels]
    return fo.Space(children=sides, orientation="horizontal")


def curate(dataset) -> str:
    """Plant label errors, find them, find hard negatives, confusions and thresholds; and say what came of it."""
    from curation.confusion import find_confusions
    from curation.hard_negatives import find_hard_negatives
    from curation.label_errors import find_label_errors
    from curation.thresholds import find_thresholds

    from .dataset import CONCEPTS, GT_LABELS, SENSES
    from .faults import plant_faults
    from .vocabulary import noun_of

    faults = plant_faults(dataset, LABELS, nouns={noun_of(concept) for concept in CONCEPTS})
    known = dict(exhaustive=True, gt_labels=GT_LABELS)
    found = find_label_errors(dataset, LABEL_FIELD, LABELS, progress=False, **known)
    planted = dict(wrong=set(faults.wrong), extra=set(faults.extra), missing=instances_on(dataset, faults.missing))
    lines = [f"Label errors planted in the field {LABELS!r}, and found by what SAM 3 says:"]
    for kind, count in faults.counts.items():
        right = sum(one.label_id in planted[kind] for one in found.of(kind)[:count])
        lines.append(f"  {kind:8s} {count:3d} planted, {right:3d} of them among the {count} most suspicious")
    lines += [f"    {one.score:.2f}  {one.kind:7s}  {one.because}" for one in found.errors[:3]]
    negatives = find_hard_negatives(dataset, LABEL_FIELD, "ground_truth", senses=SENSES, progress=False, **known)
    lines += ["", f"{len(negatives)} hard negatives (samples without a concept that is nearly seen in them):"]
    lines += [f"    {one.score:.2f}  {one.because}" for one in negatives.found[:5]]
    confusions = find_confusions(dataset, LABEL_FIELD, progress=False)
    lines += ["", "Concepts that claim the same masks:", *(f"    {one.advice}" for one in confusions.pairs[:3])]
    find_thresholds(dataset, "ground_truth", **known)
    return "\n".join(lines)


def instances_on(dataset, missing) -> set[str]:
    """Ids of the instances that lie on labels which were left out, under the same name."""
    from evaluation.shapes import boxes

    from .faults import overlap

    gone, found = {label for _, label in missing}, set()
    for sample in dataset.select(sorted({sample for sample, _ in missing})):
        for truth in (d for d in sample.ground_truth.detections if d.id in gone):
            same = [d for d in sample[LABEL_FIELD].detections if d.label.endswith(truth.label)]
            found |= {d.id for d, box in zip(same, boxes(same).tolist(), strict=True)
                      if overlap(box, truth.bounding_box) >= 0.5}  # fmt: skip
    return found


def table(dataset, concepts: tuple[str, ...], label_field: str = LABEL_FIELD) -> str:
    """What was found, a line a concept: samples where present, instances, mean presence there, and the three
    samples without it that come closest: its hardest negatives.
    """
    from tabulate import tabulate

    from zoo.ledger import Ledger

    ledger = Ledger(label_field)
    names = [Path(p).stem for p in dataset.values("filepath")]
    truth = dataset.values("phrases")
    rows = []
    for concept in concepts:
        presence = dataset.values(ledger.path("presence", concept))
        counts = dataset.values(ledger.path("count", concept))
        there = [p for p in presence if p is not None and p > 0.5]
        asked = zip(presence, names, truth, strict=True)
        absent = sorted(((p, n) for p, n, here in asked if p is not None and concept not in here), reverse=True)
        rows.append([
            concept, len(there), sum(c or 0 for c in counts), f"{sum(there) / len(there):.2f}" if there else "-",
            ", ".join(f"{name} {p:.2f}" for p, name in absent[:3]),
        ])
    head = ["concept", "samples", "instances", "mean presence", "hardest negatives (presence)"]
    sides = ("left", "right", "right", "right", "left")
    lines = tabulate(rows, head, tablefmt="simple", disable_numparse=True, colalign=sides)
    return (
        f"\n{lines}\n\nsamples: presence above 0.5, whatever the truth. hardest negatives: samples without the concept "
        "that come closest"
    )


def masklet_table(dataset, concepts: tuple[str, ...], label_field: str = LABEL_FIELD) -> str:
    """What was tracked, a line a concept and clip: presence, masklets, and each masklet's frames."""
    from tabulate import tabulate

    rows = []
    for sample in dataset.select_fields([f"{label_field}_masklets", f"{label_field}_presence"]):
        masklets = sample[f"{label_field}_masklets"].detections
        for concept in concepts:
            own = [m for m in masklets if m.label == concept]
            presence = sample[f"{label_field}_presence"][concept]
            if not own and presence <= 0.5:
                continue
            frames = ", ".join(f"{m.index}: {m.support[0]}-{m.support[1]}" for m in own)
            rows.append([Path(sample.filepath).stem, concept, f"{presence:.2f}", len(own), frames])
    head = ["clip", "concept", "presence", "masklets", "frames of each"]
    sides = ("left", "left", "right", "right", "left")
    lines = tabulate(rows, head, tablefmt="simple", disable_numparse=True, colalign=sides)
    return f"\n{lines}\n\npresence: the largest over a clip's frames; concepts that are not listed are in no clip"


if __name__ == "__main__":
    sys.exit(main())
