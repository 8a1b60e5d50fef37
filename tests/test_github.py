"""What stands in .github agrees with pyproject.toml."""

import re

import pytest
import yaml

from tests.project import PROJECT, ROOT
from tests.rooms import FLOORS
from tests.test_notebooks import REPOSITORY

GITHUB = ROOT / ".github"
WORKFLOWS = {path.stem: path for path in (GITHUB / "workflows").glob("*.yml")}


def jobs(name):
    return yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))["jobs"]


def lowest(package):
    return next(
        re.findall(r">=(.+)", each)[0]
        for each in PROJECT["dependencies"]
        if re.match(rf"{package}>", each)
    )


@pytest.mark.parametrize("name", WORKFLOWS)
def test_each_job_of_a_workflow_has_steps_a_machine_and_an_end(name):
    for job in jobs(name).values():
        assert job["runs-on"]
        assert job["timeout-minutes"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
        assert set([job["needs"]] if "needs" in job else []) <= set(jobs(name))


def test_the_versions_tested_are_those_promised():
    pythons = jobs("tests")["newest"]["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert pythons == ["3.10", "3.11", "3.12", "3.13"]
    oldest = jobs("tests")["oldest"]["env"]["OLDEST"].split()
    assert oldest == [f"{name}=={lowest(name)}.*" for name in ("tensorflow", "keras")]


def test_the_tests_of_the_oldest_versions_exist():
    command = jobs("tests")["oldest"]["steps"][-1]["run"]
    assert all((ROOT / path).exists() for path in re.findall(r"tests/\S+", command))


def test_only_what_publishes_may_write():
    for name in WORKFLOWS:
        assert yaml.safe_load(WORKFLOWS[name].read_text())["permissions"] == {"contents": "read"}
        for job, what in jobs(name).items():
            assert ("permissions" in what) == (job == "publish")


def test_the_repository_is_the_same_everywhere():
    address = PROJECT["urls"]["Repository"]
    assert address == f"https://github.com/{REPOSITORY}"
    assert all(PROJECT["urls"][name].startswith(address) for name in ("Changelog", "Issues"))
    cited = yaml.safe_load((GITHUB / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["repository-code"] == address
    assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])


def test_the_contributors_page_names_every_room_and_files_that_exist():
    text = (GITHUB / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = {room for floor in FLOORS for room in floor if not room.startswith("__")}
    assert rooms <= set(re.findall(r"`(\w+)`", text))
    for path in re.findall(r"`((?:tfcam|tests)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
