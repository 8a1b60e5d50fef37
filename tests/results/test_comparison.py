"""A grid of explanations: its cells, its scales by hand, and what its figure says."""

import dataclasses
import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import tfcam
from tests.figures.test_contact_sheet import assert_clear
from tests.results.test_explanation import made as explanation
from tfcam import maps
from tfcam.findings import finding
from tfcam.results.comparison import Comparison
from tfcam.results.sheets import scale_row

EMPTY, UNLABELLED = finding("no_positive_evidence", target="it"), finding("no_labels")
SIZE = (4, 6)


def made(raw=((1.0, 2.0),), size=SIZE, **changes):
    """An explanation of a picture of a size, without findings."""
    raw = np.array(raw, np.float32)
    heatmap = maps.heatmap(raw, size) if np.isfinite(raw).all() else np.zeros(size, np.float32)
    image = np.arange(np.prod(size) * 3, dtype=np.uint32).reshape(*size, 3).astype(np.uint8)
    return explanation(raw=raw, heatmap=heatmap, image=image, **{"findings": (), **changes})


def grid(rows, columns, **changes):
    """A comparison of which no two cells have the same map."""
    cells = tuple(
        tuple(made([[row + 1.0, column - 1.0]], **changes) for column in range(len(columns)))
        for row in range(len(rows))
    )
    return Comparison(tuple(rows), tuple(columns), cells)


def by_class():
    """Methods x classes, of which the second has an empty map."""
    facts = [
        {"label": "star", "probability": 0.75},
        {"label": "heart", "probability": 0.25, "findings": (EMPTY,), "raw": [[-1.0, -2.0]]},
    ]
    methods = ("grad_cam", "layer_cam")
    cells = tuple(tuple(made(method=name, **each) for each in facts) for name in methods)
    return Comparison(methods, ("star", "heart"), cells)


def texts(figure):
    return [each.get_text() for each in figure.texts]


def pictures(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def bars(figure):
    return [axes.get_xlabel() for axes in figure.axes if not axes.images]


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


# --- the grid -------------------------------------------------------------------------------


def test_a_cell_is_found_by_index_and_by_label():
    comparison = grid(["a", "b"], ["x", "y", "z"])
    assert len(comparison) == 6
    assert [each.raw.tolist() for each in comparison] == [
        [[row, column]] for row in (1, 2) for column in (-1, 0, 1)
    ]
    for row, name in enumerate(comparison.rows):
        for column, other in enumerate(comparison.columns):
            wanted = comparison.cells[row][column]
            for place in [(row, column), (name, other), (row - 2, other), (name, np.int64(column))]:
                assert comparison[place] is wanted


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        (("grad_cam", "tabi"), ValueError, "No column .* 'tabi'. Did you mean 'tabby'\\?"),
        (("layr_cam", 0), ValueError, "No row .* 'layr_cam'. Did you mean 'layer_cam'"),
        (("cam", 0), ValueError, "No row .* 'cam'. Did you mean 'grad_cam', 'layer_cam'"),
        (("zebra", 0), ValueError, "'zebra'. It has 'grad_cam', 'layer_cam', 'twice', 'twice'\\."),
        (("twice", 0), ValueError, "2 rows are labelled 'twice'; give the index"),
        ((4, 0), IndexError, "A row's index must be in 0\\.\\.3; got 4"),
        ((0, -3), IndexError, "A column's index must be in 0\\.\\.1; got -3"),
        (0, TypeError, "at \\[row, column\\], each an index or a label; got 0"),
        ((0, 1, 2), TypeError, "at \\[row, column\\], .*; got \\(0, 1, 2\\)"),
        ("grad_cam", TypeError, "at \\[row, column\\], .*; got 'grad_cam'"),
    ],
)
def test_a_place_that_is_not_there_is_told(place, error, message):
    comparison = grid(["grad_cam", "layer_cam", "twice", "twice"], ["tabby", "bull mastiff"])
    with pytest.raises(error, match=message):
        comparison[place]


