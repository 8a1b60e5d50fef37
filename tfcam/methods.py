"""Every map as one pure function of a reading; ``METHODS`` holds them by name.

A method takes a ``Reading`` (activations A and gradients G, both (B, h, w, K), of the score s) and
returns a raw signed map (B, h, w), or (B, H, W, C) where it speaks of pixels. Scaling, resizing and
colour happen once, afterwards. Z = h w is the number of positions; c is the explained class.
Methods that ask the network again are in ``sampling``, maps of pixels in ``attribution``.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import tensorflow as tf

from tfcam.components import first_component
from tfcam.demands import LARGEST, check_choice, shown
from tfcam.reading import Reading
from tfcam.tokens import rollout_map

METHODS: dict[str, Method] = {}
_LARGEST_FLOAT = float(tf.float32.max)


@dataclass(frozen=True)
class Method:
    """A map's function and what it needs from a reading besides the activations.

    Attributes:
        name: What ``method=`` takes.
        function: Reading -> raw map, or (raw map, {name: number of each image}) where the method
            also measures something, such as its own error.
        needs: Names of the reading's fields that must be filled.
        wants: Names of those that are filled where they can be.
        pixels: Whether the map has the resolution and channels of the model's input.
        passes: What it costs for an image: forward (F) and backward (B) passes of the network.
        of_class: Whether the map is one of the explained class: "yes", "partly" where it also
            shows what speaks for others, "no" where it is nearly the same for all.
        contrast: Turns logits and pairs of classes, with the method's options, into what each
            logit counts for, where that is not the class alone.
        combines: Whether it combines channels, which ``eigen=True`` does in another way.
    """

    name: str
    function: Callable[..., Any]
    needs: tuple[str, ...] = ("gradients",)
    wants: tuple[str, ...] = ()
    pixels: bool = False
    passes: str = "F + B"
    of_class: str = "yes"
    contrast: Callable[..., tf.Tensor] | None = None
    combines: bool = True

    def __call__(self, reading: Reading, **options: Any) -> Any:
        return self.function(reading, **options)

    @property
    def class_specific(self) -> bool:
        """Whether the map tells classes apart."""
        return self.of_class != "no"

    @property
    def layered(self) -> bool:
        """Whether it explains a layer."""
        return not self.pixels or "gradients" in self.needs

    @property
    def loops(self) -> bool:
        """Whether it asks the network, or its head, again and again."""
        return bool({"network", "head"} & set(self.needs))

    @property
    def changes_input(self) -> bool:
        """Whether it changes the input a little, or asks what that would do."""
        return self.pixels or "network" in self.needs

    def of(self, options: Mapping[str, Any]) -> Method:
        """The method with these options: it also needs what the method that it stands on needs.

        Raises:
            TypeError: If there is no such option, or it is of another kind.
            ValueError: If a number is out of range, or it does not stand on such a method.
        """
        parameters = inspect.signature(self.function).parameters
        known = [name for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY]
        for name in options:
            if name not in known:
                raise TypeError(
                    f"explain and its method {self.name!r} have no option {name!r}; "
                    f"the method's options are: {', '.join(known) or 'none'}."
                )
            check_option(name, options[name], _annotation(parameters[name]))
        if self.contrast is None:
            return self
        base = options.get("base", "grad_cam")
        bases = [each.name for each in METHODS.values() if each.contrast is None]
        if base not in bases:
            raise ValueError(f"base must be one of {', '.join(bases)}; got {base!r}.")
        base = METHODS[base]
        taken = ("needs", "wants", "pixels", "passes", "of_class", "combines")
        return replace(self, **{name: getattr(base, name) for name in taken})

    @property
    def summary(self) -> str:
        """The first line of its documentation."""
        return (self.function.__doc__ or "").strip().split("\n")[0]


def method(*needs: str, **facts: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Store a function in ``METHODS`` under its own name; see ``Method`` for the facts."""

    def store(function: Callable[..., Any]) -> Callable[..., Any]:
        METHODS[function.__name__] = Method(function.__name__, function, needs, **facts)
        return function

    return store


