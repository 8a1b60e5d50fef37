"""The API reference: built without a warning, and nothing public is missing from it."""

import html
import importlib
import inspect
import re

import pytest

import tfcam
from tests import reference


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages by their module."""
    output = tmp_path_factory.mktemp("reference")
    reference.write(output)
    paths = [each.relative_to(output) for each in output.rglob("*.html")]
    return {
        ".".join(each.with_suffix("").parts): (output / each).read_text(encoding="utf-8")
        for each in paths
    }


def section(page, name):
    """The HTML on one name."""
    found = re.search(rf'<section id="{name}">(.*?)</section>', page, re.DOTALL)
    assert found, f"no section on {name}"
    return found[1]


def text(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", markup)).split())


def headings(doc):
    """The sections of a docstring, as the page calls them."""
    found = re.findall(r"^ *(Args|Returns|Raises|Example|Attributes):$", doc, re.MULTILINE)
    return [each.replace("Args", "Arguments") for each in found]


def check_explained(pages, module, name):
    """A public name has its page, if it is a module, or says there what its docstring says."""
    value = getattr(module, name)
    if inspect.ismodule(value):
        assert value.__name__ in pages
        assert f'href="{value.__name__.replace(".", "/")}.html"' in pages["tfcam"]
        return
    said = text(section(pages[module.__name__], name))
    assert said
    if name.isupper():
        return
    doc = value.__doc__
    assert doc.strip().split("\n")[0].replace("`", "") in said
    for heading in headings(doc):
        assert f" {heading}: " in said
    for argument in re.findall(r"^ {8}(\w+): ", doc, re.MULTILINE):
        assert f" {argument}: " in said


@pytest.mark.thinned(29)
@pytest.mark.parametrize("name", tfcam.__all__)
def test_every_public_name_is_explained(pages, name):
    check_explained(pages, tfcam, name)


@pytest.mark.parametrize("name", tfcam.metrics.__all__)
def test_every_metric_is_explained(pages, name):
    check_explained(pages, tfcam.metrics, name)


@pytest.mark.parametrize("name", tfcam.METHODS)
def test_every_method_is_explained_and_linked(pages, name):
    home = tfcam.METHODS[name].function.__module__
    said = text(section(pages[home], name))
    for part in ("Arguments:", "Returns:", "Source:", "Example:", ">>>"):
        assert part in said, part
    page = f"{home.replace('.', '/')}.html#{name}"
    assert f'href="{page}"' in section(pages["tfcam"], "METHODS")


def test_no_link_leads_nowhere(pages):
    for name, page in pages.items():
        for link in re.findall(r'href="#([\w.]+)"', page):
            owner, _, member = link.rpartition(".")
            if owner and member not in vars(getattr(importlib.import_module(name), owner)):
                continue  # Keras's own, whose documentation is elsewhere
            assert f'id="{link}"' in page, link


def test_a_warning_stops_it(tmp_path, monkeypatch):
    broken = tmp_path / "broken.py"
    broken.write_text('def explain(image: "Nothing") -> None:\n    """Of a type that is none."""\n')
    monkeypatch.setattr(reference, "MODULES", (str(broken),))
    with pytest.raises(UserWarning, match="Error parsing type annotation .*Nothing"):
        reference.write(tmp_path / "site")
