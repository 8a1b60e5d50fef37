"""Attention as a loss: a map is differentiable, so a mask can teach a network where to look.

M+ is the raw map after its ReLU at the size of the mask m, m_p in [0, 1] of each pixel p.
"""

from __future__ import annotations

import tfcam.utils.backend  # noqa: F401  # before Keras loads what is not TensorFlow

# isort: split

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfcam.engine.doors import DOORS
from tfcam.engine.opened_model import OpenedModel, open_model
from tfcam.engine.settings import Settings
from tfcam.maps.tensors import evidence, resized, scaled
from tfcam.methods.registry import METHODS, Method, ask
from tfcam.model.given import split_inputs
from tfcam.model.taps import Layers
from tfcam.passes.reading import Need, Reading
from tfcam.targets.callables import target_key
from tfcam.targets.classes import NOTHING
from tfcam.targets.labels import label_of_output, read_labels
from tfcam.targets.two_classes import NUMBER, two_sides
from tfcam.utils.validation import check_choice, kind_of

# A map counts as empty below this: its inverse, and gradients times that, must stay finite.
_LEAST = 1e-20


_NEEDS = Need.GRADIENTS | Need.CLASS_WEIGHTS


def outside_energy(maps: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Compute the share of a map's energy that lies outside of the mask.

    sum_p M+_p (1 - m_p) / sum_p M+_p = 1 - ``tfcam.metrics.energy``. It is the same for any
    multiple of a map: it says where to look, not how much.

    Args:
        maps: (B, H, W), signed; of videos and volumes (B, D, H, W).
        masks: As the maps, in [0, 1].

    Returns:
        (B,) in [0, 1]; 0 for a map without anything positive, which looks nowhere.

    Source: Rao et al. 2023, "Studying how to efficiently and effectively guide models with
    explanations", the energy loss; the energy is that of Wang et al. 2020, "Score-CAM".

    Departs from the paper: 1 - the energy, not its negative, so that it ends at zero.

    Example:
        >>> maps, masks = tf.constant([[[3.0, 1.0, -2.0]]]), tf.constant([[[1.0, 0.0, 0.0]]])
        >>> outside_energy(maps, masks).numpy()
        array([0.25], dtype=float32)
    """
    energy = scaled(maps, _LEAST)
    sides = _sides(energy)
    outside = tf.reduce_sum(energy * (1.0 - masks), axis=sides)
    return tf.math.divide_no_nan(outside, tf.reduce_sum(energy, axis=sides))


def squared_error(maps: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
    """Compute the mean squared difference between a map and the mask, all of which it is to cover.

    mean_p (M+_p / max M+ - m_p)^2.

    Args:
        maps: (B, H, W), signed; of videos and volumes (B, D, H, W).
        masks: As the maps, in [0, 1].

    Returns:
        (B,) in [0, 1].

    Source: Li et al. 2018, "Tell me where to look: guided attention inference network", the loss
    of the extension by pixel-level labels.

    Departs from the paper: the map is scaled by its maximum.

    Example:
        >>> squared_error(tf.constant([[[4.0, 2.0]]]), tf.constant([[[1.0, 0.0]]])).numpy()
        array([0.125], dtype=float32)
    """
    return tf.reduce_mean((scaled(maps, _LEAST) - masks) ** 2, axis=_sides(maps))


_LOSSES = {function.__name__: function for function in (outside_energy, squared_error)}


class AttentionLoss:
    """How far a network looks beside what it should look at: a loss of its map and a mask.

    The map is that of the network as it is used, in inference mode, of each image's own class. Its
    gradient by the weights is a second derivative; call this inside an open ``tf.GradientTape``, or
    let ``AttentionModel`` do so. Where a convolution of one pixel, with steps, of fewer than 16
    channels is trained on a CPU, TensorFlow 2.21 ends Python, with this loss or without: there,
    train with ``jit_compile=True``.

    Args:
        model: A built Keras model with one input of images, videos or volumes.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Several, or
            "all_convolutions", are fused into one map. Several are a list; layer objects are taken,
            too.
        method: The method, by its name in ``tfcam.METHODS``. Or a function Reading -> (B, h, w),
            the raw maps.
        loss: "outside_energy", "squared_error", or a function of maps, which are signed, and masks,
            (B, H, W) or (B, D, H, W) each, that returns (B,).
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.
        options: The method's own options.

    Raises:
        ValueError: If the method has no derivative here, or the model takes something else.

    Source: Ross et al. 2017, "Right for the right reasons", for the idea on gradients of the input.

    Example:
        >>> import numpy as np, tfcam
        >>> scene = tfcam.scenes.draw_scene(1)
        >>> attention = AttentionLoss(tfcam.demo_model(), "features")
        >>> beside = attention(scene.image[np.newaxis], scene.masks, np.array(scene.labels))
        >>> 0 < float(beside[0]) < 1
        True
    """

    def __init__(
        self,
        model: keras.Model,
        layer: Layers = None,
        *,
        method: str | Callable[[Reading], tf.Tensor] = "grad_cam",
        loss: str | Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = "outside_energy",
        output: str | int | None = None,
        grid: tuple[int, ...] | None = None,
        **options: Any,
    ) -> None:
        request = ask(method, options, [option.name for option in DOORS["AttentionLoss"]])
        if not _is_formula(request.method):
            names = ", ".join(method.name for method in METHODS.values() if _is_formula(method))
            raise ValueError(
                "The method must be one formula of a layer's activations and gradients, so that "
                f"its map has a derivative; {request.method.name!r} is not. Use {names}."
            )
        if not callable(loss):
            check_choice("loss", loss, tuple(_LOSSES))
        self.model = model
        self._loss = loss if callable(loss) else _LOSSES[loss]
        self._asked = output
        self._positive = self._loss in _LOSSES.values()
        self._question = layer, [request], Settings(output=output, grid=grid)
        self._open(open_model(model))

    def _open(self, opened: OpenedModel) -> None:
        """Open the model as it is now."""
        self._input = opened.graph.check_one_image("AttentionLoss", volumes=True)
        self._structure = opened.graph.structure
        self._output = opened.graph.output(self._asked)
        # Not shared: what is computed here is part of the user's graph.
        self._engine = opened.engine(*self._question, shared=False)
        self._opened = opened

    def refreshed(self) -> OpenedModel:
        """Open the model anew where layers or their settings were changed; each call does so.

        Returns:
            The model as it is opened now: the same object as long as it was not changed.

        Raises:
            ValueError: If the layer, or what is asked for, is there no more.
        """
        with tf.init_scope():  # outside of what is being compiled
            opened = open_model(self.model)
            if opened is not self._opened:
                self._open(opened)
        return opened

    def __call__(self, images: Any, masks: Any, targets: Any) -> tf.Tensor:
        """Compute the loss of each image.

        Args:
            images: (B, H, W, C), or in another form, as the model takes them.
            masks: (B, H, W) or (B, H, W, 1), True or 1 where it should look, of any resolution;
                of boxes, ``tfcam.metrics.truth_mask`` makes one. Of videos and volumes
                (B, D, H, W) or (B, D, H, W, 1).
            targets: (B,) or (B, 1) class indices, or (B, C) what each logit counts for, such as
                one-hot labels. Of a single unit, which tells two classes apart, y in 0..1 counts
                for class 1 and 1 - y for class 0; one that was compiled with a loss of numbers,
                such as the mean squared error, is explained as its number. Of a model with several
                outputs those of ``output``, or of all in a dict, tuple or list.

        Returns:
            (B,) float32; 0 for an image whose mask is empty, of which nothing is known.

        Raises:
            ValueError: If the masks or the targets have another form.
        """
        self.refreshed()
        return self.measured(images, masks, self.explained(targets, self.model))

    def measured(self, images: Any, masks: Any, explained: tf.Tensor) -> tf.Tensor:
        """Compute the loss (B,) of each image, of what ``explained`` gives."""
        masks = self.checked_masks(masks)
        (given,) = split_inputs(images, self._structure, self.model.name)
        if isinstance(given, list | tuple) and len(given) == 1:
            (given,) = given
        raw = self._raw(self._input.as_known(tf.convert_to_tensor(given)), explained)
        size = tf.unstack(tf.shape(masks)[1:])
        maps = (
            evidence(raw, size) if self._positive else resized(raw[..., tf.newaxis], size)[..., 0]
        )
        return tf.where(has_mask(masks), self._loss(maps, masks), 0.0)

    def _raw(self, images: tf.Tensor, explained: tf.Tensor) -> tf.Tensor:
        """Compute the raw maps (B, h, w): in the user's graph, or run as other explanations are."""
        engine, (request,) = self._engine, self._question[1]

        def function(images: tf.Tensor, explained: tf.Tensor) -> tf.Tensor:
            return engine.compute(engine.submodel, images, [explained]).answers[0].raws[0][0]

        tensors = images, explained
        if not tf.executing_eagerly():
            return function(*tensors)
        kinds = ((tuple(tensor.shape), tensor.dtype) for tensor in tensors)
        return engine.runner((*kinds, *map(target_key, request.own)), function, tensors)(*tensors)

    def checked_masks(self, masks: Any) -> tf.Tensor:
        """Check masks and convert them to floats: (B, H, W), of volumes (B, D, H, W).

        Raises:
            ValueError: If they have another form.
        """
        form = "(B, D, H, W)" if self._input.is_volume else "(B, H, W)"
        tensor, rank = tf.convert_to_tensor(masks), len(self._input.sides) + 1
        if tensor.shape.rank == rank + 1 and tensor.shape[-1] == 1:
            tensor = tensor[..., 0]
        if tensor.shape.rank != rank:
            raise ValueError(
                f"Masks must be {form} or {form[:-1]}, 1), one for each image; got "
                f"{kind_of(masks)} of shape {tuple(tensor.shape)}."
            )
        return tf.cast(tensor, tf.float32)

    def explained(self, targets: Any, compiled: keras.Model) -> tf.Tensor:
        """Resolve targets to what is explained.

        Args:
            targets: As a call takes them.
            compiled: The model whose loss tells a number from a logit.

        Returns:
            Pairs of classes (B, 2), or weights of the logits (B, C).

        Raises:
            ValueError: If they are of another form.
        """
        labels = self._of_output(targets)
        classes = self._output.classes(self.model, None, compiled)
        shape = tuple(labels.shape)
        if classes.count == 1:
            return tf.tile([[NUMBER, NOTHING]], [tf.shape(labels)[0], 1])
        several = len(shape) == 2 and shape[1] != 1
        if len(shape) not in (1, 2) or (several and classes.count not in (None, shape[1])):
            raise ValueError(
                "Targets must be classes (B,) or (B, 1), or what each logit counts for, "
                f"(B, {classes.count or 'classes'}); got the shape {shape}."
            )
        if several:
            return tf.cast(labels, tf.float32)
        labels = tf.reshape(labels, [-1])
        if self._output.width == 1:
            return two_sides(labels[:, tf.newaxis], True)
        if not tf.is_symbolic_tensor(labels):
            labels = tf.constant(read_labels(labels, classes.count))
        return tf.stack([tf.cast(labels, tf.int32), tf.fill(tf.shape(labels), NOTHING)], axis=1)

    def _of_output(self, targets: Any) -> tf.Tensor:
        """Choose the targets of the explained output."""
        if isinstance(targets, list) and all(getattr(one, "shape", ()) for one in targets):
            targets = tuple(targets)  # of outputs; a list of numbers is of classes
        asked = self._output.place if isinstance(targets, tuple) else self._asked
        labels = tf.convert_to_tensor(label_of_output(targets, asked))
        if labels.dtype == tf.string:
            raise ValueError(
                "Targets must be numbers, class indices or what each logit counts for; got "
                "strings. Give the index of each label."
            )
        return labels


class AttentionModel(keras.Model):
    """A network that is trained with an attention loss: ``fit`` it on (images, (labels, masks)).

    The loss is that of ``compile`` + weight x the mean of the attention loss over the batch, where
    images with an empty mask count 0. Metrics see the labels alone; ``attention_loss`` is the mean
    over the images that have a mask. The layers are those of the network, which learns with it:
    predict, explain and save with either; ``save`` writes the network alone.

    Freeze batch normalisation where you fine-tune (``layer.trainable = False``): while it follows
    each batch, what learns the labels is not quite the network whose map is measured.

    Args:
        attention: An ``AttentionLoss`` of the network.
        weight: What the attention loss counts for, at least 0.

    Raises:
        ValueError: If the weight is negative.

    Example:
        >>> import numpy as np, tfcam
        >>> scenes = [tfcam.scenes.draw_scene(seed) for seed in range(4)]
        >>> images = np.stack([each.image for each in scenes])
        >>> labels = np.array([each.labels[0] for each in scenes])
        >>> masks = np.concatenate([each.masks for each in scenes])
        >>> learner = AttentionModel(AttentionLoss(tfcam.demo_model(), "features"), weight=2.0)
        >>> learner.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        >>> sorted(learner.fit(images, (labels, masks), verbose=0).history)
        ['accuracy', 'attention_loss', 'loss']
    """

    def __init__(self, attention: AttentionLoss, *, weight: float = 1.0) -> None:
        if not weight >= 0:
            raise ValueError(f"weight must be at least 0; got {weight}.")
        super().__init__(name=f"{attention.model.name}_with_attention")
        self.network = attention.model
        self._attention, self._weight = attention, float(weight)
        self._mean = keras.metrics.Mean(name="attention_loss")
        self._trained: OpenedModel | None = None
        self._tested: OpenedModel | None = None

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Run the network."""
        return self.network(inputs, training=training)

    def make_train_function(self, force: bool = False) -> None:
        """Compile a step of the training; anew where the network was changed since."""
        before, self._trained = self._trained, self._attention.refreshed()
        super().make_train_function(force or before is not self._trained)

    def make_test_function(self, force: bool = False) -> None:
        """Compile a step of ``evaluate``; anew where the network was changed since."""
        before, self._tested = self._tested, self._attention.refreshed()
        super().make_test_function(force or before is not self._tested)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Compute the loss of the labels, and of the maps where there are masks."""
        labels, masks = _split(y)
        loss = super().compute_loss(x, labels, y_pred, sample_weight, training)
        if masks is None:
            return loss
        self._attention.refreshed()
        masks = self._attention.checked_masks(masks)
        explained = self._attention.explained(labels, self)
        attention = self._attention.measured(x, masks, explained)
        counted = tf.cast(has_mask(masks), tf.float32)
        if sample_weight is not None:
            counted *= tf.reshape(tf.cast(sample_weight, tf.float32), [-1])
        self._mean.update_state(attention, counted)
        return loss + self._weight * tf.reduce_mean(attention * counted)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Compute the metrics of the labels; the attention's where there are masks."""
        labels, masks = _split(y)
        results = super().compute_metrics(x, labels, y_pred, sample_weight)
        if masks is None:
            results.pop(self._mean.name, None)
        return results

    def save(self, *args: Any, **kwargs: Any) -> Any:
        """Save the network alone, as ``keras.Model.save`` does."""
        return self.network.save(*args, **kwargs)


def has_mask(masks: tf.Tensor) -> tf.Tensor:
    """Tell whether something is known of an image: (B, H, W) or (B, D, H, W) -> (B,) bool."""
    return tf.reduce_any(masks > 0, axis=_sides(masks))


def _sides(maps: tf.Tensor) -> list[int]:
    """The axes of positions of a batch of maps."""
    return list(range(1, maps.shape.rank))


def _is_formula(method: Method) -> bool:
    return method.needs in _NEEDS and method.class_specific and method.contrast is None


def _split(y: Any) -> tuple[Any, Any]:
    """Split labels and masks; None where labels are all that is given."""
    return tuple(y) if isinstance(y, list | tuple) and len(y) == 2 else (y, None)
