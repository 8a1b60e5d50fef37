"""The README's code runs, and its tables of methods and findings are those of the library."""

import json
import re
from pathlib import Path

import keras
import pytest

import tfcam
from tests import kinds, laws, metric_table, troubleshooting
from tests.benchmarks import readme

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_python_block_runs(data, tmp_path, monkeypatch):
    picture = data / "images/classic/dog_and_cat.png"
    (tmp_path / picture.name).write_bytes(picture.read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
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


@pytest.mark.skipif(not readme.KEPT.exists(), reason="nothing has been measured yet")
def test_the_section_on_speed_is_made_from_what_was_measured():
    (written,) = readme.SECTION.findall(README)
    wanted = readme.section(json.loads(readme.KEPT.read_text()))
    assert written == wanted, "python -m tests.benchmarks.readme writes it"


def test_the_commands_are_those_that_exist():
    import typer.main

    from tfcam.cli import app

    commands = typer.main.get_command(app).commands
    for line in re.findall(r"^tfcam ([\w-]+)(.*)$", README, re.MULTILINE):
        command, rest = line
        options = {o for p in commands[command].params for o in [*p.opts, *p.secondary_opts]}
        assert set(re.findall(r"--[\w-]+", rest)) <= options
