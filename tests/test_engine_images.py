"""Any file that is an image is read as a person sees it; any other is refused with its reason."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import Sam3ImageProcessor

from zoo.engine import images
from zoo.engine.errors import ImageError
from zoo.engine.images import read_image, to_square

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def scene(width: int = 64, height: int = 48) -> np.ndarray:
    """Four corners of different colours: no flip or turn of it is like another."""
    image = np.empty((height, width, 3), np.uint8)
    half_height, half_width = height // 2, width // 2
    image[:half_height, :half_width], image[:half_height, half_width:] = RED, GREEN
    image[half_height:, :half_width], image[half_height:, half_width:] = BLUE, WHITE
    return image


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def grey_png(values: np.ndarray, *extra: bytes) -> bytes:
    """A 16-bit grey PNG, written by hand: Pillow cannot write all that it can read."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 0, 0, 0, 0)
    return b"".join([
        b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""),
    ])  # fmt: skip


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


# ------------------------------------------------------------------------------------------------ read right

UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.swapaxes(0, 1), 2),
    8: np.rot90,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / "photo"
    Image.fromarray(scene()).save(path, kind, exif=exif, quality=95, subsampling=0)
    want = UPRIGHT[orientation](scene())
    got = read_image(path)
    assert got.shape == want.shape == ((48, 64, 3) if orientation < 5 else (64, 48, 3))
    assert np.abs(got.astype(int) - want).max() <= (8 if kind == "JPEG" else 0)


