"""Draws scenes of simple shapes, with the true box and mask of each: for the demo, tests, metrics.

A kind is told by its form alone: colour, texture, size, place and rotation are random and
independent of it. Coordinates are pixels with x to the right and y down; pixel (i, j) covers the
half-open square [j, j + 1) x [i, i + 1).
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfcam.utils.opencv import cv2

# Outlines are drawn this many times larger and averaged down: smooth edges, and a mask that is
# right to a fraction of a pixel (cv2's own anti-aliased fill makes shapes about a pixel too wide).
_SUPERSAMPLING = 4


_SMALLEST_SIZE = 32  # below this, the smallest shapes are too few pixels to tell apart


_PLACES_TRIED = 20  # places tried for a shape before it is made smaller


def _arc(angle: float) -> np.ndarray:
    """Points (64, 2) on the unit circle from angle zero to the given one, in radians."""
    t = np.linspace(0, angle, 64)
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def _corners(*radii: float) -> np.ndarray:
    """Points at equal angles around the origin, at the given distances from it."""
    angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return np.array(radii)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _cross(half_width: float) -> np.ndarray:
    """The twelve corners of a plus sign."""
    w, arm = half_width, np.sqrt(1 - half_width**2)
    quarter = np.array([[arm, -w], [arm, w], [w, w]])
    turn = np.array([[0, 1], [-1, 0]])  # a row vector times this is turned by 90 degrees
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


def _heart() -> np.ndarray:
    """The well-known heart curve, moved and scaled into the unit circle."""
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    points = np.stack([16 * np.sin(t) ** 3, y + 1.5], axis=1)
    return points / np.linalg.norm(points, axis=1).max()


def _arrow(shaft: float, head: float) -> np.ndarray:
    """An arrow to the right, by half the widths of its shaft and head."""
    tail = -np.sqrt(1 - shaft**2)
    side = np.array([[tail, shaft], [0.05, shaft], [0.05, head]])
    return np.concatenate([side, [[1, 0]], side[::-1] * (1, -1)])


# Each kind as a closed outline that reaches the unit circle. All are solid around their middle, so
# that the peak of a good map lies on the shape and "on the shape or not" is a fair question.
_OUTLINES: dict[str, np.ndarray] = {
    "circle": _arc(2 * np.pi),
    "semicircle": _arc(np.pi),
    "square": _corners(*[1] * 4),
    "triangle": _corners(*[1] * 3),
    "star": _corners(*[1, 0.5] * 5),
    "cross": _cross(0.35),
    "heart": _heart(),
    "arrow": _arrow(0.35, 0.8),
}


KINDS: tuple[str, ...] = tuple(_OUTLINES)


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so == would fail
class Scene:
    """A drawn picture and the truth about it; row i of `boxes` and `masks` is shape i."""

    image: np.ndarray  # (S, S, 3) uint8, RGB
    labels: tuple[int, ...]  # n indices into KINDS, all different
    boxes: np.ndarray  # (n, 4) float32, half-open [x0, y0, x1, y1) in pixels, around the mask
    masks: np.ndarray  # (n, S, S) bool, the visible pixels; no pixel belongs to two shapes


def draw_scene(
    rng_or_seed: int | np.random.Generator,
    shapes: int | None = None,
    size: int = 128,
    kinds: Sequence[str] | None = None,
) -> Scene:
    """Draw shapes of different kinds on a cluttered background.

    Args:
        rng_or_seed: A seed (the same seed draws the same scene), or a generator to draw from.
        shapes: Number of shapes, 1 to 8; one if nothing is said, or as many as `kinds`.
        size: Height and width S of the picture in pixels, at least 32.
        kinds: Which kinds, in the order of the labels; drawn at random from `KINDS` if None.

    Returns:
        The picture with the label, box and visible mask of each shape.

    Raises:
        TypeError: `rng_or_seed` is neither an integer nor a generator.
        ValueError: A number is out of range, or `kinds` are unknown, repeated or not as many as
            `shapes`.

    >>> scene = draw_scene(7, kinds=["heart", "arrow"])
    >>> scene.image.shape, [KINDS[label] for label in scene.labels], scene.masks.shape
    ((128, 128, 3), ['heart', 'arrow'], (2, 128, 128))
    """
    rng = _generator(rng_or_seed)
    if size < _SMALLEST_SIZE:
        raise ValueError(
            f"size must be at least {_SMALLEST_SIZE} pixels; got {size}. "
            "Draw a larger scene and resize it."
        )
    labels = _chosen_labels(rng, shapes, kinds)

    dark = bool(rng.random() < 0.5)  # bright shapes on dark, deep ones on light: always visible
    canvas = _background(rng, size, dark)
    masks: list[np.ndarray] = []
    for label, (x, y, radius) in zip(labels, _places(rng, len(labels), size), strict=True):
        turn = rng.uniform(0, 2 * np.pi)
        coverage = _coverage(_OUTLINES[KINDS[label]], x, y, radius, turn, size)
        canvas = _over(canvas, coverage, _texture(rng, size, dark))
        mask = coverage >= 0.5
        masks = [earlier & ~mask for earlier in masks] + [mask]
    canvas += rng.uniform(1, 8) * rng.standard_normal(canvas.shape, np.float32)
    return Scene(
        image=np.rint(canvas.clip(0, 255)).astype(np.uint8),
        labels=labels,
        boxes=np.stack([_box(mask) for mask in masks]),
        masks=np.stack(masks),
    )


def _generator(rng_or_seed: Any) -> np.random.Generator:
    if not isinstance(rng_or_seed, (int, np.integer, np.random.Generator)):
        raise TypeError(
            "rng_or_seed must be an integer or a numpy.random.Generator, so that the scene can be "
            f"drawn again; got {type(rng_or_seed).__name__}. Pass a seed such as 0."
        )
    return np.random.default_rng(rng_or_seed)


def _chosen_labels(
    rng: np.random.Generator, shapes: int | None, kinds: Sequence[str] | None
) -> tuple[int, ...]:
    if kinds is None:
        wanted = 1 if shapes is None else shapes
        if not 1 <= wanted <= len(KINDS):
            raise ValueError(
                f"shapes must be 1 to {len(KINDS)}, as the kinds in a scene are distinct; "
                f"got {shapes}. Draw several scenes for more."
            )
        return tuple(int(label) for label in rng.permutation(len(KINDS))[:wanted])
    known = [kind for kind in kinds if kind in KINDS]
    if not known or len(set(known)) != len(kinds):
        raise ValueError(
            f"kinds must be distinct names of KINDS, at least one; got {list(kinds)}. "
            f"Choose from {', '.join(KINDS)}."
        )
    if shapes not in (None, len(kinds)):
        raise ValueError(
            f"shapes must equal the number of kinds; got shapes={shapes} and {len(kinds)} kinds. "
            "Leave shapes out."
        )
    return tuple(KINDS.index(kind) for kind in kinds)


def _places(rng: np.random.Generator, count: int, size: int) -> list[tuple[float, float, float]]:
    """Centre x, y and radius of each shape, inside the picture and hardly overlapping."""
    places: list[tuple[float, float, float]] = []
    while len(places) < count:
        radius = size * rng.uniform(0.2, 0.3) / count**0.35
        placed = None
        while placed is None:
            placed = _free_place(rng, places, radius, size)
            radius *= 0.95  # no room: try a smaller one
        places.append(placed)
    return places


def _free_place(
    rng: np.random.Generator, taken: list[tuple[float, float, float]], radius: float, size: int
) -> tuple[float, float, float] | None:
    for x, y in rng.uniform(radius + 1, size - radius - 1, (_PLACES_TRIED, 2)):
        # Outer circles may overlap by a tenth: few shapes fill theirs, so few touch.
        if all(np.hypot(x - u, y - v) >= 0.9 * (radius + r) for u, v, r in taken):
            return x, y, radius
    return None


def _coverage(
    outline: np.ndarray, x: float, y: float, radius: float, turn: float, size: int
) -> np.ndarray:
    """How much of each pixel a shape covers, (S, S) in [0, 1]."""
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    # cv2 means the centre of a pixel by an integer, we mean its upper left corner: hence the half.
    # The 256 are the shift=8 bits behind the point.
    points = np.rint(256 * (_SUPERSAMPLING * (radius * outline @ rotation + (x, y)) - 0.5))
    large = np.zeros((size * _SUPERSAMPLING, size * _SUPERSAMPLING), np.uint8)
    cv2.fillPoly(large, [points.astype(np.int32)], 255, shift=8)
    return cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA) / np.float32(255)


def _box(mask: np.ndarray) -> np.ndarray:
    """The tight half-open box [x0, y0, x1, y1) around a mask."""
    y, x = np.nonzero(mask)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float32)


def _over(canvas: np.ndarray, coverage: np.ndarray, paint: np.ndarray) -> np.ndarray:
    """Lay paint, a colour or a picture, over the canvas where something covers it."""
    return canvas + coverage[..., None] * (paint - canvas)


def _colour(
    rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]
) -> np.ndarray:
    """A colour (3,) in [0, 255] of any hue."""
    hue = rng.random()
    rgb = colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value))
    return 255 * np.array(rgb, np.float32)


def _shape_colour(rng: np.random.Generator, dark: bool) -> np.ndarray:
    return _colour(rng, *(((0.45, 0.95), (0.8, 1.0)) if dark else ((0.65, 1.0), (0.35, 0.85))))


def _ground_colour(rng: np.random.Generator, dark: bool) -> np.ndarray:
    return _colour(rng, *(((0.1, 0.5), (0.1, 0.35)) if dark else ((0.02, 0.2), (0.8, 0.98))))


def _along(angle: float, size: int) -> np.ndarray:
    """How far each pixel is from the picture's middle in a direction, (S, S) in [-0.71, 0.71]."""
    x = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    return x * np.float32(np.cos(angle)) + x[:, None] * np.float32(np.sin(angle))