def check_option(name: str, value: object, annotation: str) -> None:
    """Refuse an option of the wrong kind: counts are at least 1, a seed at least 0.

    Raises:
        TypeError: If the option is of another kind than its annotation says.
        ValueError: If it is a number out of range.

    Example:
        >>> check_option("samples", 0, "int")
        Traceback (most recent call last):
        ValueError: samples must be at least 1; got 0.
    """
    if annotation.startswith("Literal["):
        check_choice(name, value, ast.literal_eval(annotation.removeprefix("Literal")))
        return
    kinds: dict[str, Any] = {"bool": bool, "int": Integral, "float": Real, "str": str}
    kind, _, optional = annotation.partition(" | ")
    if kind not in kinds or (optional and value is None):
        return
    if not isinstance(value, kinds[kind]) or (kind != "bool" and isinstance(value, bool)):
        raise TypeError(f"{name} must be of type {annotation}; got {shown(value)}.")
    least = 0 if name in ("seed", "noise") else 1
    if isinstance(value, Real) and (kind == "int" or name == "noise") and value < least:
        raise ValueError(f"{name} must be at least {least}; got {value}.")
    if isinstance(value, Integral) and abs(int(value)) > LARGEST:
        raise ValueError(f"{name} must be within {LARGEST}; got {value}.")
    if isinstance(value, Real) and not abs(float(value)) <= _LARGEST_FLOAT:
        raise ValueError(f"{name} must be finite, as a float32; got {value}.")


def _annotation(parameter: inspect.Parameter) -> str:
    """An annotation as text; it is that already where annotations are not evaluated."""
    found = parameter.annotation
    return found if isinstance(found, str) else inspect.formatannotation(found)


def positions(maps: tf.Tensor) -> list[int]:
    """The spatial axes of a channels-last tensor."""
    return list(range(1, maps.shape.rank - 1))


@method("class_weights", passes="F")
def cam(reading: Reading) -> tf.Tensor:
    """Class activation map: the channels weighted by the class's weights in a linear head.

    M = sum_k W_kc A_k. The mean of M plus the bias b_c is the logit (average pooling).

    Args:
        reading: activations (B, h, w, K) and class_weights (B, K).

    Returns:
        (B, h, w), signed.

    Source: Zhou et al. 2016, "Learning Deep Features for Discriminative Localization", eq. 2.

    Example:
        >>> activations = tf.constant([[[[1.0, 2.0], [0.0, 1.0]]]])
        >>> cam(Reading(activations, class_weights=tf.constant([[1.0, -1.0]]))).numpy()
        array([[[-1., -1.]]], dtype=float32)
    """
    weights = reading.class_weights
    positions = reading.activations.shape.rank - 2
    weights = tf.reshape(weights, (-1, *[1] * positions, weights.shape[-1]))
    return reading.combine(weights * reading.activations)


@method("gradients")
def grad_cam(reading: Reading) -> tf.Tensor:
    """Grad-CAM: the channels weighted by the mean of their gradients.

    w_k = (1/Z) sum_ij G_ijk;  M = sum_k w_k A_k. On a head of average pooling and one linear
    layer Z M is the class activation map.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed: the ReLU of the paper's eq. 2 comes with the scaling.

    Source: Selvaraju et al. 2017, "Grad-CAM", eq. 1 and 2.

    Example:
        >>> activations = tf.constant([[[[1.0, 2.0], [0.0, 1.0]]]])
        >>> gradients = tf.constant([[[[1.0, 0.0], [3.0, 0.0]]]])
        >>> grad_cam(Reading(activations, gradients=gradients)).numpy()
        array([[[2., 0.]]], dtype=float32)
    """
    weights = tf.reduce_mean(reading.gradients, positions(reading.gradients), keepdims=True)
    return reading.combine(weights * reading.activations)


@method("gradients", of_class="partly")
def grad_cam_pp(reading: Reading, *, normalize_alpha: bool = False) -> tf.Tensor:
    """Grad-CAM++: the channels weighted by their positive gradients, each by how rare it is.

    alpha_ijk = 1 / (2 + G_ijk S_k) where G_ijk > 0, else 0, with S_k = sum_ij A_ijk;
    w_k = sum_ij alpha_ijk relu(G_ijk);  M = sum_k w_k A_k.

    This is the paper's alpha = G^2 / (2 G^2 + S G^3) without its powers of G, which underflow.
    The paper's factor exp(s) is one positive number for each image and is left out: it overflows
    for logits over 88, and no scaled map shows it. Where signed activations (swish, GELU) make
    the denominator negative or zero, alpha is 0.

    Args:
        reading: activations and gradients (B, h, w, K).
        normalize_alpha: Divide each channel's alpha by its sum over the positions with a positive
            gradient, as the authors' code does and the paper does not.

    Returns:
        (B, h, w), signed where activations are.

    Source: Chattopadhay et al. 2018, "Grad-CAM++", eq. 5, 10 and 19.

    Example:
        >>> activations = tf.constant([[[[1.0], [1.0]]]])
        >>> gradients = tf.constant([[[[1.0], [-1.0]]]])
        >>> grad_cam_pp(Reading(activations, gradients=gradients)).numpy()  # 1 / (2 + 1 * 2)
        array([[[0.25, 0.25]]], dtype=float32)
    """
    axes = positions(reading.gradients)
    sums = tf.reduce_sum(reading.activations, axes, keepdims=True)
    denominator = tf.where(reading.gradients > 0, 2.0 + reading.gradients * sums, 0.0)
    alpha = tf.math.divide_no_nan(1.0, tf.nn.relu(denominator))
    if normalize_alpha:
        alpha = tf.math.divide_no_nan(alpha, tf.reduce_sum(alpha, axes, keepdims=True))
    weights = tf.reduce_sum(alpha * tf.nn.relu(reading.gradients), axes, keepdims=True)
    return reading.combine(weights * reading.activations)


