"""The gallery has each method and finding, and its page is that of its pictures."""

import tfcam
from tests import gallery
from tfcam.findings import FINDINGS


def test_each_method_and_finding_is_there_and_the_page_shows_all():
    assert gallery.PAGE.read_text(encoding="utf-8") == gallery.page()
    assert set(gallery.METHODS) == set(tfcam.METHODS)
    assert set(gallery.FOUND) == set(FINDINGS)
    told = gallery.FOLDER / "nothing_to_gate.txt"
    assert told.read_text("utf-8") in gallery.PAGE.read_text("utf-8")
    assert {path.stem for path in gallery.FOLDER.iterdir()} == set(gallery.SHOWN)
    assert sum(path.stat().st_size for path in gallery.FOLDER.iterdir()) < 1.5e6
