"""The style of the public surface: documented, typed, keyword-only options."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import tfcam
from tfcam.methods.registry import METHODS

PUBLIC = {name: getattr(tfcam, name) for name in tfcam.__all__}
FUNCTIONS = {name: each for name, each in PUBLIC.items() if inspect.isroutine(each)}
CLASSES = {name: each for name, each in PUBLIC.items() if inspect.isclass(each)}
ARRAYS_AND_TARGET = {
    *("model", "image", "images", "data", "layer", "objective", "path", "explanation")
}


def test_the_surface_fits_on_a_card():
    assert len(set(tfcam.__all__)) == len(tfcam.__all__) <= 50
    assert set(tfcam.__all__) <= set(dir(tfcam))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tfcam.nothing


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_everything_public_is_documented(name):
    text = inspect.getdoc(PUBLIC[name])
    assert text
    assert text.split("\n")[0].endswith((".", ":"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_document_every_argument_and_show_an_example(name):
    function = FUNCTIONS[name]
    text = inspect.getdoc(function)
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^ +{argument}: ", text, re.MULTILINE), argument
    assert "Returns:" in text
    assert ">>>" in text


@pytest.mark.parametrize("name", FUNCTIONS)
def test_options_are_keyword_only(name):
    for argument in inspect.signature(FUNCTIONS[name]).parameters.values():
        assert argument.annotation is not inspect.Parameter.empty
        if argument.name not in ARRAYS_AND_TARGET:
            assert argument.kind in (argument.KEYWORD_ONLY, argument.VAR_KEYWORD), argument.name


def test_no_argument_is_explained_elsewhere_or_by_a_question():
    vague = re.compile(r"^ +\w+: (How many|See ``|Which (one|ones|layers?)[.,]).*", re.MULTILINE)
    for folder in ("tfcam", "training"):
        for path in (Path(__file__).parent.parent / folder).rglob("*.py"):
            assert not (found := vague.search(path.read_text())), (path, found[0])


def test_explain_and_explainer_take_the_same_options():
    explain = inspect.signature(tfcam.explain).parameters
    explainer = inspect.signature(tfcam.Explainer).parameters
    # An explainer's map is given to tfcam.verify, with the explainer.
    assert set(explain) - set(explainer) == {"image", "target", "words", "verify"}
    assert set(explainer) - set(explain) == {"freeze"}  # which pays off from the second call on
    for name in set(explainer) & set(explain):
        assert explain[name].default == explainer[name].default


@pytest.mark.parametrize("name", tfcam.METHODS)
def test_methods_say_what_they_are_and_where_they_come_from(name):
    method = METHODS[name]
    assert method.name == name == method.function.__name__
    text = inspect.getdoc(method.function)
    for part in ("Args:", "Returns:", "Source:", ">>>"):
        assert part in text, part
    assert method.summary.endswith(".")
    reading, *options = inspect.signature(method.function).parameters.values()
    assert reading.name == "reading"
    assert all(each.kind is each.KEYWORD_ONLY and f"{each.name}: " in text for each in options)
    body = inspect.getsource(method.function).split('"""')[-1].strip().splitlines()
    assert len(body) <= 8


def test_results_can_not_be_changed():
    assert tfcam.Explanation.__dataclass_params__.frozen
    assert tfcam.Reading.__dataclass_params__.frozen
    assert tfcam.Comparison.__dataclass_params__.frozen
    assert tfcam.Dream.__dataclass_params__.frozen
    for kind in (tfcam.Explanation, tfcam.Comparison, tfcam.Dream):
        for each in dataclasses.fields(kind):
            assert f"{each.name}: " in inspect.getdoc(kind)