@method("gradients")
def x_grad_cam(reading: Reading) -> tf.Tensor:
    """XGrad-CAM: the channels weighted by their gradients, averaged with the activations' shares.

    w_k = sum_ij (A_ijk / S_k) G_ijk with S_k = sum_ij A_ijk;  M = sum_k w_k A_k, so that the sum
    of M is the sum of A G. Equal to Grad-CAM where gradients do not vary over positions. Where a
    channel's sum vanishes against its absolute sum (signed activations), its weight is 0.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed.

    Source: Fu et al. 2020, "Axiom-based Grad-CAM", eq. 8.
    Departs from the authors' code: the sum is guarded by its relative size, not by adding 1e-6,
    which has the wrong sign for negative sums.

    Example:
        >>> activations = tf.constant([[[[1.0], [3.0]]]])
        >>> gradients = tf.constant([[[[4.0], [0.0]]]])
        >>> x_grad_cam(Reading(activations, gradients=gradients)).numpy()  # w = 1/4 * 4
        array([[[1., 3.]]], dtype=float32)
    """
    axes = positions(reading.activations)
    sums = tf.reduce_sum(reading.activations, axes, keepdims=True)
    sizes = tf.reduce_sum(tf.abs(reading.activations), axes, keepdims=True)
    products = tf.reduce_sum(reading.activations * reading.gradients, axes, keepdims=True)
    sums = tf.where(tf.abs(sums) > 1e-6 * sizes, sums, 0.0)
    return reading.combine(tf.math.divide_no_nan(products, sums) * reading.activations)


@method("gradients")
def hires_cam(reading: Reading) -> tf.Tensor:
    """HiResCAM: activations times gradients, summed over the channels.

    M = sum_k G_ijk A_ijk. Where one linear layer follows, with or without average pooling, the
    sum of M plus the bias is the logit.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed.

    Source: Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM", eq. 5.

    Example:
        >>> activations = tf.constant([[[[1.0, 2.0], [0.0, 1.0]]]])
        >>> gradients = tf.constant([[[[1.0, 0.0], [3.0, -1.0]]]])
        >>> hires_cam(Reading(activations, gradients=gradients)).numpy()
        array([[[ 1., -1.]]], dtype=float32)
    """
    return reading.combine(reading.gradients * reading.activations)


@method("gradients", of_class="partly")
def layer_cam(reading: Reading) -> tf.Tensor:
    """LayerCAM: each activation weighted by its own positive gradient.

    M = sum_k relu(G_ijk) A_ijk. Made for early layers too; before a pooling or a stride it shows
    their grid.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed where activations are.

    Source: Jiang et al. 2021, "LayerCAM", eq. 4 to 6.

    Example:
        >>> activations = tf.constant([[[[1.0, 2.0], [0.0, 1.0]]]])
        >>> gradients = tf.constant([[[[1.0, -2.0], [3.0, 4.0]]]])
        >>> layer_cam(Reading(activations, gradients=gradients)).numpy()
        array([[[1., 4.]]], dtype=float32)
    """
    return reading.combine(tf.nn.relu(reading.gradients) * reading.activations)


@method("gradients", of_class="partly")
def grad_cam_elementwise(reading: Reading) -> tf.Tensor:
    """Element-wise Grad-CAM: what each activation adds to the score, negative additions left out.

    M = sum_k relu(G_ijk A_ijk). Equal to LayerCAM where activations are not negative; with swish
    or GELU, a negative activation with a negative gradient counts as support.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), not negative.

    Source: Gildenblat et al. 2021, pytorch-grad-cam, "GradCAMElementWise".

    Example:
        >>> activations = tf.constant([[[[1.0, -2.0], [1.0, 1.0]]]])
        >>> gradients = tf.constant([[[[1.0, -2.0], [3.0, -4.0]]]])
        >>> grad_cam_elementwise(Reading(activations, gradients=gradients)).numpy()
        array([[[5., 3.]]], dtype=float32)
    """
    return reading.combine(tf.nn.relu(reading.gradients * reading.activations))


