"""The site: its pages, and the links between them."""

import re

import pytest

from tests import site
from tests.project import GUIDES


@pytest.mark.slow
def test_every_page_is_in_the_site_and_no_link_is_dead(tmp_path):
    site.write(tmp_path)  # a warning or a dead link stops it
    for place in site.PLACES.values():
        assert (tmp_path / re.sub(r"md$", "html", place)).is_file(), place
    assert 'id="explain"' in (tmp_path / "reference/tfcam.html").read_text(encoding="utf-8")


def test_every_guide_is_in_the_contents():
    assert sorted(site.GUIDE_ORDER) == sorted(path.stem for path in GUIDES.glob("*.md"))


def test_a_dead_link_is_found(tmp_path):
    (tmp_path / "b.html").write_text('<p id="part">')
    links = ("b.html", "b.html#part", "b.html#none", "c.html", "#none", "https://none.example")
    (tmp_path / "a.html").write_text("".join(f'<a href="{link}">' for link in links))
    dead = sorted(site.dead_links(tmp_path))
    assert dead == ["a.html: #none", "a.html: b.html#none", "a.html: c.html"]


def test_formulas_are_drawn_by_the_browser_itself():
    text = site.with_formulas("of size $h w$:\n\n$$\\sum_k A_k$$\n")
    assert "$" not in text
    assert re.findall(r'display="(\w+)"', text) == ["inline", "block"]
    assert text.count("<math") == text.count("</math>") == 2


def test_links_between_files_become_links_between_pages():
    readme = site.moved("[a](.docs/speed.md#x) [b](LICENSE) [c](https://x.org)", "README.md")
    assert readme == f"[a](speed.md#x) [b]({site.BLOB}LICENSE) [c](https://x.org)"
    guide = site.moved("[a](../README.md) [b](zoo.md)", ".docs/methods.md")
    assert guide == "[a](index.md) [b](zoo.md)"
    book = f"notebooks/{site.NOTEBOOKS[0].name}"
    page = site.moved(f"[a]({site.BLOB}{book}) [b]({site.BLOB}README.md)", book)
    assert page == f"[a]({site.NOTEBOOKS[0].stem}.md) [b](../index.md)"