@pytest.mark.parametrize(
    ("rows", "columns", "lengths", "message"),
    [
        ([], [], [], "one explanation or more, .* got 0 rows and 0 columns .* 0 rows of no"),
        (["a"], [], [0], "got 1 rows and 0 columns of labels, and 1 rows of 0"),
        (["a", "b"], ["x"], [1], "got 2 rows and 1 columns of labels, and 1 rows of 1"),
        (["a", "b"], ["x", "y"], [2, 1], "got 2 rows and 2 columns of labels, and 2 rows of 2, 1"),
        (["a"], ["x"], [2], "got 1 rows and 1 columns of labels, and 1 rows of 2"),
    ],
)
def test_a_grid_must_be_a_grid(rows, columns, lengths, message):
    cells = tuple((made(),) * length for length in lengths)
    with pytest.raises(ValueError, match=message):
        Comparison(tuple(rows), tuple(columns), cells)


def test_a_comparison_must_be_of_one_picture():
    cells = ((made(), made(size=(6, 4)), made()),)
    with pytest.raises(
        ValueError, match="of one picture; .* pictures of 6 x 4 pixels, 4 x 6 pixels"
    ):
        Comparison(("a",), ("x", "y", "z"), cells)


def test_it_is_frozen_and_equal_in_everything():
    comparison = grid(["a"], ["x"])
    assert comparison == grid(["a"], ["x"])
    assert comparison != grid(["b"], ["x"])
    assert comparison != grid(["a"], ["x"], label="other")
    with pytest.raises(dataclasses.FrozenInstanceError):
        comparison.rows = ("b",)


# --- the scale ------------------------------------------------------------------------------


def test_one_scale_of_a_row_by_hand():
    # At twice the width, [a, b] is [a, (3a + b) / 4, (a + 3b) / 4, b]: of max(a, 0), max(b, 0).
    row = [made([[-1.0, 2.0]], (1, 4)), made([[1.0, 0.5]], (1, 4)), made([[-3.0, -1.0]], (1, 4))]
    found = scale_row(row)
    expected = [[0, 0.25, 0.75, 1], [0.5, 0.4375, 0.3125, 0.25], [0, 0, 0, 0]]
    np.testing.assert_array_equal([each[0] for each in found], expected)
    assert {each.dtype for each in found} == {np.dtype(np.float32)}


def test_one_scale_of_a_row_by_loops(rng):
    row = [made(scale * rng.standard_normal((3, 2)), (9, 8)) for scale in (0.1, 1, 10)]
    found = scale_row(row)
    resized = [maps.resize(np.maximum(each.raw, 0), (9, 8)).astype(float) for each in row]
    largest = 0.0
    for values in resized:
        for value in values.flat:
            largest = max(largest, value)
    for values, heatmap in zip(resized, found, strict=True):
        for at in np.ndindex(9, 8):
            assert heatmap[at] == pytest.approx(values[at] / largest, abs=1e-6)
    assert max(each.max() for each in found) == 1


def test_a_row_of_one_map_is_its_own_heatmap():
    np.testing.assert_array_equal(scale_row([made()])[0], made().heatmap)
    assert not scale_row([made([[-1.0, 0.0]])])[0].any()


def test_maps_of_pixels_and_broken_ones_have_no_part_in_the_scale():
    pixels = made(np.full((*SIZE, 3), 100.0))
    broken = made([[np.nan, 1.0]])
    row = [made([[0.0, 1.0]]), pixels, made([[0.0, 0.25]]), broken]
    found = scale_row(row)
    assert [each.max() for each in found] == [1, 1, 0.25, 0]
    np.testing.assert_array_equal(found[1], pixels.heatmap)


# --- the figure -----------------------------------------------------------------------------


