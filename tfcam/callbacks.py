"""Keras callbacks: what a network looks at while it learns."""

from __future__ import annotations

import tfcam.utils.backend  # noqa: F401  # before Keras loads what is not TensorFlow

# isort: split

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcam import maps
from tfcam.data.together import are_together, copy_arrays, count_images
from tfcam.engine.options import Score
from tfcam.explainer.explainer import Explainer
from tfcam.figures.contact_sheet import Cell
from tfcam.images.loading import load_image
from tfcam.images.window import Window
from tfcam.metrics.checks import checked_boxes
from tfcam.metrics.localisation import box_iou, pointing_game
from tfcam.model.labels import Labels
from tfcam.model.taps import Layers
from tfcam.passes.reading import Reading
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.samples import listed_pictures, listed_strings
from tfcam.results.cards import Card, lay_out_cards
from tfcam.results.explanation import Explanation
from tfcam.results.explanations import Explanations
from tfcam.results.sheets import shrink
from tfcam.targets.classes import Target
from tfcam.targets.labels import label_of_output
from tfcam.utils.files import write_whole
from tfcam.utils.opencv import cv2
from tfcam.utils.paths import as_path
from tfcam.utils.validation import check_count

_SCORES = ("explain_box_iou", "explain_pointing_game")


_DPI = 100


class _Localisation(NamedTuple):
    """How well a map lies on the true boxes.

    Attributes:
        box_iou: The overlap of its box with the nearest true one.
        hit: 1 where it points at one of them, else 0.
    """

    box_iou: float
    hit: float


