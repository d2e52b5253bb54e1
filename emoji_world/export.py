"""Turn trainings' averaged weights into a checkpoint: ``python -m emoji_world.export zoo/tiny --detector runs/tiny``.

The result has the hub's layout of ``facebook/sam3``: one ``sam3_video`` config and keys under ``detector_model.``,
``tracker_model.`` and ``tracker_neck.``, so that every transformers class of the family finds its part. What is not
exported anew stays as the folder has it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import Sam2VideoVideoProcessor, Sam3ImageProcessor, Sam3Processor

from .architecture import GRID, IMAGE_SIZE, build_config, build_tokenizer


def export(folder: Path, detector: Path | None = None, tracker: Path | None = None) -> None:
    """Write averaged weights to ``folder``, in half precision.

    ``Sam3VideoModel.save_pretrained`` of transformers 5.23 writes tracker names that ``Sam3TrackerModel`` cannot
    read, so names are written here.

    Args:
        folder: the checkpoint
        detector: a state of :mod:`emoji_world.train`
        tracker: a state of :mod:`emoji_world.train_tracker`; it knows that very detector's vision encoder, and no other
    """
    file = folder / "model.safetensors"
    tensors = load_file(file) if file.is_file() else {}
    for state_file, prefixes in ((detector, ("detector_model.",)), (tracker, ("tracker_model.", "tracker_neck."))):
        if state_file is None:
            continue
        state = torch.load(state_file, map_location="cpu", weights_only=True)["average"]
        named = state if state_file is tracker else {f"detector_model.{k}": v for k, v in state.items()}
        tensors = {k: v for k, v in tensors.items() if not k.startswith(prefixes)}
        tensors |= {k: v.half().contiguous() for k, v in named.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(sorted(tensors.items())), file, metadata={"format": "pt"})
    tokenizer = build_tokenizer()
    config = build_config(tokenizer)
    config.architectures = ["Sam3VideoModel"]
    config.save_pretrained(folder)
    square = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    images = Sam3ImageProcessor(size=square, mask_size={"height": 4 * GRID, "width": 4 * GRID})
    Sam3Processor(images, tokenizer).save_pretrained(folder)
    half = [0.5, 0.5, 0.5]
    Sam2VideoVideoProcessor(size=square, image_mean=half, image_std=half).save_pretrained(folder)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the checkpoint is, or goes")
    parser.add_argument("--detector", type=Path, help="the folder of the detector's training")
    parser.add_argument("--tracker", type=Path, help="the folder of the tracker's training")
    args = parser.parse_args()
    export(args.folder, args.detector and args.detector / "state.pt", args.tracker and args.tracker / "tracker.pt")
    size = sum(f.stat().st_size for f in args.folder.iterdir())
    print(f"{args.folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