def test_plot_shows_the_picture_and_every_map():
    comparison = grid(["a", "b"], ["x", "y"])
    figure = comparison.plot(alpha=0.25, colormap="gray")
    expected = [
        picture
        for row in comparison.cells
        for picture in [row[0].image, *(each.picture(0.25, "gray") for each in row)]
    ]
    np.testing.assert_array_equal(pictures(figure), expected)
    assert bars(figure) == ["of each map's maximum"]
    assert_clear(figure)


def test_a_shared_scale_is_drawn_and_named():
    comparison = Comparison(("a",), ("x", "y"), ((made([[0, 4.0]]), made([[0, 1.0]])),))
    figure = comparison.plot(shared_scale=True)
    weak = dataclasses.replace(made(), heatmap=maps.resize(np.array([[0, 0.25]]), SIZE))
    np.testing.assert_array_equal(pictures(figure)[1], comparison["a", "x"].overlay())
    np.testing.assert_array_equal(pictures(figure)[2], weak.overlay())
    assert bars(figure) == ["of the largest value in its row"]


@pytest.mark.parametrize("options", [{}, {"shared_scale": True}, {"signed": True}])
def test_contours_are_said_in_words_without_a_bar(options):
    one = made([[0, 4.0]], parts={})
    comparison = Comparison(("a",), ("x",), ((one,),))
    figure = comparison.plot(contours=True, **options)
    assert bars(figure) == []
    whose = "the largest value in its row" if "shared_scale" in options else "each map's maximum"
    end = ": red for, blue against." if "signed" in options else "."
    said = [text.get_text().replace("\n", " ") for text in figure.texts]
    assert f"Lines are at 25%, 50%, 75% of {whose}{end}" in said


def test_maps_of_pixels_are_grey_and_the_bar_says_nothing_of_them():
    pixels = made(np.linspace(-1, 1, 72).reshape(*SIZE, 3))
    foot = "Grey maps are of pixels: mid grey is zero, each has its own range."
    for shared in (False, True):
        alone = Comparison(("saliency",), ("x",), ((pixels,),)).plot(shared)
        np.testing.assert_array_equal(pictures(alone)[1], pixels.picture())
        assert bars(alone) == []
        assert foot in texts(alone)
        beside = Comparison(("a",), ("x", "y"), ((made(), pixels),)).plot(shared)
        np.testing.assert_array_equal(pictures(beside)[2], pixels.picture())
        assert len(bars(beside)) == 1
        assert foot in texts(beside)
    assert foot not in texts(grid(["a"], ["x"]).plot())
    broken = made(np.full((*SIZE, 3), np.nan))  # drawn as an empty overlay, not grey
    figure = Comparison(("a",), ("x",), ((broken,),)).plot()
    assert bars(figure)
    assert foot not in texts(figure)


def test_what_is_explained_is_said_once_where_it_holds():
    picture = "the picture as given"
    same = grid(["grad_cam"], ["block_1", "block_2"], label="star", probability=0.5)
    assert texts(same.plot()) == [
        "star, probability 0.5",
        picture,
        "block_1",
        "block_2",
        "grad_cam",
        "Layer: block5/conv_3:1.",
    ]
    assert texts(by_class().plot()) == [
        *[picture, "star", "probability 0.75", "heart", "probability 0.25"],
        *["grad_cam", "no_positive_evidence", "layer_cam", "no_positive_evidence"],
        "Layer: block5/conv_3:1.",
    ]
    made_by = ["Method: grad_cam.", "Layer: block5/conv_3:1."]
    one, other = (made(label=label, probability=None, score=2.5) for label in ("star", "heart"))
    models = Comparison(("first", "second"), ("cam", "grad_cam"), ((one, one), (other, other)))
    assert texts(models.plot()) == [
        *[picture, "cam", "grad_cam"],
        *["first", "star\nlogit 2.5", "second", "heart\nlogit 2.5", *made_by],
    ]
    mixed = Comparison(("first", "second"), ("cam", "grad_cam"), ((one, one), (other, one)))
    stars = ["star\nlogit 2.5"] * 2
    assert texts(mixed.plot()) == [
        *["cam", "grad_cam", "first", picture, *stars],
        *["second", "heart\nlogit 2.5", stars[0], *made_by],
    ]
    single = Comparison(("grad_cam",), ("star",), ((one,),))
    assert texts(single.plot()) == [picture, "star", "logit 2.5", "grad_cam", made_by[1]]