@method(passes="F", of_class="no")
def eigen_cam(reading: Reading) -> tf.Tensor:
    """Eigen-CAM: the activations' first principal component; it knows of no class.

    M = A v_1, with A as a matrix of positions by channels and v_1 its first right singular
    vector; not centred. The sign, which a singular vector does not have, is that of the larger
    extreme of M.

    Args:
        reading: activations (B, h, w, K).

    Returns:
        (B, h, w); not negative where no activation is.

    Source: Muhammad and Yeasin 2020, "Eigen-CAM", section III.

    Example:
        >>> activations = tf.constant([[[[3.0, 0.0], [4.0, 0.0]]]])
        >>> eigen_cam(Reading(activations)).numpy().round(4)
        array([[[3., 4.]]], dtype=float32)
    """
    return first_component(reading.activations)


@method("gradients", of_class="partly")
def eigen_grad_cam(reading: Reading) -> tf.Tensor:
    """Eigen-Grad-CAM: the first principal component of activations times gradients.

    As Eigen-CAM, of G A in place of A, which makes it depend on the class; but evidence against the
    class counts as well, and a dominant object may hide a weak class. Its sign is a rule, not
    evidence: that of the larger extreme.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed.

    Source: Gildenblat et al. 2021, pytorch-grad-cam, "EigenGradCAM".

    Example:
        >>> activations = tf.constant([[[[3.0, 1.0], [4.0, 1.0]]]])
        >>> gradients = tf.constant([[[[1.0, 0.0], [1.0, 0.0]]]])
        >>> eigen_grad_cam(Reading(activations, gradients=gradients)).numpy().round(4)
        array([[[3., 4.]]], dtype=float32)
    """
    return first_component(reading.gradients * reading.activations)


def nearest_classes(
    logits: tf.Tensor, pairs: tf.Tensor, *, nearest: int = 3, strength: float = 1.0, **_: Any
) -> tf.Tensor:
    """What each logit counts for in Finer-CAM: (B, C), from logits (B, C) and pairs (B, 2)."""
    classes, nearest = logits.shape[-1], min(nearest, logits.shape[-1] - 1)
    if not nearest:
        raise ValueError("Finer-CAM needs another class to hold one against; the model has one.")
    chosen = tf.one_hot(pairs[:, 0], classes)
    logits = tf.cast(logits, tf.float32)
    distances = tf.abs(logits - tf.reduce_sum(chosen * logits, axis=-1, keepdims=True))
    order = tf.math.top_k(-tf.where(chosen > 0, float("inf"), distances), nearest).indices
    shares = tf.nn.softmax(tf.gather(logits, order, batch_dims=1))  # p_i / sum of the p_i
    return chosen - strength * tf.reduce_sum(
        shares[..., tf.newaxis] * tf.one_hot(order, classes), axis=1
    )


@method("gradients", contrast=nearest_classes)
def finer_cam(
    reading: Reading, *, base: str = "grad_cam", nearest: int = 3, strength: float = 1.0
) -> Any:
    """Finer-CAM: what tells the class from the classes nearest to it, by any other method.

    The score is y_c - strength sum_i p_i y_i / sum_i p_i over the classes i whose logits are
    nearest to that of c, p being the softmax, taken as constant. On a linear head the map is
    CAM_c - strength sum_i p_i CAM_i / sum_i p_i. Score-CAM as a base takes probabilities for y, as
    it does by itself.

    Args:
        reading: What the base method needs, for this score.
        base: The method that makes the map.
        nearest: How many classes it is held against.
        strength: How strongly; 0 is the base method alone.

    Returns:
        What the base method returns.

    Source: Zhang et al. 2025, "Finer-CAM", eq. 5. Departs from the authors' code: no gradient
    passes through p.

    Example:
        >>> logits, pairs = tf.constant([[3.0, 2.0, 2.0, -9.0]]), tf.constant([[0, -2]])
        >>> nearest_classes(logits, pairs, nearest=2).numpy()
        array([[ 1. , -0.5, -0.5,  0. ]], dtype=float32)
    """
    return METHODS[base](reading)


@method("attentions", passes="F", of_class="no", combines=False)
def attention_rollout(reading: Reading) -> tf.Tensor:
    """Attention rollout: how much each patch reaches the class token through all attentions.

    a_l = the mean of layer l's heads plus the identity, each row scaled to the sum 1;
    R = a_L ... a_1; the map is the class token's row of R, or the mean of all rows where there
    is no such token. It knows of no class, and of nothing but attention. For transformers only.

    Args:
        reading: attentions, each (B, heads, T, T), and the grid of the patches.

    Returns:
        (B, h, w), not negative.

    Source: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", section 3.

    Example:
        >>> from tfcam.tokens import Grid
        >>> scores = tf.constant([[[[0.0, 0.5, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]])
        >>> attention_rollout(Reading(None, attentions=(scores,), grid=Grid(1, 2, 1))).numpy()
        array([[[0.25, 0.25]]], dtype=float32)
    """
    assert reading.grid is not None
    return rollout_map(reading.attentions, reading.grid)
