"""Every shared option is the same at every door: its type, its default, its words."""

import inspect
import pydoc

import pytest

import tfcam
from tests.doors import PUBLIC, signatures
from tfcam.engine.doors import DOORS

SIGNATURES = [each for door in PUBLIC.values() for each in signatures(door)]
DOCUMENTED = [each for each in SIGNATURES if each.name in DOORS and not each.overload]
SHARED = {option.name for options in DOORS.values() for option in options}


def test_every_door_is_there():
    assert set(DOORS) == {each.name for each in DOCUMENTED}


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda each: each.name)
def test_an_option_has_the_type_and_the_default_of_its_declaration(signature):
    options = signature.declared
    assert signature.keywords & SHARED <= set(options)
    assert set(options) <= set(signature.types)
    for name, option in options.items():
        if signature.overload and name == "target":  # which tells the overloads apart
            continue
        assert signature.types[name] == option.type, name
        default = None if option.default is ... else repr(option.default).replace('"', "'")
        assert signature.defaults.get(name) == default, name


@pytest.mark.parametrize("signature", DOCUMENTED, ids=lambda each: each.name)
def test_a_docstring_says_the_words_of_the_declaration(signature):
    for name, option in signature.declared.items():
        assert signature.entries[name] == option.text, "python -m tests.doors writes it"


@pytest.mark.parametrize("signature", DOCUMENTED, ids=lambda each: each.name)
def test_every_argument_says_what_it_is(signature):
    for name in signature.types:
        words = signature.entries[name]
        assert len(words) > 15, (name, words)
        assert not words.startswith(("How many", "See ", "As in ", "Which layer")), (name, words)


def test_help_shows_names_types_defaults_and_words():
    text = " ".join(pydoc.render_doc(tfcam.explain, renderer=pydoc.plaintext).split())
    for option in DOORS["explain"]:
        assert option.text in text
    parameters = inspect.signature(tfcam.explain, eval_str=True).parameters
    assert parameters["score"].default == "logit"
    assert parameters["eigen"].annotation is bool