def test_findings_stand_below_their_map_and_those_of_all_at_the_foot():
    one, other = made(findings=(UNLABELLED,)), made(findings=(UNLABELLED, EMPTY))
    figure = Comparison(("a",), ("x", "y"), ((one, other),)).plot()
    assert "Of every map: no_labels." in texts(figure)
    (note,) = (each for each in figure.texts if each.get_text() == "no_positive_evidence")
    below = figure.axes[2].get_position()
    assert below.x0 < note.get_position()[0] < below.x1
    assert note.get_position()[1] < below.y0
    alone = Comparison(("a",), ("x",), ((other,),)).plot()
    assert "no_labels\nno_positive_evidence" in texts(alone)


HARD = {
    "rows": ("efficientnetv2b0_fine_tuned_on_my_pictures", "resnet50"),
    "columns": ("my_model/backbone/block6h_project_conv", "cost $\\alpha of_{x$", "x" * 60),
}


@pytest.mark.parametrize("size", [SIZE, (100, 400), (400, 100)])
@pytest.mark.parametrize(
    ("rows", "columns"),
    [(("a",), ("x",)), (tuple(tfcam.METHODS), ("x", "y", "z")), tuple(HARD.values())],
    ids=["one", "methods", "hard"],
)
@pytest.mark.thinned(1)
def test_every_size_and_label_is_drawn_clear_of_each_other(rows, columns, size):
    cells = tuple(
        tuple(
            made(
                label=f"German shepherd $dog_{row}, alsatian",
                probability=1 / (row + column + 1.5),
                findings=(EMPTY,) * (row == column),
                size=size,
            )
            for column in range(len(columns))
        )
        for row in range(len(rows))
    )
    comparison = Comparison(rows, columns, cells)
    figure = comparison.plot(shared_scale=True)
    assert_clear(figure)
    assert figure.get_figwidth() <= 9.001
    written = "".join("".join(texts(figure)).split())
    for label in (*rows, *columns):
        assert "".join(label.split())[-20:] in written
    assert "Germanshepherd$dog_0,alsatian" in written
    assert written.count("no_positive_evidence") == min(len(rows), len(columns))


def test_a_large_photo_is_drawn_no_larger_than_a_figure_can_show():
    figure = grid(["a"], ["x"], size=(900, 1700)).plot()
    shown = pictures(figure)
    assert {each.shape for each in shown} == {(300, 567, 3)}
    image = made(size=(900, 1700)).image
    np.testing.assert_allclose(shown[0][1, 2], image[3:6, 6:9].mean(axis=(0, 1)), atol=0.51)


