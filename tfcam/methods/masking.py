"""Maps that only ask for scores, of the image with parts of it hidden: occlusion, RISE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from tfcam.images.blur import RISE_BLUR
from tfcam.maps.scaling import Shown
from tfcam.maps.tensors import by_rows
from tfcam.methods.batching import fold, in_chunks
from tfcam.methods.registry import OPTION_CHECKS, method
from tfcam.methods.segments import Segments, parts_of
from tfcam.passes.reading import Need, Network, Reading
from tfcam.utils.validation import check_count, shown

Sizes: TypeAlias = int | Sequence[int]

# So many masks at once where they meet their scores.
_CHUNK = 32


# --- Scores of what is left of an image -----------------------------------------------------


def masked_scores(
    network: Network,
    count: int | tf.Tensor,
    keep: Callable[[tf.Tensor], tf.Tensor],
    fill: str,
    probability: bool = False,
) -> tf.Tensor:
    """Score the images behind masks: x m + hidden (1 - m). Masks are made when they are used.

    Computed as x + (hidden - x) (1 - m), which goes over the many pixels twice, not four times.

    Args:
        network: The network, with its images (B, *sides, C).
        count: Number of masks n; a scalar int32 where it may change.
        keep: Indices (k,) -> masks (k, B, *sides), or (k, 1, *sides) where all images have the
            same: 1 where the image is seen, 0 where it is hidden.
        fill: What is seen instead: see ``hidden_by``.
        probability: Whether to give probabilities instead of scores.

    Returns:
        (n, B) float32.
    """
    images, of_text = network.images, not network.images.dtype.is_floating
    hidden = hidden_words(fill, network) if of_text else hidden_by(fill, images)
    change = hidden if of_text else hidden - images

    def scores(indices: tf.Tensor) -> tf.Tensor:
        if of_text:
            seen = tf.where(keep(indices) > 0.5, images, hidden)
            return network.scores(by_rows(seen), probability)
        masks = tf.cast(keep(indices), images.dtype)
        masks = masks if masks.shape.rank > images.shape.rank else masks[..., tf.newaxis]
        return network.scores(by_rows(images + change * (1 - masks)), probability)

    return in_chunks(count, network.groups, scores)


def sides_of(images: tf.Tensor) -> tuple[int, ...]:
    """The axes of positions of images (B, *sides, C), or of sequences of numbers (B, L)."""
    return tuple(images.shape[1 : max(images.shape.rank - 1, 2)])


def hidden_words(fill: str, network: Network) -> tf.Tensor:
    """What is seen of texts (B, L) where their words are hidden: the mask or padding, or zero.

    Raises:
        ValueError: If they are to be blurred.
    """
    if fill == "blur":
        raise ValueError(
            "fill='blur' is for images; of a text, 'mean' hides words behind the mask, or else the "
            "padding, and 'zero' behind the number 0."
        )
    return network.hidden if fill == "mean" else tf.zeros_like(network.images)


def hidden_by(fill: str, images: tf.Tensor) -> tf.Tensor:
    """What is seen of images (B, ..., C) where they are hidden.

    Args:
        fill: "mean" of each image and channel; "zero" of the network's own input; "blur", the image
            behind a Gaussian of 5 pixels, as ``tfcam.metrics`` blurs it.
        images: What the network takes.

    Returns:
        (B, ..., C), or with sides of 1.

    Raises:
        ValueError: If what does not have two sides is to be blurred.

    Example:
        >>> hidden_by("mean", tf.constant([[[[0.0], [4.0]]]])).numpy().ravel()
        array([2.], dtype=float32)
    """
    if fill == "blur":
        if images.shape.rank != 4:
            raise ValueError(
                "fill='blur' is for images (H, W, C); got inputs of shape "
                f"{tuple(images.shape[1:])}. Choose 'zero' or 'mean'."
            )
        channels = images.shape[-1]
        kernel = tf.constant(np.tile(RISE_BLUR[..., np.newaxis, np.newaxis], (1, 1, channels, 1)))
        return tf.nn.depthwise_conv2d(images, tf.cast(kernel, images.dtype), [1] * 4, "SAME")
    axes = list(range(1, 1 + len(sides_of(images))))
    means = tf.reduce_mean(images, axes, keepdims=True)
    return means if fill == "mean" else tf.zeros_like(means)


# --- Occlusion ------------------------------------------------------------------------------


@method(
    Need.SCORES,
    pixels=True,
    passes="F + windows F",
    combines=False,
    shown_as="positive",
    hides_words=True,
    one_by_one=True,
)
def occlusion(
    reading: Reading,
    *,
    window: Sizes | None = None,
    stride: int | None = None,
    segments: Segments | None = None,
    fill: Literal["mean", "zero", "blur"] = "mean",
) -> tf.Tensor:
    """Occlusion: how much the score falls where a window hides the image; no gradients.

    d_c = s(x) - s(x with window c hidden);  M(p) = the mean of d_c over the windows that cover p.
    The last window of a row ends with the image, so that every pixel is covered.

    Args:
        reading: scores (B,), and the network.
        window: The side of the windows in pixels of the network's input, at most that of the
            image; by default a seventh of it. Of several, such as (16, 32, 64), each map is divided
            by its largest absolute value before they are averaged.
        stride: Steps from window to window; by default half a window.
        segments: Parts that are hidden one by one instead of windows: "grid:7", "slic",
            "quickshift", or an integer map of the network's input, (H, W). Of a text, by default
            each word is hidden.
        fill: What hides: the image's "mean" colour, "zero" of the network's own input, or the
            image behind a "blur". Of a text, "mean" is the mask, or else the padding.

    Returns:
        (B, H, W), signed: negative where hiding raises the score. Of a text, what hiding a word
        does is spread evenly over its pieces.

    Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section
    4.3. Departs from the paper: the logit is explained unless score="probability" says otherwise.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> result = tfcam.explain(tfcam.demo_model(), scene, method="occlusion", window=128)
        >>> bool((result.raw == result.raw[0, 0]).all())  # one window: hiding all of the image
        True
    """
    network = reading.network
    _check_either(window, stride, segments)
    by_words = network.words is not None and window is None and stride is None
    if segments is None and not by_words:
        return _by_sizes(reading, _windows(window, sides_of(network.images)), stride, fill)
    parts = parts_of(segments, network)
    scores = masked_scores(network, parts.count, lambda n: 1 - parts.covers(n), fill)
    return parts.spread(tf.transpose(reading.scores - scores))


def _check_either(window: Any, stride: int | None, segments: Any) -> None:
    """Refuse windows and segments together."""
    given = [name for name, value in (("window", window), ("stride", stride)) if value is not None]
    if segments is not None and given:
        raise ValueError(
            f"occlusion hides windows or segments; got segments with {' and '.join(given)}. Leave "
            "one of them out."
        )


def _by_sizes(
    reading: Reading, sizes: Sequence[Sequence[int]], stride: int | None, fill: str
) -> tf.Tensor:
    """Average the maps of windows of several sizes, each by its largest value; or take the one."""
    found = [_by_windows(reading, size, stride, fill) for size in sizes]
    if len(found) == 1:
        return found[0]
    axes = list(range(1, found[0].shape.rank))
    largest = [tf.reduce_max(tf.abs(each), axes, keepdims=True) for each in found]
    return tf.add_n([*map(tf.math.divide_no_nan, found, largest)]) / len(found)


def _by_windows(reading: Reading, size: Sequence[int], stride: int | None, fill: str) -> tf.Tensor:
    """Average the falls of the score over the windows of one size."""
    covers = [*map(window_covers, sides_of(reading.network.images), size, [stride] * len(size))]
    counts = [len(cover) for cover in covers]

    def keep(indices: tf.Tensor) -> tf.Tensor:
        rows: list[tf.Tensor] = []
        for cover in reversed(covers):
            rows.insert(0, tf.gather(cover, indices % len(cover)))
            indices //= len(cover)
        return 1 - _crossed(rows)

    scores = masked_scores(reading.network, int(np.prod(counts)), keep, fill)
    total = tf.reshape(reading.scores - scores, (*counts, -1))
    for cover in covers:  # of each axis in turn, which goes behind the others
        total = tf.tensordot(total, cover, [[0], [0]])
    return total / _crossed([cover.sum(0, keepdims=True) for cover in covers])[0]


def _crossed(rows: Sequence[Any]) -> tf.Tensor:
    """Multiply rows (n, side) of every axis to masks (n, 1, *sides)."""
    shapes = np.ones((len(rows), 2 + len(rows)), int)
    shapes[:, 0] = -1
    for axis, row in enumerate(rows):
        shapes[axis, 2 + axis] = row.shape[-1]
    return reduce(tf.multiply, map(tf.reshape, rows, shapes))


def window_covers(side: int, window: int, stride: int | None) -> np.ndarray:
    """Tell which positions of an axis each window covers.

    Args:
        side: Number of positions.
        window: Those that a window covers.
        stride: Steps from window to window; None for half a window.

    Returns:
        (n, side) float32 of 0 and 1; the last window ends with the axis.

    Example:
        >>> window_covers(4, 2, 3)
        array([[1., 1., 0., 0.],
               [0., 0., 1., 1.]], dtype=float32)
    """
    starts = sorted({*range(0, side - window, stride or max(1, window // 2)), side - window})
    places = np.arange(side) - np.array(starts)[:, np.newaxis]
    return ((places >= 0) & (places < window)).astype(np.float32)


def check_windows(window: Any) -> list[int]:
    """Check a size of windows, or several, and list them.

    Raises:
        TypeError: If one is no whole number.
        ValueError: If one is below 1, or there is none.
    """
    sizes = list(window) if isinstance(window, list | tuple) else [window]
    if not sizes:
        raise ValueError("window must be a size, or a list of sizes; got an empty one.")
    return [check_count("window", size) for size in sizes]


OPTION_CHECKS["Sizes"] = check_windows


def _windows(window: Any, sides: Sequence[int]) -> list[tuple[int, ...]]:
    """List the sides of the windows of each size, along each axis."""
    if window is None:
        return [tuple(max(1, round(side / 7)) for side in sides)]
    checked = check_windows(window)
    if max(checked) > max(sides):
        raise ValueError(
            f"window must be at most the longest side of what the model takes, {max(sides)}; got "
            f"{shown(window)}."
        )
    return [tuple(min(size, side) for side in sides) for size in checked]


# --- RISE -----------------------------------------------------------------------------------


def _rise_shown(centred: bool = False, **_: Any) -> Shown:
    """Without its centre, a map of RISE lies on a pedestal, its own least value."""
    return "positive" if centred else "above_least"


@method(Need.SCORES, pixels=True, passes="F + masks F", combines=False, shown_as=_rise_shown)
def rise(
    reading: Reading,
    *,
    masks: int = 2000,
    cells: int = 7,
    keep: float = 0.5,
    centred: bool = False,
    seed: int = 0,
    fill: Literal["mean", "zero", "blur"] = "mean",
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """RISE: the score's mean over random masks that leave a pixel to be seen; no gradients.

    M(p) = sum_i s(x m_i) m_i(p) / sum_i m_i(p), with masks m_i of 0..1: cells that are seen with
    probability ``keep``, enlarged bilinearly and shifted. Centred, it is mean_i (s_i - mean s)
    (m_i(p) - keep) / (keep (1 - keep)), which is signed, and of a linear network w (x - hidden).
    The heatmap of the first form shows what is above the map's least value.

    Args:
        reading: the network.
        masks: Number of masks: four times as many halve the error.
        cells: Cells along each side.
        keep: The probability that a cell is seen, between 0 and 1.
        centred: Whether the mean score is taken off, so that what speaks against is negative.
        seed: Random seed of the masks, which are the same for each image.
        fill: What hides: the image's "mean" colour, "zero" of the network's own input, as in the
            paper, or the image behind a "blur".

    Returns:
        (B, H, W), and standard_error: the mean over the pixels of the map's standard error, as a
        fraction of the map's own deviation, (B,).

    Source: Petsiuk et al. 2018, "RISE: Randomized Input Sampling for Explanation of Black-box
    Models", eq. 6. Departs from the paper: divided by the sum of the masks at each pixel, not by
    its expectation, so that of a network that sees nothing the map is even; hides by the mean
    colour; the logit is explained unless score="probability" says otherwise.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> result = tfcam.explain(tfcam.demo_model(), scene, method="rise", masks=64)
        >>> result.raw.shape, 0 < result.measured["standard_error"] < 1
        ((128, 128), True)
    """
    network, sides = reading.network, sides_of(reading.network.images)
    drawn = rise_masks(masks, cells, keep, seed, sides)
    scores = masked_scores(network, masks, lambda n: drawn(n)[:, tf.newaxis], fill)
    sums = _sums(drawn, scores, sides)
    raw, error = _centred(sums, keep) if centred else _of_seen(sums)
    axes = list(range(1, raw.shape.rank))
    chance = tf.math.divide_no_nan(tf.reduce_mean(error, axes), tf.math.reduce_std(raw, axes))
    return raw, {"standard_error": chance}


class _Sums(NamedTuple):
    """Sums over n masks m, with f the scores less their mean; (B, *sides), or (B, 1, ...)."""

    n: int
    mean: tf.Tensor
    ff: tf.Tensor
    m: tf.Tensor
    mf: tf.Tensor
    mff: tf.Tensor
    mm: tf.Tensor
    mmf: tf.Tensor
    mmff: tf.Tensor


def _of_seen(sums: _Sums) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean score where a pixel is seen, and its standard error: that of a ratio."""
    above = tf.math.divide_no_nan(sums.mf, sums.m)
    squares = sums.mmff - 2 * above * sums.mmf + above**2 * sums.mm
    return sums.mean + above, tf.math.divide_no_nan(tf.sqrt(tf.nn.relu(squares)), sums.m)


