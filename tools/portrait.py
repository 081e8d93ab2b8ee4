"""Film the slider at work on its slide, for the README."""

import io

from PIL import Image
from playwright.sync_api import sync_playwright

from tools import browser, slides
from utils import ROOT

DECK, SLIDE = "03_vae", "03_vae/plane"
FRAMES, PAUSE_MS = 48, 90


def film():
    """Write lecture/slider.webp from a walk over the plane of digits."""
    target = ROOT / "lecture" / "slider.webp"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=browser.find(), args=[*browser.FLAGS, *browser.sandbox_flags()]
        )
        page = running.new_page(viewport={"width": 1280, "height": 720})
        page.goto((slides.BUILD / f"{DECK}.html").as_uri())
        page.wait_for_selector("section", state="attached")
        number = page.evaluate(
            "name => document.querySelector(`[name='${name}']`).closest('section').id", SLIDE
        )
        page.goto((slides.BUILD / f"{DECK}.html").as_uri() + f"#{number}")
        explorer = page.locator(f'latent-explorer[name="{SLIDE}"]')
        page.wait_for_selector("latent-explorer[data-state=live]")
        explorer.get_by_role("button", name="play").click()
        box = explorer.bounding_box()
        clip = {"x": box["x"] - 8, "y": box["y"] - 8, "width": 930, "height": 590}
        frames = []
        for _ in range(FRAMES):
            frames.append(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB"))
            page.wait_for_timeout(PAUSE_MS)
        running.close()
    small = [frame.resize((frame.width * 2 // 3, frame.height * 2 // 3)) for frame in frames]
    small[0].save(
        target, save_all=True, append_images=small[1:], duration=2 * PAUSE_MS, loop=0, quality=60
    )
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1000} kB")
    return 0
