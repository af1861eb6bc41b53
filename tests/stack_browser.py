"""A headless Chromium that sees this machine's servers and nothing else."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = "UNROLL_PICTURES"
"""Environment variable: the folder to keep screenshots in; docs/pictures for those of the guides."""
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_COLOURS = 96
_SEEN = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
"""MLflow's assistant opens over the page at the first visit; this says that it has been seen."""


@contextlib.contextmanager
def chromium() -> Iterator[Page]:
    """A page of a browser with an empty profile; skips the test where there is no browser."""
    program = next((path for name in _PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(_PROGRAMS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(90_000)
            page.route("**/*", _on_loopback)
            page.add_init_script(f"localStorage.setItem('{_SEEN}', 'true')")
            yield page
        finally:
            browser.close()


def keep(page: Page, name: str, folder: Path) -> Path:
    """Takes a screenshot, small enough for a guide.

    Args:
        page: As it is seen.
        name: Of the file, without its ending.
        folder: Where it goes unless UNROLL_PICTURES names another.
    """
    from PIL import Image

    path = Path(os.environ.get(PICTURES, folder)) / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    return path


def _on_loopback(route: Route) -> None:
    if urlsplit(route.request.url).hostname in ("127.0.0.1", None):
        route.continue_()
    else:
        route.abort()