def _centred(sums: _Sums, keep: float) -> tuple[tf.Tensor, tf.Tensor]:
    """The covariance of scores and masks by the masks' variance, and its standard error."""
    spread = keep * (1 - keep)
    raw = sums.mf / (sums.n * spread)
    squares = (sums.mmff - 2 * keep * sums.mff + keep**2 * sums.ff) / spread**2
    return raw, tf.sqrt(tf.nn.relu(squares / sums.n - raw**2) / max(sums.n - 1, 1))


def rise_masks(
    count: int, cells: int, keep: float, seed: int, sides: Sequence[int]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Draw the masks of RISE; only cells and shifts are kept, masks are made when they are used.

    Args:
        count: Number of masks.
        cells: Cells along each side, at most as many as it has positions.
        keep: The probability that a cell is seen.
        seed: Random seed.
        sides: The sides of the image.

    Returns:
        Indices (k,) -> masks (k, *sides) in 0..1, of which the expectation is ``keep`` everywhere.

    Raises:
        ValueError: If ``keep`` is not between 0 and 1.
    """
    if not 0 < keep < 1:
        raise ValueError(f"keep must be between 0 and 1, a probability; got {keep}.")
    grid = [min(cells, side) for side in sides]
    drawn = tf.random.stateless_uniform((count, *grid), [seed, 0])
    seen = tf.cast(drawn < keep, tf.float32)
    steps = [-(-side // n) for side, n in zip(sides, grid, strict=True)]
    shifts = [  # a seed for each axis, counted from the last
        tf.random.stateless_uniform((count,), [seed, len(sides) - axis], 0, step, tf.int32)
        for axis, step in enumerate(steps)
    ]

    def masks(indices: tf.Tensor) -> tf.Tensor:
        made = tf.gather(seen, indices)
        for side, n, step, shift in zip(sides, grid, steps, shifts, strict=True):
            places = tf.range(side)[tf.newaxis] + tf.gather(shift, indices)[:, tf.newaxis]
            # Enlarged n -> (n + 1) step, centres at halves.
            at = (tf.cast(places, tf.float32) + 0.5) * (n / ((n + 1) * step)) - 0.5
            at = tf.clip_by_value(at, 0.0, n - 1.0)
            weights = tf.nn.relu(1 - tf.abs(at[..., tf.newaxis] - tf.range(n, dtype=tf.float32)))
            # The axis of cells in front becomes one of pixels behind the others.
            rest = made.shape[2:]
            flat = tf.reshape(made, (-1, n, int(np.prod(rest))))
            flat = tf.matmul(flat, weights, transpose_a=True, transpose_b=True)
            made = tf.reshape(flat, (-1, *rest, side))
        return made

    return masks


def _sums(
    masks: Callable[[tf.Tensor], tf.Tensor], scores: tf.Tensor, sides: Sequence[int]
) -> _Sums:
    """Sum over the masks, a few of which are made at a time.

    Args:
        masks: Indices (k,) -> (k, *sides).
        scores: (n, B).
        sides: The sides of the image.
    """
    count, batch = scores.shape
    mean = tf.reduce_mean(scores, 0)
    off = scores - mean
    weights = tf.concat([tf.ones_like(off), off, off**2], axis=1)
    size = min(_CHUNK, count)

    def add(chunk: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
        indices = chunk * size + tf.range(size)
        rows = tf.gather(weights, tf.minimum(indices, count - 1))
        rows *= tf.cast(indices < count, tf.float32)[:, tf.newaxis]
        flat = tf.reshape(masks(tf.minimum(indices, count - 1)), (size, -1))
        return sums + tf.stack([tf.matmul(rows, flat**a, transpose_a=True) for a in (1, 2)])

    start = tf.zeros((2, 3 * batch, int(np.prod(sides))))
    sums = tf.reshape(fold(-(-count // size), start, add), (6, batch, *sides))
    spread = (-1, *[1] * len(sides))
    of_scores = tf.reshape(mean, spread), tf.reshape(tf.reduce_sum(off**2, 0), spread)
    return _Sums(count, *of_scores, *tf.unstack(sums))
