"""Names of others in every figure: nothing in them is obeyed, fails or warns."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

import tfcam
from tfcam.figures.charts import Line, Means, draw_curves, draw_means
from tfcam.figures.letters import drawable, families, write_names, write_plainly

ODD = ["$\\frac{", "a\udcffb", "猫と犬", "x_{1}$ y$", "<b>&", "café\n\x1b[31m", "السلام", " "]
PICTURE = tfcam.scenes.draw_scene(3, shapes=2).image


def printed(figure):
    """The texts of a figure that draws without a warning, which are errors here."""
    figure.savefig(io.BytesIO())
    return [text.get_text() for axes in figure.axes for text in (axes.title, *axes.texts)]


@pytest.mark.parametrize("target", range(len(ODD)), ids=map(ascii, ODD))
@pytest.mark.thinned(1)
def test_a_label_is_drawn_as_it_is(target, tmp_path):
    found = tfcam.explain(tfcam.demo_model(), PICTURE, target=target, labels=ODD)
    wanted = drawable(ODD[target]).strip()
    assert any(wanted.split("\n")[0] in text for text in printed(found.plot().figure))
    found.save(tmp_path / "found.png")
    found.save(tmp_path / "found.npz")
    assert tfcam.Explanation.load(tmp_path / "found.npz").label == ODD[target]
    own = Figure()
    axes = own.subplots()
    axes.set_xlabel("of the user: $x^2$")
    found.plot(ax=axes)
    printed(own)
    assert axes.xaxis.label.get_parse_math()  # what is not ours stays as it is


@pytest.mark.slow
def test_sheets_of_many_are_drawn(tmp_path):
    model = tfcam.demo_model()
    several = tfcam.explain(model, [PICTURE] * len(ODD), target=list(range(len(ODD))), labels=ODD)
    several.save(tmp_path / "several.pdf")
    compared = tfcam.compare(
        model, PICTURE, targets=list(range(len(ODD))), methods=["cam", "saliency"], labels=ODD
    )
    compared.save(tmp_path / "compared.svg")
    for number in range(3):
        tfcam.dream(model, number, labels=ODD, steps=1).save(tmp_path / f"{number}.png")


def test_classes_of_an_embedding_are_drawn(tmp_path):
    pictures = [tfcam.scenes.draw_scene(seed).image for seed in range(len(ODD))]
    embedding = tfcam.embed(tfcam.demo_model(), pictures, classes=ODD)
    figure = embedding.plot()
    figure.savefig(io.BytesIO())
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {
        drawable(name).strip() for name in ODD
    }


def test_names_in_charts_are_drawn():
    numbers = np.tile([0.5, 0.4, 0.6], (len(ODD), 1))
    means = draw_means([Means("$\\frac{", ODD, numbers, [False] * len(ODD))])
    printed(means)
    (axes,) = means.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(map(drawable, ODD))
    lines = [Line(name, np.array([0.0, 1.0]), numbers[:2], False) for name in ODD]
    printed(draw_curves({"猫 $": lines}))


def test_numbers_along_axes_stay_formulas():
    figure = Figure()
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.set_ylim(1e-3, 1e3)
    write_plainly(figure)
    figure.canvas.draw()
    assert all(label.get_parse_math() for label in axes.get_yticklabels())
    axes.set_xticks([0, 1], ["$a", "b$"])
    write_names(axes.xaxis)
    figure.canvas.draw()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["$a", "b$"]


def test_letters_that_a_font_has_are_kept():
    assert drawable("Äpfel, naïve, Ωμέγα, привет → 3 °C") == "Äpfel, naïve, Ωμέγα, привет → 3 °C"
    assert drawable("\ud83d\udcff") == "??"
    assert families()[0] == "DejaVu Sans"