class ExplainCallback(keras.callbacks.Callback):
    """Explains the same images, videos, volumes or texts again and again while a model is trained.

    It does so after the first epoch, then after each ``every`` epochs, and after the last: a card
    for each image in TensorBoard, one figure for each epoch in a folder. Texts are drawn as their
    words, red for what is explained and blue against it, videos as frames, volumes as slices. With
    ``boxes``, the mean overlap of boxes and the share of hits of the pointing game are in the
    epoch's ``logs`` as ``explain_box_iou`` and ``explain_pointing_game``, for History and for
    callbacks that come after this one, such as CSVLogger or EarlyStopping; between two measurements
    they keep the last numbers.

    Training is not changed: the weights are the same bits with and without it. Its cost is
    bounded: while it has taken more than ``max_share`` of the time trained so far, maps that are
    due are left out, which it says once, and in ``skipped``. The maps of the first and the last
    epoch are made whatever they cost, and so are those of a trial before training, which finds
    what does not fit before an epoch is lost.

    Args:
        images: The pictures to explain, a handful, as ``tfcam.explain`` takes them, such as a batch
            of a data set with its labels; files are read once. Of a model with several inputs a
            batch of each, in a tuple or a dict. For a model of texts a list of strings.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Several, or
            "all_convolutions", are fused into one map. Several are a list; layer objects are taken,
            too.
        boxes: The true boxes of each image, (n, 4) [x0, y0, x1, y1) in its pixels; None for an
            image that has none.
        target: The class that is explained: an index, or a label where labels are known; by default
            the one that the model predicts. Also a ``tfcam.Difference``, or a callable outputs ->
            (B,) on the outputs before the final softmax or sigmoid, such as ``tfcam.Segmentation``.
            Of a batch a list of these, one for each image.
        method: The method, by its name in ``tfcam.METHODS``; by default grad_cam, and of a text,
            where no layer is given, integrated_gradients at the embeddings of its words. Or a
            function Reading -> (B, h, w), the raw maps.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        score: The number that is explained: "logit", the score before the final softmax or sigmoid,
            or "probability", the one after it.
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.
        fuse: How the maps of several layers become one, pixel by pixel: "max", "mean", "product",
            or "tanh_max", which lifts what is faint in shallow layers.
        augment: Average the maps of six views: mirrored or not, at three sizes.
        eigen: Combine the weighted channels to their first principal component instead of their
            sum, which smooths the map.
        batch_size: Number of images that are computed at once; fewer take less memory.
        every: Number of epochs from one explanation to the next.
        max_share: The share of the training time that it may take, in (0, 1]; None for no bound.
        log_dir: TensorBoard's folder; by default nothing is logged. The run is called "explain"
            there. An epoch's step is its index from 0, as in Keras's own TensorBoard callback.
        folder: The folder where ``epoch_001.png`` and so on are written; by default none is.
        options: The method's own options, such as ``normalize_alpha=True`` of "grad_cam_pp".

    Attributes:
        explanations: The newest ``Explanations``.
        scores: The newest numbers, as in the logs.
        skipped: The indices of the epochs whose maps were left out, as they cost too much.
        seconds: The time that it has taken of the training.

    Raises:
        ValueError: If nothing would come of it, or the arguments do not fit each other.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import tfcam
        >>> scenes = [tfcam.scenes.draw_scene(seed) for seed in range(2)]
        >>> model = tfcam.demo_model()
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> images = np.stack([each.image for each in scenes])
        >>> labels = np.array([each.labels[0] for each in scenes])
        >>> look = ExplainCallback(images, target=labels, boxes=[each.boxes for each in scenes])
        >>> history = model.fit(images, labels, epochs=2, verbose=0, callbacks=[look]).history
        >>> history["explain_pointing_game"]
        [1.0, 1.0]
    """

    def __init__(
        self,
        images: Any,
        layer: Layers = None,
        *,
        boxes: Sequence[Any] | None = None,
        target: Target | Sequence[Target] | np.ndarray = None,
        method: str | Callable[[Reading], tf.Tensor] | None = None,
        preprocess: Preprocess = "auto",
        labels: Labels | None = None,
        score: Score = "logit",
        input: str | int | None = None,
        output: str | int | None = None,
        grid: tuple[int, ...] | None = None,
        fuse: maps.Fusion = "max",
        augment: bool = False,
        eigen: bool = False,
        batch_size: int = 32,
        every: int = 1,
        max_share: float | None = 0.03,
        log_dir: str | os.PathLike[str] | None = None,
        folder: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if isinstance(preprocess, Window) and not are_together(images):
            images = [load_image(image, window=preprocess.limits) for image in images]
            preprocess = preprocess.preprocess or "raw"
        # Whether strings are texts or files, the model says, which is not known yet.
        self._strings = None if are_together(images) else listed_strings(images)
        self._images = self._strings or _copied(images)
        self._boxes = _boxes(boxes, count_images(self._images))
        if log_dir is None and folder is None and boxes is None:
            raise ValueError(
                "Something must come of the maps: give log_dir, folder, boxes or several of these."
            )
        if max_share is not None and not 0 < max_share <= 1:
            raise ValueError(f"max_share must be in (0, 1], or None; got {max_share}.")
        self._every, self._max_share = check_count("every", every), max_share
        self._log_dir = None if log_dir is None else as_path(log_dir, "log_dir")
        self._folder = None if folder is None else as_path(folder, "folder")
        if "freeze" in options:
            raise TypeError("ExplainCallback has no freeze: it explains weights that change.")
        shared = {"layer": layer, "method": method, "preprocess": preprocess, "labels": labels}
        shared |= {"score": score, "input": input, "output": output, "grid": grid, "fuse": fuse}
        shared |= {"augment": augment, "eigen": eigen, "batch_size": batch_size}
        # Keras shows how far the training is.
        self._options: dict[str, Any] = {**shared, "progress": False, **options}
        self._target = _of_output(target, output)
        self._writer: tf.summary.SummaryWriter | None = None
        self.explanations: Explanations | None = None
        self.scores: dict[str, float] = {}
        self.skipped: list[int] = []
        self.seconds = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Try what will be done after the epochs."""
        self._start, self.seconds, self.skipped, self.scores = time.perf_counter(), 0.0, [], {}
        self._epoch: int | None = None
        self._shown: int | None = None
        self._explainer: Explainer | None = None
        if self.model.built:  # some are not before their first batch
            with self._timed():
                self._measure(self._explain())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Explain, where it is due and not too dear, and add the numbers to the logs."""
        first, self._epoch = self._epoch is None, epoch
        last = self.model.stop_training or epoch + 1 == self.params.get("epochs")
        if first or last or epoch % self._every == 0:
            if first or last or self._affordable():
                self._show(epoch)
            else:
                self._skip(epoch)
        if logs is not None:
            logs.update(self.scores)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Explain the last epoch where that was not done, and close what is open."""
        if self._shown != self._epoch and self._epoch is not None:
            self._show(self._epoch)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _affordable(self) -> bool:
        if self._max_share is None:
            return True
        trained = time.perf_counter() - self._start - self.seconds
        return self.seconds <= self._max_share * trained

    def _skip(self, epoch: int) -> None:
        if not self.skipped and self.params.get("verbose"):
            print(
                f"ExplainCallback leaves out epoch {epoch + 1}: with its {self.seconds:.1f} s it "
                f"has taken more than {self._max_share:.1%} of the training (max_share). It goes "
                "on when that is made up for.",
                flush=True,
            )
        self.skipped.append(epoch)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start

    def _explain(self) -> Explanations:
        if self._explainer is None:
            self._explainer = Explainer(self.model, **self._options)
            opened = self._explainer.pipeline.opened
            taken = opened.input
            if not (taken.is_visual or opened.is_text):
                raise ValueError(
                    "ExplainCallback draws pictures, videos, volumes and texts, and "
                    f"{self.model.name!r} takes {taken.shape}. Explain it by "
                    "tfcam.Explainer in a callback of your own, or after training."
                )
            self._check_boxes("texts" if opened.is_text else taken.form.kinds if taken.form else "")
            self._read_strings(opened.is_text)
        return self._explainer(self._images, self._target)

    def _check_boxes(self, others: str) -> None:
        if others and any(boxes is not None for boxes in self._boxes):
            raise ValueError(
                f"boxes are for pictures, but the model takes {others}; leave them out."
            )

    def _read_strings(self, of_text: bool) -> None:
        """Read the files that strings name, but of a model of texts take these as they are."""
        if self._strings is not None and not of_text:
            self._images = listed_pictures(self._strings)
        self._strings = None

    def _measure(self, explanations: Explanations) -> list[_Localisation | None]:
        """Measure each image that has boxes."""
        return [
            None if boxes is None else _localise(explanation, boxes)
            for explanation, boxes in zip(explanations, self._boxes, strict=True)
        ]

    def _show(self, epoch: int) -> None:
        """Explain the images; draw, log and measure what comes of it."""
        with self._timed():
            explanations = self._explain()
            localisations = self._measure(explanations)
            measured = [numbers for numbers in localisations if numbers is not None]
            if measured:
                self.scores = dict(zip(_SCORES, np.mean(measured, axis=0).tolist(), strict=True))
            self.explanations, self._shown = explanations, epoch
            cards = list(map(_card, explanations, self._boxes, localisations))
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
                picture = self._draw(epoch, explanations[0], cards)
                write_whole(self._folder / f"epoch_{epoch + 1:03d}.png", picture)
            if self._log_dir is not None:
                self._log(os.fspath(self._log_dir), epoch, cards)

    def _draw(self, epoch: int, first: Explanation, cards: list[Card]) -> bytes:
        """Draw the figure of an epoch as a PNG file."""
        where = f" at {first.layer}" if first.layer else ""
        headline = f"epoch {epoch + 1} of {self.params.get('epochs')}: {first.method}{where}"
        boxed = any(boxes is not None for boxes in self._boxes)
        foot = ["The true boxes are drawn in white."] if boxed else []
        return lay_out_cards(cards, headline, foot, "of each map's maximum").render("png", _DPI)

    def _log(self, folder: str, epoch: int, cards: list[Card]) -> None:
        """Log one picture each, as wide as TensorBoard shows them: all in one could not be read."""
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(tf.io.gfile.join(folder, "explain"))
        with self._writer.as_default(step=epoch):
            for number, card in enumerate(cards, 1):
                picture = lay_out_cards([card], "", [], None).rasterize(_DPI)
                kind = "text" if isinstance(card, Explanation) and card.words else "image"
                tf.summary.image(f"explain/{kind}_{number:02d}", picture[np.newaxis])
            for name, value in self.scores.items():
                tf.summary.scalar(name.replace("_", "/", 1), value)
        self._writer.flush()


def _of_output(target: Any, output: str | int | None) -> Any:
    """Choose the labels of the explained output, where those of several are given."""
    arrays = isinstance(target, tuple) and all(getattr(one, "shape", ()) for one in target)
    if isinstance(target, Mapping) or arrays:
        target = label_of_output(target, output)
    rows = isinstance(target, list) and target and all(isinstance(one, list) for one in target)
    return np.asarray(target) if rows else target


def _copied(images: Any) -> Any:
    """Copy pictures, those in files read: they stay as they are."""
    return copy_arrays(images) if are_together(images) else listed_pictures(images)


def _boxes(boxes: Sequence[Any] | None, count: int) -> list[np.ndarray | None]:
    if boxes is None:
        return [None] * count
    if len(boxes) != count:
        raise ValueError(
            "boxes must hold the boxes (n, 4) of each image, or None for one that has none; got "
            f"{len(boxes)} for {count} images."
        )
    return [None if own is None else checked_boxes(own) for own in boxes]


def _localise(explanation: Explanation, boxes: np.ndarray) -> _Localisation:
    """Measure a map; one that is not finite finds nothing: it must not end a training."""
    heatmap = explanation.heatmap
    if not np.isfinite(heatmap).all():
        return _Localisation(0.0, 0.0)
    return _Localisation(box_iou(heatmap, boxes), float(pointing_game(heatmap, boxes)))


def _card(
    explanation: Explanation, boxes: np.ndarray | None, localisation: _Localisation | None
) -> Card:
    """What is drawn of an explanation; texts and volumes are drawn as ``plot`` draws them."""
    whole = explanation.words or explanation.heatmap.ndim == 3
    return explanation if whole else _cell(explanation, boxes, localisation)


def _cell(
    explanation: Explanation, boxes: np.ndarray | None, localisation: _Localisation | None
) -> Cell:
    """Draw an explanation with the true boxes, and note what was measured and found."""
    small = shrink(explanation)
    picture = small.picture().copy()
    if boxes is not None:
        step = explanation.heatmap.shape[1] / small.heatmap.shape[1]
        _outline(picture, boxes / step)
    notes = [finding.code for finding in explanation.findings]
    if localisation is not None:
        side = "at" if localisation.hit else "beside"
        notes.insert(0, f"box IoU {localisation.box_iou:.2f}, points {side} it")
    return Cell(picture, explanation.title.rsplit("\n", 1)[0], tuple(notes))


def _outline(picture: np.ndarray, boxes: np.ndarray) -> None:
    """Draw boxes, white with a black edge, which is seen on all colours."""
    width = max(1, max(picture.shape) // 200)
    for x0, y0, x1, y1 in np.round(boxes).astype(int).tolist():
        for colour, thickness in ((0, 3 * width), (255, width)):
            cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), (colour,) * 3, thickness)
