"""Film the slider at work on its slide, for the README."""

import io

from PIL import Image
from playwright.sync_api import sync_playwright

from tools import browser, slides
from utils import ROOT

DECK, SLIDE = "03_vae", "03_vae/plane"
FRAMES, FRAME_MS = 48, 180


def film():
    """Write lecture/slider.webp from a walk over the plane of digits."""
    target = ROOT / "lecture" / "slider.webp"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=browser.find(), args=[*browser.FLAGS, *browser.sandbox_flags()]
        )
        page = running.new_page(viewport={"width": 1280, "height": 720})
        page.goto((slides.BUILD / f"{DECK}.html").as_uri())
        explorer = page.locator(f'latent-explorer[name="{SLIDE}"]')
        page.wait_for_selector(
            f'latent-explorer[name="{SLIDE}"][data-state=live]', state="attached"
        )
        explorer.evaluate(
            """e => {
                location.hash = e.closest("section").id;
                e.walk = e.explorer.walker();
            }"""
        )
        explorer.wait_for(state="visible")
        frames = []
        for number in range(FRAMES):
            explorer.evaluate(
                "async (e, now) => { e.walk(now); await e.explorer.update(); }", number * FRAME_MS
            )
            frames.append(Image.open(io.BytesIO(explorer.screenshot())).convert("RGB"))
        running.close()
    small = [frame.resize((frame.width * 2 // 3, frame.height * 2 // 3)) for frame in frames]
    small[0].save(
        target, save_all=True, append_images=small[1:], duration=FRAME_MS, loop=0, quality=60
    )
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1000} kB")
    return 0
