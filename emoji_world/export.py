"""Turn a training's averaged weights into a checkpoint: ``python -m emoji_world.export runs/tiny zoo/tiny``.

The result has the hub's layout of ``facebook/sam3``: one ``sam3_video`` config and keys under
``detector_model.``, so that every transformers class of the family finds its part.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Sam3ImageProcessor, Sam3Processor

from .architecture import GRID, IMAGE_SIZE, build_config, build_tokenizer


def export(state_file: Path, folder: Path) -> None:
    """Write the averaged detector of ``state_file`` to ``folder``, in half precision.

    ``Sam3VideoModel.save_pretrained`` of transformers 5.23 writes tracker names that ``Sam3TrackerModel`` cannot
    read, so names are written here.
    """
    state = torch.load(state_file, map_location="cpu", weights_only=True)
    tensors = {f"detector_model.{k}": v.half().contiguous() for k, v in state["average"].items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = build_tokenizer()
    config = build_config(tokenizer)
    config.architectures = ["Sam3VideoModel"]
    config.save_pretrained(folder)
    square = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    images = Sam3ImageProcessor(size=square, mask_size={"height": 4 * GRID, "width": 4 * GRID})
    Sam3Processor(images, tokenizer).save_pretrained(folder)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the training's folder")
    parser.add_argument("folder", type=Path, help="where the checkpoint goes")
    args = parser.parse_args()
    export(args.run / "state.pt", args.folder)
    size = sum(f.stat().st_size for f in args.folder.iterdir())
    print(f"{args.folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
