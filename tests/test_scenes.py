"""Scenes tell the truth about what is drawn in them."""

from dataclasses import FrozenInstanceError

import cv2
import numpy as np
import pytest

from tfcam.scenes import KINDS, Scene, draw_scene


def parts(mask: np.ndarray) -> int:
    """The number of connected pieces of a mask."""
    return cv2.connectedComponents(mask.astype(np.uint8))[0] - 1


def hull_share(mask: np.ndarray) -> float:
    """The share of its convex hull that a mask fills, 1 for a convex shape."""
    points = np.argwhere(mask)[:, ::-1].astype(np.int32)
    hull = cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), cv2.convexHull(points), 1)
    return float(mask.sum() / hull.sum())


def circle_share(mask: np.ndarray) -> float:
    """The share of its smallest enclosing circle that a mask fills; half a pixel for the rim."""
    _, radius = cv2.minEnclosingCircle(np.argwhere(mask).astype(np.float32))
    return float(mask.sum() / (np.pi * (radius + 0.5) ** 2))


def one(kind: str, seed: int, size: int = 128) -> Scene:
    return draw_scene(seed, size=size, kinds=[kind])


@pytest.fixture(scope="module")
def crowded() -> list[Scene]:
    return [draw_scene(seed, shapes) for shapes in (1, 2, 3, 8) for seed in range(10)]


def test_the_same_seed_draws_the_same_scene() -> None:
    first, again, other = draw_scene(3, 2), draw_scene(3, 2), draw_scene(4, 2)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.masks, again.masks)
    assert first.labels == again.labels
    assert (first.image != other.image).any()


def test_a_generator_is_drawn_from_and_a_fresh_one_equals_its_seed() -> None:
    rng = np.random.default_rng(3)
    first, second = draw_scene(rng), draw_scene(rng)
    np.testing.assert_array_equal(first.image, draw_scene(3).image)
    assert (first.image != second.image).any()


def test_drawing_leaves_numpys_global_seed_alone() -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    draw_scene(0, 3)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[index]


@pytest.mark.parametrize("size", [32, 97, 128])
def test_records_have_the_promised_shapes_and_types(size: int) -> None:
    scene = draw_scene(0, 3, size)
    assert (scene.image.shape, scene.image.dtype) == ((size, size, 3), np.uint8)
    assert (scene.boxes.shape, scene.boxes.dtype) == ((3, 4), np.float32)
    assert (scene.masks.shape, scene.masks.dtype) == ((3, size, size), np.bool_)
    assert len(scene.labels) == 3
    assert all(type(label) is int for label in scene.labels)


def test_a_scene_cannot_be_reassigned() -> None:
    with pytest.raises(FrozenInstanceError):
        draw_scene(0).labels = (1,)  # type: ignore[misc]


def test_boxes_are_half_open_and_tight_around_the_masks(crowded: list[Scene]) -> None:
    for scene in crowded:
        for (x0, y0, x1, y1), mask in zip(scene.boxes.astype(int), scene.masks, strict=True):
            inside = mask[y0:y1, x0:x1]
            assert inside.sum() == mask.sum() > 0  # nothing outside
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()  # nothing to spare


def test_no_pixel_belongs_to_two_shapes(crowded: list[Scene]) -> None:
    for scene in crowded:
        assert scene.masks.sum(axis=0).max() == 1


def test_shapes_hide_little_of_each_other(crowded: list[Scene]) -> None:
    for scene in crowded:
        for i, (label, mask) in enumerate(zip(scene.labels, scene.masks, strict=True)):
            # Against a shape of that kind drawn alone, as a share of its enclosing circle.
            whole = circle_share(one(KINDS[label], seed=0).masks[0])
            assert circle_share(mask) > 0.8 * whole, (scene.labels, i)


def test_kinds_in_a_scene_are_distinct(crowded: list[Scene]) -> None:
    for scene in crowded:
        assert len(set(scene.labels)) == len(scene.labels)


def test_every_kind_turns_up() -> None:
    drawn = {draw_scene(seed, size=32).labels[0] for seed in range(100)}
    assert drawn == set(range(len(KINDS)))


