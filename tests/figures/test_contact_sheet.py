"""Letters of known width, lines that fit, and sheets on which no text touches another."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfcam.figures.contact_sheet import CAPTION, LABEL, NOTE, Cell, ContactSheet, Font, Heading, fit
from tfcam.figures.palette import Palette

LONG = [
    "my_model/backbone/efficientnetv2b0/block6h_project_conv",
    "resnet50/conv5_block3_out",
    "German shepherd, German shepherd dog, German police dog, alsatian",
    "cost $\\alpha of_{x} 3$",
    "onewordwithoutanyplacetobreakit" * 3,
]


@pytest.mark.parametrize("dpi", [72, 100, 150])
def test_text_is_drawn_no_wider_than_was_reckoned(dpi):
    figure = Figure(dpi=dpi)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text, font in itertools.product([*LONG, "grad_cam"], [LABEL, CAPTION, NOTE, Font(20)]):
        drawn = figure.text(0, 0, text, size=font.size, weight=font.weight, parse_math=False)
        width = drawn.get_window_extent(renderer).width / dpi
        assert 0.87 * font.width(text) <= width <= font.width(text)


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        ("grad_cam", 3, "grad_cam"),
        ("", 3, ""),
        ("resnet50/conv5_block3_out", 3, "resnet50/\nconv5_block3_out"),
        ("resnet50/conv5_block3_out", 1, "…conv5_block3_out"),
        ("my_large_model/resnet50/conv5_block3_out", 2, "…resnet50/\nconv5_block3_out"),
        ("a_fine_tuned_copy_of_mobilenet", 3, "a_fine_tuned_\ncopy_of_mobilenet"),
        ("German police dog", 3, "German police dog"),
        ("German shepherd dog", 3, "German\nshepherd dog"),
        ("German police dog, alsatian", 1, "German police dog…"),
        ("German police dog, alsatian, and so on", 2, "German police dog,\nalsatian, and so on"),
        ("German police dog, alsatian, and so on", 1, "German police dog…"),
    ],
)
def test_lines_by_hand(text, lines, expected):
    assert fit(text, 1.25, CAPTION, lines) == expected


@pytest.mark.parametrize("font", [LABEL, CAPTION, NOTE])
@pytest.mark.parametrize("lines", [1, 2, 3])
@pytest.mark.parametrize("width", [0.4, 1.15, 2.5, 20.0])
@pytest.mark.parametrize("text", LONG)
def test_lines_fit_and_say_what_they_can(text, width, lines, font):
    fitted = fit(text, width, font, lines)
    broken = fitted.split("\n")
    assert len(broken) <= lines
    assert all(font.width(line) <= width for line in broken)
    letters, given = "".join(fitted.split()), "".join(text.split())
    if "…" not in letters:
        assert letters == given
    elif " " in text:
        assert given.startswith(letters.removesuffix("…"))
    else:
        assert given.endswith(letters.removeprefix("…"))


def boxes(figure):
    """The extents of all texts and pictures in pixels, by what they show."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    found = [(each.get_text(), each.get_window_extent(renderer)) for each in figure.texts]
    for number, axes in enumerate(figure.axes):
        found.append((number, axes.get_tightbbox(renderer)))
    return found


def assert_clear(figure):
    """Nothing touches anything else or leaves the figure."""
    found = boxes(figure)
    for (one, box), (other, with_) in itertools.combinations(found, 2):
        # A text's box has room for the tallest letters: these may share a pixel.
        beside = box.x1 <= with_.x0 or with_.x1 <= box.x0
        assert beside or box.y1 <= with_.y0 + 1 or with_.y1 <= box.y0 + 1, (one, other)
    width, height = figure.get_size_inches() * figure.dpi
    for name, box in found:
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, name


@pytest.mark.parametrize("shape", [(224, 224), (100, 400), (400, 100), (3, 2), (20, 1000)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 3), (2, 10)])
@pytest.mark.thinned(1)
def test_no_text_touches_another(shape, rows, columns):
    picture = np.zeros((*shape, 3), np.uint8)
    names = itertools.cycle(LONG)
    cells = [
        [Cell(picture)]
        + [Cell(picture, next(names) + "\nlogit 3", ("no_labels", next(names)))] * columns
        for _ in range(rows)
    ]
    figure = Figure()
    ContactSheet(
        cells,
        [Heading("", "the picture as given"), *(Heading(next(names)) for _ in range(columns))],
        [Heading(next(names), next(names)) for _ in range(rows)],
        ", ".join(LONG) * 3,
        [next(names), " ".join(LONG)],
        "of the largest value in its row",
        Palette("inferno"),
    ).draw(figure)
    assert_clear(figure)
    assert figure.get_figwidth() <= (9.001 if columns <= 3 else 16)
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == rows * (columns + 1)
    for axes in drawn:  # pictures are not stretched
        box = axes.get_window_extent()
        assert box.height / box.width == pytest.approx(shape[0] / shape[1])


def test_each_thing_is_where_it_belongs():
    pictures = [np.full((4, 4, 3), shade, np.uint8) for shade in range(4)]
    cells = [
        [Cell(pictures[0], "above 0"), Cell(pictures[1], "above 1", ("below 1", "below that"))],
        [Cell(pictures[2]), Cell(pictures[3], notes=("below 3",))],
    ]
    figure = Figure()
    ContactSheet(
        cells,
        [Heading("left"), Heading("right", "and more")],
        [Heading("first", "row"), Heading("second")],
        "all of it",
        ["at the foot"],
        "of something",
        Palette("gray"),
    ).draw(figure)
    assert_clear(figure)
    found = dict(boxes(figure))
    assert [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes[:4]] == [0, 1, 2, 3]
    centre = {name: ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) for name, box in found.items()}
    order = ["all of it", "right", "and more", "above 1", 1, "below 1\nbelow that", 3, "below 3", 4]
    heights = [centre[name][1] for name in [*order, "at the foot"]]
    assert heights == sorted(heights, reverse=True)
    for column in (["left", "above 0", 0, 2], ["right", "above 1", 1, "below 3", 3]):
        assert np.ptp([centre[name][0] for name in column]) < 2
    assert centre["second"][1] == pytest.approx(centre[2][1], abs=3)
    assert found["row"].y1 < found["first"].y0
    assert max(found["first"].x1, found["second"].x1) < found[0].x0
    assert figure.axes[4].get_xlabel() == "of something"
    assert "gray" in {each.cmap.name for each in figure.axes[4].collections}


def test_without_a_bar_there_is_none():
    figure = Figure()
    cell = Cell(np.zeros((4, 4, 3), np.uint8))
    ContactSheet([[cell]], [Heading("one")], [Heading("row")], "", [], None, Palette("gray")).draw(
        figure
    )
    assert len(figure.axes) == 1
    assert [each.get_text() for each in figure.texts] == ["one", "row"]
    assert_clear(figure)
