"""Images: from a file to pixels as a person sees them, and to the network's square."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from .errors import ImageError

#: modes that Pillow clips instead of scaling when it converts them to 8 bits
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
#: EXIF's tag that says how to turn an image
_ORIENTATION = 0x0112
#: what a whole JPEG ends with
_END = b"\xff\xd9"


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """The image as a browser shows it: upright, 8-bit RGB.

    EXIF orientation is applied; 16-bit images are scaled, not clipped; CMYK and palettes are converted;
    transparent images lie on white; of an animation, the first frame.

    Args:
        path: the file

    Returns:
        uint8 ``(height, width, 3)``, RGB

    Raises:
        ImageError: the file is missing, empty, truncated, or no image
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise ImageError(f"{path.name} is empty (0 bytes)")
        with Image.open(path) as image:
            if _plain(image) and (decoded := _decoded(path)) is not None:
                return decoded
            # as Chromium does (tried with all eight orientations): EXIF counts in every format but WebP, if it
            # stands before the pixels; orientation in XMP or in PNG text, which Pillow would honour too, does not
            turn = image.format == "TIFF" or (image.format != "WEBP" and "exif" in image.info)
            return np.array(_rgb(image, turn))
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path.name} is not an image that Pillow can read") from None
    # RuntimeError is what the AVIF decoder raises
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError, RuntimeError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path.name} cannot be read: {error}") from error


def to_square(image: np.ndarray, side: int) -> Tensor:
    """``image`` squeezed to the network's square, as transformers' processor does it.

    Args:
        image: uint8 ``(height, width, 3)``
        side: of the square, in pixels

    Returns:
        uint8 ``(3, side, side)``
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    return tv.resize(pixels, [side, side], interpolation=InterpolationMode.BILINEAR, antialias=True)


def unsquared(square: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The network's square with the proportions of the original again; its longer side is the square's.

    Args:
        square: uint8 ``(3, side, side)``
        size: ``(height, width)`` of the original

    Returns:
        uint8 ``(height', width', 3)``
    """
    side, longest = square.shape[-1], max(size)
    small = [max(1, round(side * length / longest)) for length in size]
    pixels = tv.resize(square, small, interpolation=InterpolationMode.BILINEAR, antialias=True)
    return pixels.permute(1, 2, 0).contiguous().numpy()


def _plain(image: Image.Image) -> bool:
    """Whether it is a JPEG that needs nothing but decoding."""
    return image.format == "JPEG" and image.mode in ("RGB", "L") and image.getexif().get(_ORIENTATION, 1) == 1


def _decoded(path: Path) -> np.ndarray | None:
    """A plain JPEG: the same pixels as Pillow's, in two thirds of its time; ``None`` if it may be cut short, of which
    OpenCV says nothing.
    """
    data = np.fromfile(path, np.uint8)
    if data[-2:].tobytes() != _END:
        return None
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # larger than OpenCV reads
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def _rgb(image: Image.Image, turn: bool) -> Image.Image:
    image.seek(0)
    if image.mode in _DEEP_MODES:
        image = _to_eight_bits(image)
    upright = ImageOps.exif_transpose(image) if turn else image
    if upright.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        ground = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(ground, upright).convert("RGB")
    return upright.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale deep greys to 8 bits: 16-bit integers by their range, floats in [0, 1] or [0, 255] as they are."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    if image.mode == "F":
        values = values * 255 if values.size and values.max() <= 1 else values
    elif values.size and values.max() > 255:
        values = values / 257
    shallow = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    shallow.info.update(image.info)
    hidden = shallow.info.pop("transparency", None)  # a deep grey, which in 8 bits would be another one
    if hidden is not None:
        shallow.putalpha(Image.fromarray((np.asarray(image) != hidden).astype(np.uint8) * 255))
    return shallow