def test_kinds_are_honoured_in_their_order() -> None:
    kinds = ["heart", "circle", "cross"]
    assert [KINDS[label] for label in draw_scene(0, kinds=kinds).labels] == kinds


def test_the_image_differs_from_the_background_in_the_mask() -> None:
    for seed in range(20):
        scene = draw_scene(seed)
        image, mask = scene.image.astype(float), scene.masks[0]
        inside, outside = image[mask].mean(axis=0), np.median(image[~mask], axis=0)
        assert np.abs(inside - outside).max() > 30, seed


# The share of the enclosing circle that each outline fills, from geometry.
@pytest.mark.parametrize(
    ("kind", "share"),
    [
        ("circle", 1.0),
        ("square", 2 / np.pi),
        ("triangle", 3 * np.sqrt(3) / 4 / np.pi),
        ("star", 10 / 2 * 0.5 * np.sin(np.pi / 5) / np.pi),
        ("cross", (4 * np.sqrt(1 - 0.35**2) * 2 * 0.35 - (2 * 0.35) ** 2) / np.pi),
        ("semicircle", 1 / 2),
    ],
)
def test_a_kind_fills_the_share_of_its_circle_that_geometry_says(kind: str, share: float) -> None:
    for seed in range(5):
        mask = one(kind, seed, size=512).masks[0]  # large, so that pixels blunt no tips
        assert circle_share(mask) == pytest.approx(share, rel=0.03), seed


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_one_solid_piece(kind: str) -> None:
    for seed in range(5):
        mask = one(kind, seed).masks[0]
        assert (parts(mask), parts(~mask)) == (1, 1)


@pytest.mark.slow
def test_convex_kinds_fill_their_hull_and_the_others_do_not() -> None:
    for seed in range(5):
        share = {kind: hull_share(one(kind, seed, size=512).masks[0]) for kind in KINDS}
        convex = ("circle", "semicircle", "square", "triangle")
        assert min(share[kind] for kind in convex) > 0.97
        assert 0.9 < share["heart"] < 0.98
        assert max(share[kind] for kind in ("star", "cross", "arrow")) < 0.85


def test_the_middle_of_every_shape_is_on_the_shape() -> None:
    for seed in range(40):
        mask = draw_scene(seed).masks[0]
        row, column = np.rint(np.argwhere(mask).mean(axis=0)).astype(int)
        assert mask[row - 2 : row + 3, column - 2 : column + 3].all()


def test_kind_and_colour_are_independent() -> None:
    means = {
        kind: np.mean([s.image[s.masks[0]].mean(axis=0) for s in (one(kind, i) for i in range(60))])
        for kind in ("circle", "star")
    }
    assert means["circle"] == pytest.approx(means["star"], abs=25)


@pytest.mark.parametrize("shapes", [0, 9, -1])
def test_too_many_or_few_shapes_are_an_error(shapes: int) -> None:
    with pytest.raises(ValueError, match=f"shapes must be 1 to 8.*got {shapes}.*several scenes"):
        draw_scene(0, shapes)


@pytest.mark.parametrize("kinds", [[], ["egg"], ["star", "star"], ["star", "egg"]])
def test_unknown_repeated_or_no_kinds_are_an_error(kinds: list[str]) -> None:
    with pytest.raises(ValueError, match=r"kinds must be distinct names.*Choose from circle, "):
        draw_scene(0, kinds=kinds)


def test_a_number_that_contradicts_the_kinds_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"got shapes=3 and 2 kinds.*Leave shapes out"):
        draw_scene(0, 3, kinds=["star", "arrow"])


def test_a_tiny_scene_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"at least 32 pixels; got 16.*resize"):
        draw_scene(0, size=16)


@pytest.mark.parametrize("seed", [None, 0.5, "0"])
def test_a_seed_that_cannot_be_repeated_is_an_error(seed: object) -> None:
    with pytest.raises(TypeError, match=r"rng_or_seed must be an integer.*Pass a seed such as 0"):
        draw_scene(seed)  # type: ignore[arg-type]