def _ramp(rng: np.random.Generator, size: int) -> np.ndarray:
    """A plane that rises in a random direction, (S, S) in [0, 1]."""
    return 0.5 + _along(rng.uniform(0, 2 * np.pi), size) / np.float32(np.sqrt(2))


def _waves(rng: np.random.Generator, size: int, crossed: bool) -> np.ndarray:
    """Stripes, or dots where stripes cross stripes, (S, S) in [0, 1] with smooth edges."""
    waves, angle = rng.uniform(11, 20), rng.uniform(0, np.pi)
    height = np.cos(2 * np.pi * waves * _along(angle, size))
    if crossed:
        height += np.cos(2 * np.pi * waves * _along(angle + np.pi / 2, size)) - 0.8
    return np.clip(0.5 + size / waves / 4 * height, 0, 1)  # the slope of an edge: about a pixel


def _texture(rng: np.random.Generator, size: int, dark: bool) -> np.ndarray:
    """What a shape is painted with, (S, S, 3): solid, gradient, stripes or dots in two colours."""
    first, other = _shape_colour(rng, dark), _shape_colour(rng, dark)
    second = (first + other) / 2  # not further apart, or the pattern hides the form
    pattern = rng.choice(["solid", "gradient", "stripes", "dots"])
    if pattern == "solid":
        share = np.zeros((size, size), np.float32)
    elif pattern == "gradient":
        share = _ramp(rng, size)
    else:
        share = _waves(rng, size, crossed=pattern == "dots")
    return first + share[..., None] * (second - first)


