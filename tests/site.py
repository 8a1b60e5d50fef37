"""The site: README and guides, notebooks with their figures, and the API reference.

``python -m tests.site DIR`` builds it by MkDocs, nbconvert and pdoc. A warning of theirs stops it,
and so does a link within the site that leads nowhere.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from latex2mathml.converter import convert
from nbconvert import MarkdownExporter
from nbformat import NotebookNode

from tests import reference
from tests.project import GUIDES, PROJECT, ROOT
from tests.test_notebooks import NOTEBOOKS, read

BLOB = f"{PROJECT['urls']['Repository']}/blob/main/"
GUIDE_ORDER = [
    "gallery",
    "inputs",
    "any_model",
    "texts",
    "black_boxes",
    "from_your_script",
    "from_your_script_inputs",
    "methods",
    "own_method",
    "evaluation",
    "metrics",
    "sanity",
    "verification",
    "app",
    "data_sets",
    "training",
    "stanford_dogs",
    "dreams",
    "speed",
    "peers",
    "troubleshooting",
    "zoo",
]
# Each file of the repository that is a page, and where it is in the site.
PLACES = {
    "README.md": "index.md",
    ".github/CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    **{f".docs/{path.name}": path.name for path in GUIDES.glob("*.[mp]*")},
    **{
        f".docs/gallery/{path.name}": f"gallery/{path.name}"
        for path in GUIDES.glob("gallery/*.[jp]*")
    },
    **{f"notebooks/{path.name}": f"notebooks/{path.stem}.md" for path in NOTEBOOKS},
}
LINK = re.compile(r"(\]\()([^)#\s]+)")
FORMULA = re.compile(r"(\$\$?)([^$]+)\1")
# Names are not broken in tables, and a page is as wide as its code.
STYLE = """
.md-grid { max-width: 76rem; }
.md-typeset td code { white-space: nowrap; word-break: normal; }
"""


def moved(text: str, source: str) -> str:
    """The text with its links to files of the repository turned to the site, or to the web."""
    home = Path(PLACES[source]).parent

    def turn(link: re.Match[str]) -> str:
        address = link[2].removeprefix(BLOB)
        if urlsplit(address).scheme:
            return link[0]
        base = "." if address != link[2] else str(Path(source).parent)
        path = os.path.normpath(Path(base) / address)
        there = PLACES.get(path)
        return link[1] + (os.path.relpath(there, home) if there else BLOB + path)

    return LINK.sub(turn, text)


def with_formulas(text: str) -> str:
    """The text of a notebook with its formulas as MathML, which browsers draw themselves."""

    def draw(found: re.Match[str]) -> str:
        formula = convert(found[2], display="block" if found[1] == "$$" else "inline")
        return f"<span>{formula}</span>"  # without it a paragraph ends where it starts

    return FORMULA.sub(draw, text)


def write_notebook(path: Path, folder: Path, notebook: NotebookNode) -> None:
    """A notebook as a page, its figures beside it."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_formulas(cell.source)
    figures = {"output_files_dir": f"{path.stem}_files", "unique_key": path.stem}
    text, resources = MarkdownExporter().from_notebook_node(notebook, figures)
    (folder / f"{path.stem}_files").mkdir(parents=True, exist_ok=True)
    for name, figure in resources["outputs"].items():
        (folder / name).write_bytes(figure)
    # What was made beside the notebook is of the page already.
    own = f"{path.stem}_files/"
    text = text.replace(f"]({own}", "](own:")
    text = moved(text, f"notebooks/{path.name}").replace("](own:", f"]({own}")
    (folder / f"{path.stem}.md").write_text(text, encoding="utf-8")


def write(output: Path) -> None:
    """Build the whole site, in a folder, and look at its links.

    Raises:
        CalledProcessError: If MkDocs warns of something.
        ValueError: If a link leads nowhere; it lists them all.
    """
    with tempfile.TemporaryDirectory() as name:
        stage = Path(name) / "pages"
        stage.mkdir()
        for source, place in PLACES.items():
            if source.endswith(".md"):
                text = (ROOT / source).read_text(encoding="utf-8")
                (stage / place).write_text(moved(text, source), encoding="utf-8")
            elif source.endswith((".png", ".jpeg")):
                (stage / place).parent.mkdir(exist_ok=True)
                (stage / place).write_bytes((ROOT / source).read_bytes())
        for path in NOTEBOOKS:
            write_notebook(path, stage / "notebooks", read(path))
        reference.write(stage / "reference")
        (stage / "style.css").write_text(STYLE, encoding="utf-8")
        settings = Path(name) / "mkdocs.yml"
        settings.write_text(yaml.safe_dump(configuration(output)), encoding="utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
        subprocess.run(
            [*command, "--config-file", settings],
            check=True,
            env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        )
    if dead := dead_links(output):
        raise ValueError("These links lead nowhere:\n" + "\n".join(dead))


def configuration(output: Path) -> dict[str, object]:
    """What MkDocs is told."""
    return {
        "site_name": "tfcam",
        "site_url": PROJECT["urls"]["Documentation"],
        "site_description": PROJECT["description"],
        "docs_dir": "pages",
        "site_dir": str(output.resolve()),
        # No font of another server; directories stay files, so that it opens from a folder.
        "theme": {"name": "material", "font": False, "features": ["navigation.indexes"]},
        "extra_css": ["style.css"],
        "use_directory_urls": False,
        "plugins": ["search"],
        "markdown_extensions": [
            "tables",
            "pymdownx.superfences",
            {"pymdownx.highlight": {"use_pygments": True}},
        ],
        "nav": [
            {"Home": "index.md"},
            {"Guides": [f"{name}.md" for name in GUIDE_ORDER]},
            {"Notebooks": [PLACES[f"notebooks/{path.name}"] for path in NOTEBOOKS]},
            {"Reference": "reference/tfcam.html"},
            {"Project": ["contributing.md", "changelog.md"]},
        ],
    }


class _Page(HTMLParser):
    """What a page links to, and what of it can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if value and (key == "id" or (tag == "a" and key == "name")):
                self.names.add(value)
            elif value and key in ("href", "src"):
                self.links.append(value)


def dead_links(folder: Path) -> list[str]:
    """Links from a page of the folder to what is not in it, or to no part of the page.

    Within a page of the reference tests/test_reference.py looks, which knows what is Keras's own.
    """
    root = folder.resolve()
    pages = {}
    for path in root.rglob("*.html"):
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    dead = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are from the root of a server
            continue
        for link in page.links:
            parts = urlsplit(link)
            inherited = path.parts[len(root.parts)] == "reference" and link.startswith("#")
            if parts.scheme or parts.netloc or inherited:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            named = target not in pages or unquote(parts.fragment) in pages[target].names | {""}
            if not target.is_file() or not named:
                dead.append(f"{path.relative_to(root)}: {link}")
    return dead


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    write(parser.parse_args().output)
