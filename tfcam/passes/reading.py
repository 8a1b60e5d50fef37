"""What a method makes its map from."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import tensorflow as tf

from tfcam.maps.tensors import FLOAT32, cancels, first_component, resized
from tfcam.model.placement import Placement
from tfcam.model.tokens import Grid
from tfcam.passes.linear_rules import Composite


class Need(enum.Flag):
    """What a method asks for besides the activations of its layer and the scores.

    Several are joined by ``|``; ``Need.GRADIENTS in needs`` asks for one.

    Attributes:
        NOTHING: Activations alone will do.
        GRADIENTS: Of the scores by the activations.
        IMAGE_GRADIENTS: Of the scores by the images.
        GUIDED_GRADIENTS: Of the scores by the images, through guided ReLUs.
        DECONVNET_GRADIENTS: Of the scores by the images, through ReLUs as deconvnet has them.
        CLASS_WEIGHTS: Of a linear head, those of the explained class.
        BIAS_ATTRIBUTIONS: What each layer's biases gave to the scores, with the image gradients.
        ATTENTIONS: The scores of every self-attention.
        ATTENTION_GRADIENTS: Besides them, of the score by these.
        NETWORK: The network, to be asked about other images.
        HEAD: What follows the layer, to be asked about other activations.
        SCORES: The scores of other images, which is all that a black box gives.
    """

    NOTHING = 0
    GRADIENTS = enum.auto()
    IMAGE_GRADIENTS = enum.auto()
    GUIDED_GRADIENTS = enum.auto()
    DECONVNET_GRADIENTS = enum.auto()
    CLASS_WEIGHTS = enum.auto()
    BIAS_ATTRIBUTIONS = enum.auto()
    ATTENTIONS = enum.auto()
    ATTENTION_GRADIENTS = enum.auto()
    NETWORK = enum.auto()
    HEAD = enum.auto()
    SCORES = enum.auto()


class Words(NamedTuple):
    """Which words the numbers of texts are of.

    Attributes:
        owners: (B, L) int32, the word of each number; -1 where it is of none.
        blank: The number that stands for nothing, a scalar.
        most: The most words of a text, a scalar int32 where it may change; None where no method
            hides words.
    """

    owners: tf.Tensor
    blank: tf.Tensor
    most: int | tf.Tensor | None


class Network(Protocol):
    """What a method may ask of the explained network, opened at one layer.

    What is explained stays what it was, also where another class would be predicted.
    """

    @property
    def images(self) -> tf.Tensor:
        """(B, H, W, C), what was explained."""

    @property
    def words(self) -> Words | None:
        """Of texts, which word each number is of."""

    @property
    def hidden(self) -> tf.Tensor:
        """Texts (B, L) with the mask or padding in place of every word."""

    def activations_of(self, images: tf.Tensor) -> tf.Tensor:
        """Compute what the layer gives for other images, (B, h, w, K) float32."""

    @property
    def groups(self) -> int:
        """How many variants of the images are computed at once."""

    @property
    def gradient_groups(self) -> int:
        """How many variants are computed at once of which a gradient is asked."""

    def gradients(self, images: tf.Tensor) -> tf.Tensor:
        """Compute the gradients by what the layer gives for n variants (n, B, H, W, C)."""

    def image_gradients(self, images: tf.Tensor) -> tf.Tensor:
        """Compute the gradients of the scores by n variants of the images, (n, B, H, W, C)."""

    def scores(self, images: tf.Tensor, probability: bool = False) -> tf.Tensor:
        """Score (n, B) n variants of the images, (n B, H, W, C), or give their probabilities."""

    def multipliers(self, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What values gave to the score per difference from a start (1, ...); and its rise (B,)."""

    def relevance(
        self, composite: Composite, epsilon: float, gamma: float, of_layer: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What each value gave to the score by LRP's rules; and how much there was (B,)."""

    def head_gradients(self, activations: tf.Tensor) -> tf.Tensor:
        """Compute the gradients of the scores by n variants of activations, (n, B, h, w, K)."""

    def head(self, activations: tf.Tensor) -> tf.Tensor:
        """Score (n, B) n variants of the activations, (n B, h, w, K)."""


@dataclass(frozen=True)
class Reading:
    """What a method makes its map from; what its method did not ask for is None.

    Attributes:
        activations: (B, h, w, K) float32, the output of the explained layer.
        scores: (B,) float32, the number that is explained.
        gradients: (B, h, w, K) float32, of the score by the activations.
        class_weights: (B, K) float32, of the linear head, for each image's class.
        guided_gradients: (B, H, W, C) float32, of the score by the images, guided.
        deconvnet_gradients: (B, H, W, C) float32, of the score by the images, as deconvnet does.
        image_gradients: (B, H, W, C) float32, of the score by the images.
        bias_attributions: Of each layer that adds a bias, what it gave to the score, (B, ...).
        attentions: Of each self-attention, its scores (B, heads, T, T) float32.
        attention_gradients: Of the explained score by each of them, in the same shapes.
        grid: Where tokens lie in the image; None for a layer that gives maps.
        placement: Where the layer's cells lie in the image; None where they cover it.
        network: To be asked again about other images or activations; there for every method.
        principal: Whether channels are combined to their first principal component.
        spacing: Of numbers near 1 in the dtype that the network computes in.
    """

    activations: tf.Tensor
    scores: tf.Tensor = None
    gradients: tf.Tensor = None
    class_weights: tf.Tensor = None
    guided_gradients: tf.Tensor = None
    deconvnet_gradients: tf.Tensor = None
    image_gradients: tf.Tensor = None
    bias_attributions: Sequence[tf.Tensor] = ()
    attentions: Sequence[tf.Tensor] = ()
    attention_gradients: Sequence[tf.Tensor] = ()
    grid: Grid | None = None
    placement: Placement | None = None
    network: Network = None  # type: ignore[assignment]  # None in a reading made by hand
    principal: bool = False
    spacing: float = FLOAT32

    def over_image(self, maps: tf.Tensor, sides: Sequence[int]) -> tf.Tensor:
        """Lay maps of the layer (B, h, w, K) over the image: (B, *sides, K)."""
        if self.placement is None:
            return resized(maps, sides)
        return self.placement.carry_back(maps, sides)

    def settled(self, values: tf.Tensor, terms: tf.Tensor, axes: Sequence[int]) -> tf.Tensor:
        """Set values to zero for each image where the sums of some terms are rounding alone."""
        return tf.where(cancels(terms, axes, self.spacing), 0.0, values)

    def combine(self, weighted: tf.Tensor) -> tf.Tensor:
        """Sum weighted activations (B, h, w, K) over the channels to a map (B, h, w).

        With ``eigen=True`` it is their first principal component instead, turned so that it
        agrees with the sum.
        """
        total = tf.reduce_sum(weighted, axis=-1)
        return first_component(weighted, towards=total) if self.principal else total
