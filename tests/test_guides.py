"""The guides' code runs, their tables are those of the library, their links lead somewhere."""

import ast
import json
import re
from unittest.mock import patch

import pytest

import tfcam
from tests import kinds, laws, metric_table, troubleshooting
from tests.benchmarks import peers_page, readme
from tests.project import GUIDES, ROOT
from tests.rooms import FLOORS, PACKAGE

PAGES = sorted(GUIDES.glob("*.md"))
# What has a test of its own: its blocks are halves of pairs.
OWN_TEST = {"from_your_script", "from_your_script_inputs"}
READERS = [ROOT / "README.md", *PAGES]

each_reader = pytest.mark.parametrize("path", READERS, ids=lambda path: path.stem)


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def anchors(path):
    """What a heading of the page is linked by."""
    words = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in words}


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [each for each in READERS if each.stem not in OWN_TEST and blocks(each, "python")],
    ids=lambda path: path.stem,
)
def test_every_python_block_runs(path, data, tmp_path, monkeypatch):
    picture = data / "images/classic/dog_and_cat.png"
    (tmp_path / picture.name).write_bytes(picture.read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with patch.dict(tfcam.METHODS):  # a guide adds one
        for block in blocks(path, "python"):
            exec(compile(block, path.name, "exec"), names)


@each_reader
def test_the_commands_are_those_that_exist(path):
    import typer.main

    from tfcam.cli.commands import app

    commands = typer.main.get_command(app).commands
    lines = "\n".join(blocks(path, "bash"))
    for command, rest in re.findall(r"^tfcam ([\w-]+)(.*)$", lines, re.MULTILINE):
        options = {o for p in commands[command].params for o in [*p.opts, *p.secondary_opts]}
        assert set(re.findall(r"--[\w-]+", rest)) <= options


@each_reader
def test_every_link_leads_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_guide_is_short_and_the_readme_leads_to_it(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert len(text.splitlines()) < 250 or path.stem in OWN_TEST
    assert f"(.docs/{path.name})" in READERS[0].read_text(encoding="utf-8")


def test_the_table_of_methods_is_that_of_the_library_and_its_proofs():
    wanted = laws.table()
    assert wanted in laws.PAGE.read_text(), f"python -m tests.laws writes it:\n{wanted}"
    for row in wanted.splitlines()[2:]:
        assert all(cell.strip() for cell in row.strip("|").split("|")), f"an empty cell in {row}"


def test_the_table_of_metrics_is_that_of_the_library():
    written = metric_table.PAGE.read_text()
    assert metric_table.table() in written, "python -m tests.metric_table writes it"


def test_the_table_of_kinds_is_what_the_tests_assert():
    wanted = kinds.table()
    assert wanted in kinds.PAGE.read_text(), f"python -m tests.kinds writes it:\n{wanted}"


def test_the_guide_to_troubleshooting_is_made_from_the_findings():
    written = troubleshooting.PAGE.read_text()
    assert written == troubleshooting.page(), "python -m tests.troubleshooting writes it"


def test_the_guide_to_speed_is_made_from_what_was_measured():
    wanted = readme.page(json.loads(readme.KEPT.read_text()))
    assert readme.PAGE.read_text() == wanted, "python -m tests.benchmarks.readme writes it"


def test_the_guide_to_other_packages_is_made_from_what_was_measured():
    results = json.loads(peers_page.KEPT.read_text())
    wanted = peers_page.page(results)
    assert peers_page.PAGE.read_text() == wanted, "python -m tests.benchmarks.peers_page writes it"
    assert set(peers_page.faster(results)) <= set(peers_page.REASONS)


@pytest.mark.parametrize("room", [each for floor in FLOORS for each in floor])
def test_each_room_says_in_three_lines_what_it_is_for(room):
    face = PACKAGE / room / "__init__.py"
    if face.is_file():
        assert len(ast.get_docstring(ast.parse(face.read_text())).splitlines()) >= 3
