"""Keras callbacks: what a network looks at while it learns."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf

from tfcam.explainer.explainer import Explainer
from tfcam.figures.contact_sheet import Cell, ContactSheet, Heading
from tfcam.figures.overlays import COLORMAP
from tfcam.images.loading import is_prepared, load_image
from tfcam.metrics.checks import checked_boxes
from tfcam.metrics.localisation import box_iou, pointing_game
from tfcam.model.taps import Layers
from tfcam.passes.reading import Reading
from tfcam.results.comparison import reduced
from tfcam.results.explanation import Explanation, Explanations
from tfcam.targets.classes import Target
from tfcam.utils.files import write_whole
from tfcam.utils.validation import check_count

_SCORES = ("explain_box_iou", "explain_pointing_game")


_COLUMNS, _DPI = 4, 100


class ExplainCallback(keras.callbacks.Callback):
    """Explains the same images again and again while a model is trained.

    It does so after the first epoch, then ``every`` so many, and after the last: a card for each
    image in TensorBoard, one figure for each epoch in a folder. With ``boxes``, the mean overlap of
    boxes and the share of hits of the pointing game are in the epoch's ``logs`` as
    ``explain_box_iou`` and ``explain_pointing_game``, for History and for callbacks that come after
    this one, such as CSVLogger or EarlyStopping; between two measurements they keep the last
    numbers.

    Training is not changed: the weights are the same bits with and without it. Its cost is
    bounded: while it has taken more than ``max_share`` of the time trained so far, maps that are
    due are left out, which it says once, and in ``skipped``. Made whatever they cost are the maps
    of the first and the last epoch, and those of a trial before training, which finds what does
    not fit before an epoch is lost.

    Args:
        images: The pictures to explain, a handful, as ``tfcam.explain`` takes them; files are read
            once.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the map that feeds the last global pooling, or
            else the last map. Several, or "all_convolutions", are fused into one map. Several are a
            list; layer objects are taken, too.
        boxes: The true boxes of each image, (n, 4) [x0, y0, x1, y1) in its pixels; None for an
            image that has none.
        target: The class that is explained: an index, or a label where labels are known; by default
            the one that the model predicts. Also a ``tfcam.Difference``, or a callable outputs ->
            (B,) on the outputs before the final softmax or sigmoid, such as ``tfcam.Segmentation``.
            Of a batch a list of these, one for each image.
        method: The method, by its name in ``tfcam.METHODS``. Or a function Reading -> (B, h, w),
            the raw maps.
        every: Number of epochs from one explanation to the next.
        max_share: The share of the training time that it may take, in (0, 1]; None for no bound.
        log_dir: TensorBoard's folder; by default nothing is logged. The run is called "explain"
            there. An epoch's step is its index from 0, as in Keras's own TensorBoard callback.
        folder: The folder where ``epoch_001.png`` and so on are written; by default none is.
        options: Further options of ``tfcam.Explainer``, such as ``labels`` or ``preprocess``.

    Attributes:
        explanations: The newest ``Explanations``.
        scores: The newest numbers, as in the logs.
        skipped: The indices of the epochs whose maps were left out, as they cost too much.
        seconds: What it has taken of the training time.

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
        method: str | Callable[[Reading], tf.Tensor] = "grad_cam",
        every: int = 1,
        max_share: float | None = 0.03,
        log_dir: str | os.PathLike[str] | None = None,
        folder: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._images = _pictures(images)
        self._boxes = _boxes(boxes, len(self._images))
        if log_dir is None and folder is None and boxes is None:
            raise ValueError(
                "Something must come of the maps: give log_dir, folder, boxes or several of these."
            )
        if max_share is not None and not 0 < max_share <= 1:
            raise ValueError(f"max_share must be in (0, 1], or None; got {max_share}.")
        self._every, self._max_share = check_count("every", every), max_share
        self._log_dir, self._folder = log_dir, None if folder is None else Path(folder)
        # Keras shows how far the training is.
        self._asked = {"layer": layer, "method": method, "progress": False, **options}
        self._target = target
        self._writer: Any = None
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
                self._measured(self._explain())

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
            self._explainer = Explainer(self.model, **self._asked)
        return self._explainer(self._images, self._target)

    def _measured(self, found: Explanations) -> list[tuple[float, float] | None]:
        """Of each image with boxes their overlap, and whether the map points at one of them."""
        return [
            None if truths is None else _against(each, truths)
            for each, truths in zip(found, self._boxes, strict=True)
        ]

    def _show(self, epoch: int) -> None:
        with self._timed():
            found = self._explain()
            measured = self._measured(found)
            known = [each for each in measured if each is not None]
            if known:
                self.scores = dict(zip(_SCORES, np.mean(known, axis=0).tolist(), strict=True))
            self.explanations, self._shown = found, epoch
            cells = [_cell(*each) for each in zip(found, self._boxes, measured, strict=True)]
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
                picture = self._drawn(epoch, found[0], cells)
                write_whole(self._folder / f"epoch_{epoch + 1:03d}.png", picture)
            if self._log_dir is not None:
                self._log(os.fspath(self._log_dir), epoch, cells)

    def _drawn(self, epoch: int, found: Explanation, cells: list[Cell]) -> bytes:
        rows = [cells[at : at + _COLUMNS] for at in range(0, len(cells), _COLUMNS)]
        where = f" at {found.layer}" if found.layer else ""
        headline = f"epoch {epoch + 1} of {self.params.get('epochs')}: {found.method}{where}"
        boxed = any(each is not None for each in self._boxes)
        foot = ["The true boxes are drawn in white."] if boxed else []
        return _sheet(rows, headline, foot, "of each map's maximum").rendered("png", _DPI)

    def _log(self, folder: str, epoch: int, cells: list[Cell]) -> None:
        """One picture each, as wide as TensorBoard shows them: all in one could not be read."""
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(tf.io.gfile.join(folder, "explain"))
        with self._writer.as_default(step=epoch):
            for number, cell in enumerate(cells, 1):
                picture = _sheet([[cell]], "", [], None).pixels(_DPI)
                tf.summary.image(f"explain/image_{number:02d}", picture[np.newaxis])
            for name, value in self.scores.items():
                tf.summary.scalar(name.replace("_", "/", 1), value)
        self._writer.flush()