def test_plot_is_shown_by_pyplot_and_once_in_a_notebook():
    figure = grid(["a"], ["x"]).plot()
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == [figure.number]
    assert figure._ipython_display_() is None  # pyplot shows it at the end of the cell
    plt.close(figure)
    with pytest.raises(NotImplementedError):  # which tells IPython to show it as any figure
        figure._ipython_display_()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"alpha": 2.0}, "alpha must be in"), ({"colormap": "heat"}, "No matplotlib colormap 'heat'")],
)
def test_wrong_options_leave_no_figure_and_no_file(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        by_class().plot(**options)
    with pytest.raises(ValueError, match=message):
        by_class().save(tmp_path / "a.png", **options)
    assert plt.get_fignums() == []
    assert list(tmp_path.iterdir()) == []


# --- files ----------------------------------------------------------------------------------


def pixels(source):
    with Image.open(source) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_a_png_is_the_figure_at_150_dots(tmp_path):
    comparison = by_class()
    for name, shared in [("a.png", False), ("b.png", True)]:
        path = comparison.save(str(tmp_path / name), shared_scale=shared)
        assert path == tmp_path / name
        stream = io.BytesIO()
        comparison.plot(shared).savefig(stream, dpi=150)
        np.testing.assert_array_equal(pixels(path), pixels(stream))
    plt.close("all")
    comparison.save(tmp_path / "a.png")
    comparison._repr_png_()
    assert plt.get_fignums() == []
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_notebook_shows_a_png():
    shown = pixels(io.BytesIO(by_class()._repr_png_()))
    assert 300 < shown.shape[1] <= 900


@pytest.mark.parametrize(("name", "begin"), [("a.pdf", b"%PDF"), ("a.svg", b"<?xml")])
def test_figures_for_papers(tmp_path, name, begin):
    content = by_class().save(tmp_path / name).read_bytes()
    assert content.startswith(begin)
    if name == "a.svg":
        assert b"<!-- no_positive_evidence -->" in content


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.npz", "a.PNG", ".png"])
def test_an_ending_must_be_known_and_nothing_is_left(tmp_path, name):
    with pytest.raises(
        ValueError, match="A comparison is saved as .png, .pdf, .svg, .gif or .html; got '.*'"
    ):
        by_class().save(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="The folder of '.*a.png' does not exist; make it"):
        by_class().save(tmp_path / "no" / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_there_whole_or_as_it_was(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("the disk is full")

    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="the disk is full"):
        by_class().save(path)
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == b"before"


# --- text -----------------------------------------------------------------------------------


def test_the_table_by_hand():
    assert repr(by_class()).splitlines() == [
        "Comparison of 2 x 2 explanations, 6 x 4 pixels",
        "method     class  score         probability  layer            findings",
        "grad_cam   star   0.3333 logit  0.75         block5/conv_3:1",
        "grad_cam   heart  0.3333 logit  0.25         block5/conv_3:1  no_positive_evidence",
        "layer_cam  star   0.3333 logit  0.75         block5/conv_3:1",
        "layer_cam  heart  0.3333 logit  0.25         block5/conv_3:1  no_positive_evidence",
    ]
    models = grid(["first"], ["cam", "saliency"], label=None, probability=None, layer=None)
    assert models.table().splitlines() == [
        "row    column    class    score         layer  method",
        "first  cam       class 7  0.3333 logit  -      grad_cam",
        "first  saliency  class 7  0.3333 logit  -      grad_cam",
    ]


# --- from the library -----------------------------------------------------------------------


def test_explanations_of_the_embedded_model_side_by_side(tmp_path):
    model, kinds = tfcam.demo_model(), tfcam.scenes.KINDS
    scene = tfcam.scenes.draw_scene(5, shapes=2)
    targets = [kinds[label] for label in scene.labels]
    methods = ("grad_cam", "saliency")
    rows = [
        [
            tfcam.explain(model, scene.image, target=target, method=method, labels=kinds)
            for target in targets
        ]
        for method in methods
    ]
    comparison = Comparison(methods, tuple(targets), tuple(map(tuple, rows)))
    assert comparison["saliency", targets[1]] is rows[1][1]
    figure = comparison.plot(shared_scale=True)
    assert_clear(figure)
    first, second = rows[0]
    first_most, most = (maps.evidence(each.raw, (128, 128)).max() for each in rows[0])
    share = most / max(first_most, most)
    drawn = dataclasses.replace(second, heatmap=np.float32(share) * second.heatmap).overlay()
    np.testing.assert_allclose(pictures(figure)[2].astype(float), drawn, atol=1)
    assert first.heatmap.max() == 1
    assert comparison.save(tmp_path / "a.png").exists()
