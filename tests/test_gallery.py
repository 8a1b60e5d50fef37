"""The gallery has each method, and its page is that of its pictures."""

import tfcam
from tests import gallery


def test_each_method_has_a_picture_and_the_page_shows_all():
    assert gallery.PAGE.read_text(encoding="utf-8") == gallery.page()
    assert set(gallery.METHODS) == set(tfcam.METHODS)
    assert {path.stem for path in gallery.FOLDER.iterdir()} == set(gallery.SHOWN)
    assert sum(path.stat().st_size for path in gallery.FOLDER.iterdir()) < 1.5e6
