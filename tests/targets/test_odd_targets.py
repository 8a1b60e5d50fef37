"""Targets whose own code raises what it likes, or answers whatever it is asked."""

import numpy as np
import pytest

import tfcam
from tests import networks

PICTURES = networks.pictures(3)
LABELS = ["a\ud800b", "café", "c"]


def fails(*_):
    raise RuntimeError("of the user's")


class FirstClass:
    def __call__(self, outputs):
        return outputs[:, 0]


class Slots:
    __slots__ = ("unset",)

    def __getattr__(self, name):
        raise KeyError(name)

    def __call__(self, outputs):
        return outputs[:, 0]


class AnyAttribute(Slots):
    """Answers to every name, as a proxy or a mock does."""

    __slots__ = ()

    def __getattr__(self, name):
        return lambda *_: 5


def odd(**members):
    return type("Odd", (FirstClass,), members)()


ODD = {
    "attributes that raise": odd(__getattr__=fails),
    "no attributes": Slots(),
    "all attributes": AnyAttribute(),
    "an array of equals": odd(__eq__=lambda *_: np.array([True, False]), __hash__=lambda _: 3),
    "equal to anything": odd(__eq__=lambda *_: True, __hash__=lambda _: 3),
    "comparison that raises": odd(__eq__=fails, __hash__=fails),
    "no truth": odd(__bool__=fails, __len__=fails),
    "empty": odd(__len__=lambda _: 0),
    "a name that raises": odd(name=property(fails)),
    "half a letter": odd(name="a\ud800b"),
    "no words": odd(__repr__=fails, __str__=fails),
    "no state": odd(__dict__=property(fails), __getstate__=fails),
}


@pytest.fixture(scope="module")
def model():
    return networks.flat()


@pytest.mark.parametrize("target", ODD.values(), ids=ODD.keys())
def test_odd_targets_are_explained_as_plain_ones(target, model):
    explainer, plain = tfcam.Explainer(model), tfcam.explain(model, PICTURES[0], target=0)
    maps = [explainer(PICTURES[0], target).raw for _ in range(2)]
    maps.append(explainer(PICTURES, [1, target, 0])[1].raw)
    for raw, picture in zip(maps, [0, 0, 1], strict=True):
        own = plain if picture == 0 else tfcam.explain(model, PICTURES[picture], target=0)
        np.testing.assert_allclose(raw, own.raw, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", ["equal to anything", "an array of equals", "half a letter"])
def test_odd_targets_of_data_sets(kind, model, tmp_path):
    store = tfcam.stream(
        model, PICTURES, to=tmp_path / "store", target=ODD[kind], key="odd", progress=False
    )
    plain = tfcam.explain(model, PICTURES[1], target=0).heatmap
    np.testing.assert_allclose(store[1].heatmap, plain, atol=0.01)
    result = tfcam.evaluate(
        model,
        PICTURES,
        target=ODD[kind],
        methods=["grad_cam"],
        metrics=["deletion"],
        progress=False,
    )
    assert result.pictures == 3


def test_two_targets_that_are_equal_to_anything_are_two(model):
    class Other(type(ODD["equal to anything"])):
        def __call__(self, outputs):
            return outputs[:, 1]

    explainer = tfcam.Explainer(model)
    for _ in range(2):
        first, second = (
            explainer(PICTURES[0], ODD["equal to anything"]),
            explainer(PICTURES[0], Other()),
        )
        assert first.score != second.score


def test_labels_with_half_a_letter_are_stored_and_written(model, tmp_path):
    """A lone surrogate is no letter that a file can hold."""
    asked = {"target": "a\ud800b", "labels": LABELS}
    store = tfcam.stream(model, PICTURES, to=tmp_path / "store", **asked, progress=False)
    assert set(store.table["label"]) == {"a?b"}
    result = tfcam.evaluate(
        *(model, PICTURES),
        **asked,
        methods=["grad_cam"],
        metrics=["deletion"],
        to=tmp_path / "run",
        progress=False,
    )
    assert "a?b" in result.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    page = tfcam.report(model, PICTURES[0], **asked).save(tmp_path / "report.html")
    assert "café" in page.read_text(encoding="utf-8")
