"""The App in a real browser, on videos: masklets in the timeline, presence as a filter, and an overlay that plays."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from support.browser import drag, eventually, open_dataset, open_operator, screenshot

from emoji_world.clip_dataset import build_clips

#: plays what is at an address, and says how far it came and whether there is a picture
_PLAYED = """async (url) => {
    const video = document.createElement('video');
    video.muted = true;
    video.src = url;
    document.body.replaceChildren(video);
    await video.play();
    while (video.currentTime < 0.4) await new Promise(r => setTimeout(r, 50));
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    return [video.videoWidth, video.videoHeight, video.currentTime];
}"""


@pytest.fixture
def clips(tmp_path):
    dataset = build_clips("app-video-test", tmp_path / "media", frames=24)
    dataset.default_classes = ["whale", "shark", "lion"]
    dataset.save()
    yield dataset
    dataset.delete()


@pytest.mark.browser
def test_track_concepts_then_play_and_filter(app, browser_page, clips):
    page = browser_page
    open_dataset(page, app, clips.name)
    open_operator(page, "SAM 3: track concepts")
    modal = page.locator("[data-cy=operators-prompt-modal]")
    execute = modal.get_by_role("button", name="Execute", exact=True)
    eventually(page, execute.is_enabled)
    screenshot(page, "track form")
    execute.click()
    page.get_by_text("video 2 of 2, frame 24 of 24").wait_for()
    page.get_by_role("button", name="Done").click()
    modal.wait_for(state="detached")

    clips.reload()
    assert clips.count("frames.sam3.detections") > 0
    masklets = [m for found in clips.values("sam3_masklets.detections") for m in found]
    assert {m.label for m in masklets} == {"whale", "lion"}

    # played: masks on the frames, and in the timeline a row for each masklet
    open_dataset(page, app, clips.name)
    page.locator("[data-cy=looker]").first.click()
    page.locator("[data-cy=modal-looker-container]").wait_for()
    start = page.get_by_text("0:00.00 / 0:02.00")
    start.wait_for()
    for _ in range(10):  # a player that is not ready yet does not heed the key
        page.keyboard.press("Space")
        with suppress(AssertionError):
            eventually(page, lambda: not start.count(), patience=10)
            break
    assert not start.count()
    page.keyboard.press("Space")
    page.mouse.click(1042, 819)  # unfolds the timeline; the arrow has no name
    first = clips.first().sam3_masklets.detections[0]
    page.get_by_text(f"{first.label} {first.index}", exact=True).first.wait_for()
    screenshot(page, "tracked video, played")
    open_dataset(page, app, clips.name)

    # filtered: only one of the clips has whales
    page.locator('[data-cy="sidebar-field-arrow-enabled-sam3_presence.whale"]').click()
    thumb = page.locator('[data-cy="numeric-slider-container-sam3_presence-whale"] .MuiSlider-thumb').first
    thumb.wait_for()
    drag(page, thumb, right=120)
    eventually(page, lambda: page.locator("[data-cy=entry-counts]").inner_text().startswith("1 "))
    screenshot(page, "videos filtered by presence")


@pytest.mark.browser
def test_the_overlay_that_is_rendered_plays(app, browser_page, clips, tmp_path):
    from curation.render import render_view
    from zoo.source import load_model
    from zoo.track import track

    model = load_model("concepts/sam3-tiny-video", classes=["whale"])
    *_, last = track(clips.limit(1), model)
    assert last.masklets >= 1
    *_, progress = render_view(clips.limit(1), tmp_path / "overlays")
    (written,) = progress.written
    browser_page.goto(f"{app}/datasets/{clips.name}")  # same origin as the file
    width, height, time = browser_page.evaluate(_PLAYED, f"{app}/media?filepath={quote(str(Path(written).resolve()))}")
    size = clips.first().metadata
    assert (width, height) == (size.frame_width, size.frame_height) and time >= 0.4
    screenshot(browser_page, "overlay played")