@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)), subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(), quality=st.integers(20, 100), grey=st.booleans(), seed=st.integers(0, 2**31),
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_plain_jpeg_has_the_pixels_that_pillow_gives_it(
    tmp_path, monkeypatch, size, subsampling, progressive, quality, grey, seed
):
    """It is not Pillow that decodes it, though."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    photo = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert("L" if grey else "RGB")
    photo.save(
        tmp_path / "photo.jpg", "JPEG", quality=quality, progressive=progressive,
        **({} if grey else dict(subsampling=subsampling)),
    )  # fmt: skip
    with Image.open(tmp_path / "photo.jpg") as image:
        want = np.array(image.convert("RGB"))
    with monkeypatch.context() as patch:
        patch.setattr(images, "_rgb", lambda *_: pytest.fail("Pillow was asked"))
        got = read_image(tmp_path / "photo.jpg")
    assert np.array_equal(got, want) and got.flags.writeable


def test_what_follows_a_jpeg_is_left_to_pillow(tmp_path):
    """OpenCV would not say that a file is cut short, which an end that is not at the end may mean."""
    data = encoded(Image.fromarray(scene()), "JPEG", quality=95, subsampling=0)
    (tmp_path / "photo.jpg").write_bytes(data + b"a maker's note")
    assert np.abs(read_image(tmp_path / "photo.jpg").astype(int) - scene()).max() <= 8


def test_webp_is_not_turned_because_browsers_do_not(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(scene()).save(tmp_path / "photo.webp", lossless=True, exif=exif)
    assert np.array_equal(read_image(tmp_path / "photo.webp"), scene())


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_turns_nothing(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(scene()).save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "photo.png"), scene())


def test_a_deep_image_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    Image.fromarray(values).save(tmp_path / "deep.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "deep.png")[..., 0], np.rot90(values // 257, -1))


FLAT = {
    "grey": (Image.new("L", (5, 3), 77), "PNG", (77, 77, 77)),
    "1-bit white": (Image.new("1", (5, 3), 1), "PNG", WHITE),
    "1-bit black": (Image.new("1", (5, 3), 0), "PNG", BLACK),
    "palette": (Image.new("RGB", (5, 3), (10, 200, 30)).quantize(4), "PNG", (10, 200, 30)),
    "opaque": (Image.new("RGBA", (5, 3), (10, 200, 30, 255)), "PNG", (10, 200, 30)),
    "transparent": (Image.new("RGBA", (5, 3), (10, 200, 30, 0)), "PNG", WHITE),
    "half transparent": (Image.new("RGBA", (5, 3), (0, 100, 255, 102)), "PNG", (153, 193, 255)),
    "grey half transparent": (Image.new("LA", (5, 3), (0, 102)), "PNG", (153, 153, 153)),
    "cyan ink": (Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", (0, 255, 255)),
    "black ink": (Image.new("CMYK", (16, 16), (0, 0, 0, 255)), "JPEG", BLACK),
    "no ink": (Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "TIFF", WHITE),
    "16-bit": (Image.fromarray(np.full((3, 5), 100 * 257, np.uint16)), "PNG", (100, 100, 100)),
    "16-bit TIFF": (Image.fromarray(np.full((3, 5), 65535, np.uint16)), "TIFF", WHITE),
    "32-bit, negative": (Image.fromarray(np.full((3, 5), -5, np.int32)), "TIFF", BLACK),
    "float to 1": (Image.fromarray(np.array([[0.4, 0.4], [0.4, 1.0]], np.float32)), "TIFF", (102, 102, 102)),
    "float to 255": (Image.fromarray(np.array([[102.5, 102.5], [102.5, 9000]], np.float32)), "TIFF", (102, 102, 102)),
    "float, undefined": (Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF", BLACK),
    "bitmap": (Image.new("RGB", (5, 3), (10, 200, 30)), "BMP", (10, 200, 30)),
    "WebP": (Image.new("RGB", (5, 3), (10, 200, 30)), "WEBP", (10, 200, 30)),
    "Lab": (Image.new("LAB", (16, 16), (255, 128, 128)), "TIFF", WHITE),
}


@pytest.mark.parametrize("name", FLAT)
def test_every_kind_of_pixel_is_8_bit_rgb(tmp_path, name):
    image, kind, colour = FLAT[name]
    path = tmp_path / "image"  # without a suffix: what counts is what is in the file
    path.write_bytes(encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {})))
    got = read_image(path)
    assert got.dtype == np.uint8 and got.shape == (image.height, image.width, 3) and got.flags["C_CONTIGUOUS"]
    assert np.abs(got[0, 0].astype(int) - colour).max() <= 1


def test_uncompressed_ycbcr_is_read_right_or_refused(tmp_path):
    """Pillow before 13 takes its three bytes a pixel for four, and runs out of them: an error, never wrong colours."""
    Image.new("YCbCr", (16, 16), (255, 128, 128)).save(tmp_path / "ycbcr.tif")
    if int(PIL.__version__.split(".")[0]) < 13:
        assert "truncated" in refusal(tmp_path / "ycbcr.tif")
    else:
        assert np.array_equal(read_image(tmp_path / "ycbcr.tif"), np.full((16, 16, 3), 255))


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.arange(0, 60_000, 100, dtype=np.uint16).reshape(20, 30)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png")[..., 1], values // 257)


def test_a_palette_colour_may_be_transparent(tmp_path):
    for kind in ("PNG", "GIF"):
        image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "L").convert("P")
        image.putpalette([*RED, *BLUE])
        image.save(tmp_path / "palette", kind, transparency=0)
        assert read_image(tmp_path / "palette").tolist() == [[[*WHITE], [*BLUE]], [[*BLUE], [*WHITE]]]


def test_an_rgb_colour_may_be_transparent(tmp_path):
    Image.fromarray(scene()).save(tmp_path / "key.png", transparency=BLUE)
    want = scene()
    want[(want == BLUE).all(2)] = WHITE
    assert np.array_equal(read_image(tmp_path / "key.png"), want)


def test_a_deep_grey_may_be_transparent_and_no_other_with_it(tmp_path):
    values = np.array([[100, 25_700, 40_000]])  # 25700 is 100 in 8 bits
    (tmp_path / "key.png").write_bytes(grey_png(values, chunk(b"tRNS", struct.pack(">H", 100))))
    assert read_image(tmp_path / "key.png")[0, :, 0].tolist() == [255, 100, 155]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame(tmp_path, kind):
    frames = [Image.new("RGB", (20, 10), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(tmp_path / "film", kind, save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(read_image(tmp_path / "film"), np.full((10, 20, 3), RED))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20_000, 10), (10, 20_000), (1, 700)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_odd_sizes(tmp_path, kind, width, height):
    Image.new("RGB", (width, height), WHITE).save(tmp_path / "odd", kind)
    image = read_image(str(tmp_path / "odd"))
    assert image.shape == (height, width, 3) and image.min() == 255
    square = to_square(image, 168)
    assert square.shape == (3, 168, 168) and square.dtype == torch.uint8 and square.min() == 255


# --------------------------------------------------------------------------------------------------- refused

WHOLE = {
    kind: encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)), kind)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")
}


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("kind", WHOLE)
def test_truncated(tmp_path, kind, share):
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(WHOLE[kind])
    assert read_image(path).shape == (48, 64, 3)
    path.write_bytes(WHOLE[kind][: int(len(WHOLE[kind]) * share)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on its way to the error
        refusal(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"\0", "not an image"),
        (b"this is no image", "not an image"),
        (b"<html><body>404</body></html>", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "not an image"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(999), "not an image"),
        (bytes(4096), "not an image"),
    ],
)
def test_what_is_no_image(tmp_path, content, reason):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        read_image(path)
    refusal(path)


def test_missing_and_not_a_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "gone.jpg")
    refusal(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    refusal(tmp_path / "file" / "photo.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    assert "does not exist" in refusal(tmp_path / "link.jpg")
    refusal(tmp_path / ("x" * 300 + ".jpg"))
    with pytest.raises(ImageError):
        read_image("with\0nothing.jpg")


def test_a_picture_made_to_fill_the_memory(tmp_path):
    path = tmp_path / "bomb.png"
    head = struct.pack(">IIBBBBB", 90_000, 90_000, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(999)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b""))
    assert "exceeds limit" in refusal(path)


@pytest.mark.filterwarnings("ignore")
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([k for k in WHOLE if k != "TIFF"]), st.data())
def test_damage_gives_pixels_or_the_one_error(tmp_path, kind, data):
    """No third way out: any other exception would end a run over a million images."""
    broken = bytearray(WHOLE[kind])
    near = st.integers(0, 200).map(lambda k: min(k, len(broken) - 1))  # headers are where it hurts
    place = st.one_of(near, st.integers(0, len(broken) - 1))
    for position, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=5)):
        broken[position] = value
    path = tmp_path / "broken"
    path.write_bytes(broken)
    try:
        image = read_image(path)
    except ImageError as error:
        assert "broken" in str(error)
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size


# ------------------------------------------------------------------------------------------ the network's square


@pytest.mark.parametrize("side", [168, 1008])
@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (2, 1), (168, 168), (640, 480), (481, 641), (1008, 1008), (3, 900), (20_000, 10)]
)
def test_the_square_is_that_of_transformers(side, width, height):
    image = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)
    processor = Sam3ImageProcessor(size={"height": side, "width": side})
    want = processor(images=Image.fromarray(image), return_tensors="pt").pixel_values[0]
    square = to_square(image, side)
    assert square.dtype == torch.uint8
    assert torch.equal((square.float() - 127.5) / 127.5, want)


def test_the_square_of_a_turned_view_is_that_of_its_copy():
    turned = np.rot90(scene(), -1)  # negative strides, as flips of numpy arrays have
    assert torch.equal(to_square(turned, 56), to_square(np.ascontiguousarray(turned), 56))
