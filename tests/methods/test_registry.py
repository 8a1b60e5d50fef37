"""What a method says of itself, and what follows from it."""

import inspect
import re

import pytest

from tfcam.methods import METHODS, Method, Need, method


def test_needs_say_what_follows():
    facts = {
        "grad_cam": (True, False, False, False, False),
        "cam": (True, False, True, False, False),
        "guided_grad_cam": (True, False, False, True, False),
        "score_cam": (True, True, False, False, True),
        "ablation_cam": (True, True, False, False, True),
        "finer_cam": (True, False, True, False, True),
        "attention_rollout": (False, False, False, False, True),
        "generic_attention": (False, False, False, False, True),
        "saliency": (False, False, False, False, False),
        "deconvnet": (False, False, False, True, False),
        "integrated_gradients": (False, True, False, False, True),
        "occlusion": (False, True, False, False, True),
    }
    for name, wanted in facts.items():
        m = METHODS[name]
        assert (m.placed, m.loops, m.needs_class, m.gates_relus, m.stands_alone) == wanted, name
    whole = {"full_grad", "occlusion", "rise", "lime", "kernel_shap"}
    whole |= {"attention_rollout", "generic_attention"}
    assert {name for name, m in METHODS.items() if not m.combines} == whole  # no channels


def test_options_and_defaults_of_words_are_those_of_pixels():
    own = [m for m in METHODS.values() if m.of_words is not None]
    assert "smooth_grad" in {m.name for m in own}
    for m in own:
        signatures = map(inspect.signature, (m.of_words, m.function))
        assert len({str(signature) for signature in signatures}) == 1, m.name


def test_a_method_that_stands_on_another_needs_what_that_needs():
    assert METHODS["finer_cam"].of({"base": "score_cam"}).needs == Need.NETWORK
    assert METHODS["finer_cam"].of({}).needs == Need.GRADIENTS


def test_a_decorated_function_is_stored_with_what_is_said_of_it():
    try:

        @method(Need.GRADIENTS | Need.GUIDED_GRADIENTS, pixels=True, of_class="no")
        def my_map(reading):
            """My map: a test's."""

        stored = METHODS["my_map"]
    finally:
        METHODS.pop("my_map", None)
    both = Need.GRADIENTS | Need.GUIDED_GRADIENTS
    assert stored == Method("my_map", my_map, both, pixels=True, of_class="no")
    assert (stored.summary, stored.layered, stored.class_specific) == (
        "My map: a test's.",
        True,
        False,
    )


@pytest.mark.parametrize("needs", ["gradients", ("gradients",), len])
def test_needs_are_flags(needs):
    with pytest.raises(TypeError, match=re.escape("needs must be of Need.GRADIENTS, Need.IMAGE_")):
        method(needs)