def _sheet(rows: list[list[Cell]], headline: str, foot: list[str], bar: str | None) -> ContactSheet:
    columns, titles = [Heading("")] * len(rows[0]), [Heading("")] * len(rows)
    return ContactSheet(rows, columns, titles, headline, foot, bar, COLORMAP)


def _pictures(images: Any) -> list[Any]:
    """The images one by one, those in files read."""
    if not isinstance(images, list | tuple) and getattr(images, "ndim", 0) != 4:
        raise TypeError(
            "images must be a list of pictures, or an array (B, H, W, C); got "
            f"{type(images).__name__}."
        )
    if not len(images):
        raise ValueError("There must be at least one image to explain; got none.")
    return [each if is_prepared(each) else load_image(each) for each in images]


def _boxes(boxes: Sequence[Any] | None, count: int) -> list[np.ndarray | None]:
    if boxes is None:
        return [None] * count
    if len(boxes) != count:
        raise ValueError(
            "boxes must hold the boxes (n, 4) of each image, or None for one that has none; got "
            f"{len(boxes)} for {count} images."
        )
    return [None if each is None else checked_boxes(each) for each in boxes]


def _against(found: Explanation, truths: np.ndarray) -> tuple[float, float]:
    """A map that is not finite finds nothing: it must not end a training."""
    if not np.isfinite(found.heatmap).all():
        return 0.0, 0.0
    return box_iou(found.heatmap, truths), float(pointing_game(found.heatmap, truths))


def _cell(
    found: Explanation, truths: np.ndarray | None, measured: tuple[float, float] | None
) -> Cell:
    small = reduced(found)
    picture = small.picture().copy()
    if truths is not None:
        step = found.heatmap.shape[1] / small.heatmap.shape[1]
        _outline(picture, truths / step)
    notes = [each.code for each in found.findings]
    if measured is not None:
        notes.insert(0, f"box IoU {measured[0]:.2f}, points {'at' if measured[1] else 'beside'} it")
    return Cell(picture, found.title.rsplit("\n", 1)[0], tuple(notes))


def _outline(picture: np.ndarray, boxes: np.ndarray) -> None:
    """Draw boxes, white with a black edge, which is seen on all colours."""
    width = max(1, max(picture.shape) // 200)
    for x0, y0, x1, y1 in np.round(boxes).astype(int).tolist():
        for colour, thickness in ((0, 3 * width), (255, width)):
            cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), (colour,) * 3, thickness)
