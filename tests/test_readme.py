"""The README's code runs, and its tables of methods and findings are those of the library."""

import json
import re
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np
import pytest
from PIL import Image

import tfcam
from tests import kinds, laws, metric_table, picture, troubleshooting
from tests.benchmarks import readme

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
def test_every_python_block_runs(data, tmp_path, monkeypatch):
    picture = data / "images/classic/dog_and_cat.png"
    (tmp_path / picture.name).write_bytes(picture.read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with patch.dict(tfcam.METHODS):  # the README adds one
        for block in blocks("python"):
            exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "tabby.png").exists()


def test_the_printed_result_is_what_is_printed(data):
    model = keras.applications.MobileNetV2(weights="imagenet")
    picture = data / "images/classic/dog_and_cat.png"
    result = tfcam.explain(model, picture, "out_relu", target="tabby")
    (printed,) = blocks("text")
    numbers = r"\d+\.\d+"
    wanted = [float(number) for number in re.findall(numbers, printed)]
    found = [float(number) for number in re.findall(numbers, repr(result))]
    assert found == pytest.approx(wanted, rel=1e-3)
    assert re.sub(numbers, "", printed).strip() == re.sub(numbers, "", repr(result))


def test_the_table_of_methods_is_that_of_the_library_and_its_proofs():
    wanted = laws.table()
    assert wanted in README, f"python -m tests.laws writes it:\n{wanted}"
    for row in wanted.splitlines()[2:]:
        assert all(cell.strip() for cell in row.strip("|").split("|")), f"an empty cell in {row}"


def test_the_table_of_metrics_is_that_of_the_library():
    assert metric_table.table() in README, "python -m tests.metric_table writes it"


def test_the_table_of_kinds_is_what_the_tests_assert():
    wanted = kinds.table()
    assert wanted in README, f"python -m tests.kinds writes it:\n{wanted}"


def test_the_section_on_troubleshooting_is_made_from_the_findings():
    (written,) = troubleshooting.SECTION.findall(README)
    assert written == troubleshooting.section(), "python -m tests.troubleshooting writes it"


def test_the_section_on_speed_is_made_from_what_was_measured():
    (written,) = readme.SECTION.findall(README)
    wanted = readme.section(json.loads(readme.KEPT.read_text()))
    assert written == wanted, "python -m tests.benchmarks.readme writes it"


def test_the_commands_are_those_that_exist():
    import typer.main

    from tfcam.cli.commands import app

    commands = typer.main.get_command(app).commands
    for line in re.findall(r"^tfcam ([\w-]+)(.*)$", README, re.MULTILINE):
        command, rest = line
        options = {o for p in commands[command].params for o in [*p.opts, *p.secondary_opts]}
        assert set(re.findall(r"--[\w-]+", rest)) <= options


def test_every_link_leads_somewhere():
    words = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in words}
    for link in re.findall(r"\]\(#([^)]+)\)", README):
        assert link in anchors, link
    for path in re.findall(r"\]\((?!#|https?:)([^)]+)\)", README):
        assert (picture.README.parent / path).is_file(), path


def test_the_first_picture_is_small_and_what_the_library_draws_today():
    first = README.split("\n## ")[0]
    (said, path) = re.search(r"!\[(.+)\]\((.+)\)", first).groups()
    assert (picture.README.parent / path) == picture.PICTURE
    assert "star" in said
    assert "triangle" in said
    assert picture.PICTURE.stat().st_size < 150_000
    kept, made = (each.convert("RGB") for each in (Image.open(picture.PICTURE), picture.draw()))
    assert abs(kept.height - made.height) <= 3, "python -m tests.picture makes it anew"
    small = (40, 28)  # what fonts and dithering change a little is not looked at
    difference = np.asarray(kept.resize(small), float) - np.asarray(made.resize(small), float)
    assert np.abs(difference).mean() < 3, "python -m tests.picture makes it anew"
