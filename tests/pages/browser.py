"""The system's Chromium, driven by Playwright; the tests are skipped where either is missing."""

import contextlib
import gc
import os
import shutil
import warnings

import pytest

PATIENCE = 60_000  # milliseconds: other work may share the processors


def executable():
    """Find Chromium; the test is skipped where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"a browser is needed, one of {', '.join(names)}: there is none")
    return found


@contextlib.contextmanager
def opened_browser():
    """Open a browser without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is needed")
    pytest.importorskip("gradio", reason="Gradio is needed")
    path = executable()
    with api.sync_playwright() as driver:
        # Root, as in containers, has no sandbox.
        flags = ["--no-sandbox"] if hasattr(os, "getuid") and os.getuid() == 0 else []
        chromium = driver.chromium.launch(executable_path=path, args=flags)
        yield chromium
        chromium.close()
    with warnings.catch_warnings():  # Gradio leaves sockets open that it has tried ports with
        warnings.simplefilter("ignore")
        gc.collect()


@contextlib.contextmanager
def visit(chromium, address, width=1280, **options):
    """Visit a page by oneself: no request may leave this machine, no error be logged."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    outside = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert (outside, errors) == ([], [])


def violations(page, script, but=()):
    """What axe finds wrong with a page, at WCAG's levels A and AA: (rule, element)."""
    page.evaluate(script)
    found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
    rules = [rule for rule in found["violations"] if rule["id"] not in but]
    return [(rule["id"], node["html"][:200]) for rule in rules for node in rule["nodes"]]


def axe_script():
    """The source of axe-core, of npm: TFCAM_AXE names it; the test is skipped without it."""
    path = os.environ.get("TFCAM_AXE")
    if not path:
        pytest.skip("axe-core is needed: npm install axe-core, TFCAM_AXE=.../axe.min.js")
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return file.read()