def _background(rng: np.random.Generator, size: int, dark: bool) -> np.ndarray:
    """A gradient with soft clouds, thin lines and small blobs, (S, S, 3) in [0, 255]."""
    first, second = _ground_colour(rng, dark), _ground_colour(rng, dark)
    canvas = first + _ramp(rng, size)[..., None] * (second - first)
    cells = int(rng.integers(3, 12))
    clouds = 8 * rng.standard_normal((cells, cells), np.float32)
    canvas += cv2.resize(clouds, (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
    picture = np.rint(canvas.clip(0, 255)).astype(np.uint8)  # cv2 draws smooth lines on uint8 only
    for _ in range(rng.integers(2, 6)):
        start, end = (16 * size * rng.random((2, 2))).astype(int).tolist()  # 16: four bits of shift
        colour = first + rng.uniform(0.3, 0.9) * (_shape_colour(rng, dark) - first)
        cv2.line(picture, start, end, colour.tolist(), 1, cv2.LINE_AA, shift=4)
    for _ in range(rng.integers(3, 9)):
        speck = rng.uniform(0.008, 0.022) * _OUTLINES["circle"] + rng.random(2)
        colour = _shape_colour(rng, dark).tolist()
        points = (16 * size * speck).astype(np.int32)
        cv2.fillPoly(picture, [points], colour, cv2.LINE_AA, shift=4)
    return picture.astype(np.float32)
