"""Every option of a door has its flag, with the same words and default; --help is quick."""

import json
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import tfcam
from tests.cli.test_commands import run
from tests.doors import PUBLIC, signatures
from tfcam.cli.commands import app
from tfcam.cli.flags import method_options, sides, spelled, words
from tfcam.engine.doors import DOORS

COMMANDS = typer.main.get_command(app).commands
# The doors behind each command.
BEHIND = {
    "layers": ["layers"],
    "explain": ["explain", "Explainer"],
    "compare": ["compare"],
    "diagnose": ["diagnose"],
    "evaluate": ["evaluate"],
    "recommend": ["recommend"],
    "dream": ["dream"],
    "explain-dataset": ["stream"],
}
# What a command takes in another way, or a command line can't say.
OTHERWISE = {
    "explain": {"image", "words"},  # it reads pictures, which have no words
    "evaluate": {"explainers"},  # functions
    "recommend": {"images"},
    "dream": {"objective"},  # --target, --layer and --channel
}


def flags_of(command):
    return {each.name: each for each in COMMANDS[command].params}


@pytest.mark.parametrize("command", BEHIND)
def test_every_option_of_a_door_has_its_flag(command):
    flags = flags_of(command)
    for door in BEHIND[command]:
        options = {option.name: option for option in DOORS[door]}
        (signature,) = {each.name: each for each in signatures(PUBLIC[door]) if each.name == door}.values()
        assert set(signature.types) - set(flags) <= OTHERWISE.get(command, set())
        for name in set(signature.types) & set(flags):
            told = " ".join(signature.entries[name].replace("``", "").split())
            if option := options.get(name):
                assert flags[name].opts == [spelled(option)]
                assert flags[name].help == words(option)
                assert flags[name].default == (None if option.default is ... else option.default)
                assert flags[name].required == (option.default is ...)
            elif isinstance(flags[name], typer.core.TyperOption) and name not in ("model", "preset"):
                first = flags[name].help.split(",")[0].split(":")[0].split(";")[0]
                assert told.startswith(first)


def test_every_command_of_a_door_is_checked():
    assert set(COMMANDS) - set(BEHIND) == {"demo", "methods", "metrics"}


def test_help_is_narrow_and_loads_no_tensorflow():
    code = """
import sys
from typer.testing import CliRunner
from tfcam.cli.commands import app
for name in sys.argv[1:]:
    print(CliRunner().invoke(app, [name, "--help"]).output)
sys.exit(bool({"tensorflow", "keras", "pandas", "matplotlib"} & set(sys.modules)))
"""
    program = [sys.executable, "-c", code, *COMMANDS]
    wide = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}
    done = subprocess.run(program, capture_output=True, text=True, check=False, env={**wide})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == len(COMMANDS)
    assert max(map(len, done.stdout.splitlines())) <= 80
