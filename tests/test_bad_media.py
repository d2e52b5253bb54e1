"""Media as people have them: what can be read is read right, what cannot be read costs itself alone."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from support import media
from support.media import COLOURS, counts, labels_of, scripted, states, told

from zoo.image_model import Sam3ImageModel
from zoo.landing import SampleError

apply = partial(fo.Dataset.apply_model, label_field="sam3", num_workers=0, progress=False)

RED, GREEN = COLOURS["red"], COLOURS["green"]


def make(folder: Path) -> None:
    """One file of each kind that can be read; each is red to the eye."""
    red = Image.new("RGB", (48, 32), RED)
    red.convert("CMYK").save(folder / "cmyk.jpg")
    red.quantize(4).save(folder / "palette.png")
    Image.new("RGBA", (48, 32), (*RED, 255)).save(folder / "alpha.png")
    red.save(folder / "animated.gif", save_all=True, append_images=[Image.new("RGB", (48, 32), GREEN)] * 2)
    red.save(folder / "tiny.webp", lossless=True)
    Image.new("RGB", (1, 1), RED).save(folder / "one_pixel.png")
    Image.new("RGB", (20_000, 10), RED).save(folder / "ribbon.png")
    rotated = red.getexif()
    rotated[0x0112] = 6  # stands on its side: a browser shows it 32 wide and 48 high
    red.save(folder / "rotated.jpg", exif=rotated, quality=100, subsampling=0)
    media.plain(folder / "ordinary.png", "red")
    # 16 bits know no red: black, which a reader that keeps the upper byte alone, or clips, makes white
    Image.fromarray(np.full((32, 48), 257 * 5, np.uint16)).save(folder / "deep.png")


READABLE = {
    "alpha.png": (32, 48), "animated.gif": (32, 48), "cmyk.jpg": (32, 48), "deep.png": (32, 48),
    "one_pixel.png": (1, 1), "ordinary.png": (32, 48), "palette.png": (32, 48), "ribbon.png": (10, 20_000),
    "rotated.jpg": (48, 32), "tiny.webp": (32, 48),
}  # fmt: skip

BAD = {
    "directory.png": "cannot be read",
    "empty.png": r"empty.png is empty \(0 bytes\)",
    "missing.png": "missing.png does not exist",
    "page.html.png": "not an image",
    "truncated.jpg": "truncated.jpg cannot be read",
    "truncated.png": "truncated.png cannot be read",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    make(folder)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    for name in ("truncated.jpg", "truncated.png"):
        noise.save(folder / name)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "page.html.png").write_text("<html>404</html>")
    (folder / "directory.png").mkdir()
    return folder


@pytest.fixture
def mixed(folder, new_dataset) -> fo.Dataset:
    """Good and bad in turn, bad ones at both ends and side by side, whatever the batch."""
    bad, good = sorted(BAD), sorted(READABLE)
    order = [bad[0], *good[:2], bad[1], bad[2], *good[2:5], bad[3], *good[5:], bad[4], bad[5]]
    # FiftyOne insists on a media type before anybody has looked at a file
    return new_dataset([fo.Sample(filepath=folder / name) for name in order])


def by_name(dataset: fo.Dataset, *names: str) -> dict[str, dict]:
    return dict(zip((Path(path).name for path in dataset.values("filepath")), states(dataset, *names), strict=True))


@pytest.mark.parametrize(
    ("batch_size", "num_workers", "label_field"),
    [(1, 0, "preds"), (2, 0, "sam3"), (2, 0, "preds"), (3, 1, "preds"), (16, 0, "sam3")],
)
def test_a_bad_file_costs_itself_alone(mixed, batch_size, num_workers, label_field, caplog):
    apply(mixed, scripted(), label_field=label_field, batch_size=batch_size, num_workers=num_workers)

    kept = by_name(mixed, label_field)
    for name in READABLE:
        colour = "black" if name == "deep.png" else "red"
        assert kept[name]["error"] is None
        assert kept[name]["presence"] == {label: told(colour, label)[0] for label in ("cat", "dog")}
        assert kept[name]["count"] == counts(colour, "cat", "dog")
        assert len(labels_of(kept[name])) == sum(kept[name]["count"].values())
    for name, reason in BAD.items():
        error = kept[name].pop("error")
        assert re.search(reason, error)
        assert kept[name] == dict(presence=None, score=None, count=None, instances=None)
        assert error in caplog.text  # as `skip_failures` promises: logged
    assert set(mixed.get_field_schema()) & {"sam3", "preds"} == {label_field}
    summary = mixed.load_run_results("sam3").summary
    assert (summary["samples"], summary["failed"]) == (len(READABLE), len(BAD))


def test_sizes_are_those_a_browser_shows(mixed):
    apply(mixed, scripted(["dog"], {(c, "dog"): (1.0, (0.9,)) for c in COLOURS}), batch_size=4)

    for name, kept in by_name(mixed).items():
        if name in READABLE:
            (instance,) = kept["instances"]
            shape, (_, _, across, down) = instance["mask"][0], instance["box"]
            assert (round(shape[0] / down), round(shape[1] / across)) == READABLE[name]


def test_the_network_itself_takes_every_size(mixed):
    apply(mixed, Sam3ImageModel(media.tiny(), ["dog"], confidence_thresh=0.0), batch_size=8)

    for name, kept in by_name(mixed).items():
        assert (name in READABLE) == bool(kept["instances"]) == (kept["error"] is None)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_run_that_may_not_fail_stops_at_the_first_bad_file(mixed, batch_size):
    left_out = ("directory.png", "empty.png", "missing.png")
    view = mixed.select([s.id for s in mixed if s.filename not in left_out])

    with pytest.raises(SampleError, match="page.html.png is not an image"):
        apply(view, scripted(), batch_size=batch_size, skip_failures=False)

    kept = [state for name, state in by_name(mixed).items() if name not in left_out]
    reached = 5 // batch_size * batch_size + batch_size  # the bad one is the sixth; its batch was finished
    assert [bool(state["presence"]) for state in kept] == [k < reached and k != 5 for k in range(len(kept))]
    assert [bool(state["error"]) for state in kept] == [k == 5 for k in range(len(kept))]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_nothing_but_bad_files(folder, new_dataset, count):
    dataset = new_dataset([fo.Sample(filepath=folder / name) for name in list(BAD)[:count]])

    apply(dataset, scripted(), batch_size=4)

    assert [bool(kept.pop("error")) for kept in states(dataset)] == [True] * count


@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("label_field", ["sam3", "preds"])
def test_a_single_good_file_beside_a_bad_one(folder, new_dataset, bad, label_field):
    """With nothing else to learn the label field from."""
    names = ["ordinary.png", "empty.png"][:: 1 if bad else -1]
    dataset = new_dataset([fo.Sample(filepath=folder / name) for name in names])

    apply(dataset, scripted(), label_field=label_field, batch_size=2)

    kept = states(dataset, label_field)
    assert kept[bad]["error"] and kept[bad]["instances"] is None
    assert len(kept[1 - bad]["instances"]) == sum(counts("red", "cat", "dog").values())


@pytest.mark.parametrize("skip_existing", [False, True])
def test_an_error_goes_when_the_file_is_mended(tmp_path, new_dataset, skip_existing):
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for path in paths[:2]:
        media.plain(path, "red")
    paths[2].write_bytes(b"")
    dataset = new_dataset([fo.Sample(filepath=path) for path in paths])
    apply(dataset, scripted(), batch_size=3)
    assert "is empty" in states(dataset)[2]["error"]

    media.plain(paths[2], "green")
    model = scripted(skip_existing=skip_existing)
    apply(dataset, model, batch_size=3)

    kept = states(dataset)
    assert [state["error"] for state in kept] == [None] * 3
    assert kept[2]["count"] == counts("green", "cat", "dog")
    assert kept[0] == kept[1]
    assert len(model.detector.asked) == (1 if skip_existing else 3)
