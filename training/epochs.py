"""What each epoch of a training gave: log.csv, and its curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

from tfcam.utils.files import write_whole
from training.recipes import Recipe


class BestModel(keras.callbacks.Callback):
    """Keeps the model with the lowest validation loss; its file is always whole.

    Keras's own ModelCheckpoint writes over the old file: killed meanwhile, neither is left.
    """

    def __init__(self, path: Path, lowest: float | None) -> None:
        super().__init__()
        self._path, self._lowest = path, np.inf if lowest is None else lowest

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {})["val_loss"]
        if loss < self._lowest:
            beside = self._path.with_name(f".new.{self._path.name}")
            self.model.save(beside)
            beside.replace(self._path)
            self._lowest = loss


class EpochLog(keras.callbacks.Callback):
    """Writes log.csv anew after each epoch: a repeated epoch replaces its row."""

    def __init__(self, output: Path, stage: int) -> None:
        super().__init__()
        self._output, self._stage = output, stage

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        mine = (self._stage, epoch)
        rows = [row for row in read_log(self._output) if (row["stage"], row["epoch"]) < mine]
        rows.append({"stage": self._stage, "epoch": epoch, **(logs or {})})
        with io.StringIO(newline="") as text:
            writer = csv.DictWriter(text, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
            write_whole(self._output / "log.csv", text.getvalue().encode())


class Backup(keras.callbacks.Callback):
    """Keeps the weights and the optimizer's state after each epoch; its file is always whole.

    Keras's own BackupAndRestore writes weights, then the epoch that they are of: killed between the
    two, it would learn an epoch twice.

    Args:
        folder: Of one file, named after the number of epochs that are done.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def restore(self, model: keras.Model) -> int:
        """Bring a compiled model to where it was, or note where it begins.

        Returns:
            The number of epochs that are done.
        """
        model.optimizer.build(model.trainable_variables)
        if files := self._files():
            model.load_weights(max(files))
            return int(max(files).name.split(".")[0])
        self._write(model, 0)  # the best model, from which it begins, may become another
        return 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._write(self.model, epoch + 1)

    def _write(self, model: keras.Model, done: int) -> None:
        self._folder.mkdir(exist_ok=True)
        beside, file = self._folder / ".new.weights.h5", self._folder / f"{done:04d}.weights.h5"
        model.save_weights(beside, overwrite=True)
        beside.replace(file)
        for other in self._files():
            if other != file:
                other.unlink()

    def _files(self) -> list[Path]:
        return list(self._folder.glob("[0-9]*.weights.h5"))


class Reseeded(keras.callbacks.Callback):
    """Draws what an epoch leaves to chance, as dropout, from the seed, the stage and the epoch."""

    def __init__(self, seed: int, stage: int) -> None:
        super().__init__()
        self._seed = seed, stage

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        drawn = np.random.SeedSequence((*self._seed, epoch))
        states = [each for each in self.model.variables if each.name == "seed_generator_state"]
        for state, seed in zip(states, drawn.spawn(len(states)), strict=True):
            state.assign(seed.generate_state(2))


class Patience(keras.callbacks.Callback):
    """Ends a stage after so many epochs without a better validation loss.

    Keras's own EarlyStopping knows nothing of the epochs of an earlier start.

    Args:
        epochs: After how many.
        lowest: The loss of earlier stages, to be beaten; None if there is none.
        losses: Of the epochs of this stage that are done.
    """

    def __init__(self, epochs: int, lowest: float | None, losses: Sequence[float]) -> None:
        super().__init__()
        self._epochs, self._since = epochs, 0
        self._lowest = np.inf if lowest is None else lowest
        for loss in losses:
            self._note(loss)

    @property
    def ended(self) -> bool:
        """Whether the losses so far end it."""
        return self._since >= self._epochs

    def _note(self, loss: float) -> None:
        self._since = 0 if loss < self._lowest else self._since + 1
        self._lowest = min(self._lowest, loss)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._note((logs or {})["val_loss"])
        if self.ended:
            self.model.stop_training = True


def read_log(output: Path) -> list[dict[str, float]]:
    """The rows of log.csv: stage, epoch, loss, accuracy, val_loss, val_accuracy."""
    if not (output / "log.csv").exists():
        return []
    with (output / "log.csv").open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def draw_curves(rows: Sequence[dict[str, float]], recipe: Recipe) -> Figure:
    """Loss and accuracy over the epochs of all stages."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    epochs = np.arange(1, len(rows) + 1)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for prefix, label, style in (("", "train", "--"), ("val_", recipe.validated_on, "-")):
            values = [row[prefix + name] for row in rows]
            axes.plot(epochs, values, style, marker="o", markersize=3, label=label)
        for number, stage in enumerate(recipe.stages):
            first = sum(row["stage"] < number for row in rows)
            if number:
                axes.axvline(first + 0.5, color="0.7", linewidth=1)
            label = axes.annotate(
                f" {stage.name} learns",
                (first + 0.5, 0.5),
                (0, 0),
                fontsize=8,
                color="0.4",
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
            )
            label.set_in_layout(False)  # it would push the axes aside where there are few epochs
        axes.set(xlabel="epoch", ylabel=name, xlim=(0.5, len(rows) + 0.5))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
