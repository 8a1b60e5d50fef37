"""The fill from neighbours is the solution of its linear system, whatever the hole."""

import numpy as np
import pytest
from scipy import ndimage, sparse
from scipy.sparse import linalg

from tfcam.metrics import neighbour_fill
from tfcam.metrics.neighbour_fill import fill_from_neighbours

SIDES = (61, 83)


def by_elimination(image, removed):
    """The system written down entry by entry and solved exactly."""
    height, width = removed.shape
    number = np.full((height + 2, width + 2), -1)
    number[1:-1, 1:-1] = np.arange(height * width).reshape(height, width)
    centre = number[1:-1, 1:-1].ravel()
    rows, columns, weights = [], [], []
    for v in (-1, 0, 1):
        for u in (-1, 0, 1):
            near = number[1 + v : 1 + v + height, 1 + u : 1 + u + width].ravel()
            inside = (near >= 0) & ((v, u) != (0, 0))
            rows.append(centre[inside])
            columns.append(near[inside])
            weights.append(np.full(inside.sum(), 1 / 6 if 0 in (v, u) else 1 / 12))
    entries = np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))
    near = sparse.csr_matrix(entries, shape=(height * width,) * 2)
    near = sparse.diags(1 / np.asarray(near.sum(1)).ravel()) @ near
    hole, values = removed.ravel(), image.reshape(height * width, -1).astype(np.float64)
    system = sparse.eye(hole.sum()) - near[hole][:, hole]
    known = near[hole][:, ~hole] @ values[~hole]
    values[hole] = linalg.spsolve(system.tocsc(), known).reshape(known.shape)
    return values.reshape(image.shape)


def holes():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[: SIDES[0], : SIDES[1]]
    smooth = ndimage.gaussian_filter(rng.normal(size=SIDES), 8)
    yield "one half", x < 41
    yield "a large hill", np.hypot(y - 30, x - 40) < 29
    yield "all but a corner", y + x > 3
    yield "all but a pixel", y * SIDES[1] + x != 2000
    yield "all but a line", x != 82
    yield "a frame", (np.minimum(y, 60 - y) < 9) | (np.minimum(x, 82 - x) < 9)
    yield "every other row", y % 2 == 0
    for share in (0.1, 0.5, 0.9, 0.99):
        yield f"smooth, {share}", smooth > np.quantile(smooth, 1 - share)
        yield f"scattered, {share}", rng.random(SIDES) < share


@pytest.mark.parametrize("removed", [pytest.param(hole, id=name) for name, hole in holes()])
def test_it_is_the_solution(removed):
    rng = np.random.default_rng(1)
    image = ndimage.gaussian_filter(rng.normal(size=(*SIDES, 3)), (2, 2, 0)) * 900 + 100
    found, wanted = fill_from_neighbours(image, removed), by_elimination(image, removed)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.ptp(image[~removed]) + 1e-7 * 100)
    np.testing.assert_array_equal(found[~removed], image[~removed])


@pytest.mark.parametrize("channels", [1, 4, 5, 13])
def test_each_channel_is_filled_by_itself(channels):
    rng = np.random.default_rng(2)
    image, removed = rng.normal(size=(20, 24, channels)), rng.random((20, 24)) < 0.7
    alone = [fill_from_neighbours(image[..., [n]], removed) for n in range(channels)]
    np.testing.assert_allclose(
        fill_from_neighbours(image, removed), np.concatenate(alone, axis=-1), atol=1e-5
    )


@pytest.mark.parametrize("sides", [(1, 9), (9, 1), (2, 2), (3, 5), (4, 4), (5, 300)])
def test_any_sides(sides):
    rng = np.random.default_rng(4)
    image, removed = rng.normal(size=(*sides, 2)), rng.random(sides) < 0.6
    removed[0, 0] = False
    wanted = by_elimination(image, removed)
    np.testing.assert_allclose(fill_from_neighbours(image, removed), wanted, atol=1e-5)


@pytest.mark.parametrize("sides", [(1, 200), (200, 1), (1, 2), (1, 1)])
def test_a_row_is_filled_with_straight_lines(sides):
    """Coarser grids are hardly of help there: it came no nearer than 5e-5 of the range."""
    rng = np.random.default_rng(4)
    image, removed = rng.normal(size=(*sides, 4)) + 100, rng.random(sides) < 0.97
    removed.flat[len(removed.ravel()) // 2] = False
    found = fill_from_neighbours(image, removed)
    wanted = by_elimination(image, removed) if removed.any() else image
    np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("side", [56, 61, 112, 224, 233, 448])
def test_the_steps_do_not_grow_with_the_hole(side, monkeypatch):
    """Without coarser grids they would be as many as the hole is wide.

    Of odd sides they are as few: what is added to coarser grids is not held at 0.
    """
    cycle, seen = neighbour_fill._Grid.cycle, []
    monkeypatch.setattr(
        neighbour_fill._Grid,
        "cycle",
        lambda grid, residual: seen.append(residual.shape) or cycle(grid, residual),
    )
    image = np.random.default_rng(5).normal(size=(side, side, 1))
    y, x = np.mgrid[:side, :side] / side
    for removed in (np.hypot(y - 0.5, x - 0.5) < 0.48, y + x > 0.05):
        seen.clear()
        fill_from_neighbours(image, removed)
        assert sum(shape[0] == side for shape in seen) <= 17


@pytest.mark.parametrize("width", [9, 17, 33, 49, 65, 81, 97])
def test_strips_along_the_edges_need_no_more_steps(width, monkeypatch):
    """Coarser grids hold what lies along an edge too loosely: corrected twice there, it grew."""
    monkeypatch.setattr(neighbour_fill, "_MOST", 33)
    image = ndimage.gaussian_filter(np.random.default_rng(6).normal(size=(224, 224, 3)), (3, 3, 0))
    y, x = np.mgrid[:224, :224]
    inner = np.minimum(np.minimum(y, 223 - y), np.minimum(x, 223 - x))
    crossed = np.minimum(np.abs(x - 112), np.abs(y - 112)) < width
    for removed in (inner < width, x < width, crossed):
        filled = fill_from_neighbours(image, removed)
        weights = neighbour_fill.WEIGHTS.astype(np.float64)[..., np.newaxis]
        near = ndimage.convolve(filled, weights, mode="constant")
        means = near / ndimage.convolve(np.ones_like(filled), weights, mode="constant")
        np.testing.assert_allclose(filled[removed], means[removed], atol=1e-6)
