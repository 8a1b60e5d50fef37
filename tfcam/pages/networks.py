"""The networks that a page offers: what each takes, its layers and methods, and its Python line."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from tfcam import scenes
from tfcam.engine.opened_model import OpenedModel, open_model
from tfcam.images.loading import load_image
from tfcam.methods.registry import METHODS, ask
from tfcam.model.labels import Labels
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.names import MODES, check_preprocess, split_window

# What a way to prepare pictures is called that is no name.
OWN_WAY = "as given"
YOURS = "model = ...  # your network"
_EMBEDDED = "model = tfcam.demo_model()"


class Place(NamedTuple):
    """A layer that can be chosen: its path, None for the words of a text, and what it is."""

    path: str | None
    words: str


@dataclass(frozen=True, eq=False)
class Network:
    """A network that a page offers.

    Attributes:
        name: What it is called on the page.
        model: The network.
        labels: Its labels, as ``tfcam.explain`` takes them.
        lines: The Python line that makes it, as ``model``.
        labels_code: How its labels are given in Python; "" where they need not be.
        preprocess: How its pictures are prepared, as ``tfcam.explain`` takes it.
        output: Which output is explained of several.

    Raises:
        ValueError: If it takes neither pictures nor texts, or gives neither classes nor a number.
    """

    name: str
    model: keras.Model
    labels: Labels | None = None
    lines: str = YOURS
    labels_code: str = ""
    preprocess: Preprocess = "auto"
    output: str | int | None = None

    def __post_init__(self) -> None:
        opened = self.opened
        if not (opened.is_text or (opened.axes == 3 and not opened.others)):
            raise ValueError(
                f"The page takes networks of pictures (H, W, C) or of texts, with one input; "
                f"{self.name!r} takes {len(opened.graph.inputs)} of shapes "
                f"{', '.join(str(one.shape) for one in opened.graph.inputs)}. Use tfcam.explain."
            )
        # A model of one's own class may not tell: then the page does, where it is asked.
        shape = getattr(self.model, "output_shape", None)
        if isinstance(shape, dict | list) and self.output is None:
            raise ValueError(
                f"{self.name!r} has {len(shape)} outputs: choose one with output=, by name or "
                "index."
            )
        if isinstance(shape, tuple) and any(side != 1 for side in shape[1:-1]):
            raise ValueError(
                f"The page explains classes or one number; {self.name!r} returns {shape}. Use "
                "tfcam.explain with a target such as tfcam.Segmentation."
            )

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways to prepare its pictures that can be chosen, its own first."""
        own = self.preprocess if isinstance(self.preprocess, str) else OWN_WAY
        return tuple(dict.fromkeys((own, "auto", *MODES)))

    def read(self, picture: Any) -> np.ndarray:
        """Read a picture, of a window where there is one: (H, W, 3) uint8.

        Raises:
            ValueError: If it is none.
        """
        return load_image(picture, window=split_window(self.preprocess)[0])

    @property
    def told(self) -> dict[str, Any]:
        """What the functions of tfcam are told of it."""
        return {
            "labels": self.labels,
            "preprocess": split_window(self.preprocess)[1],  # pictures are read with the window
            "output": self.output,
        }

    @property
    def told_code(self) -> list[str]:
        """The same as Python, but for what is so by default."""
        labels = [f"labels={self.labels_code}"] if self.labels_code else []
        if isinstance(self.preprocess, str | None):
            ways = [f"preprocess={self.preprocess!r}"] if self.preprocess != "auto" else []
        else:
            ways = ["preprocess=..."]
        return [*labels, *ways, *([] if self.output is None else [f"output={self.output!r}"])]

    @property
    def opened(self) -> OpenedModel:
        """The network as tfcam explains it."""
        return open_model(self.model, None)

    @property
    def is_text(self) -> bool:
        """Whether it takes texts, else pictures."""
        return self.opened.is_text

    @property
    def is_embedded(self) -> bool:
        """Whether it is the one that comes with tfcam, which examples can be drawn for."""
        return self.lines == _EMBEDDED

    @property
    def is_black_box(self) -> bool:
        """Whether it can be asked for scores alone."""
        return self.opened.graph.is_black_box

    @property
    def classes(self) -> int | None:
        """The number of classes that it tells apart; None where it tells none."""
        told = self.opened.classes(self.output)
        return None if told.number or told.count == 1 else told.count

    @functools.cached_property
    def places(self) -> tuple[Place, ...]:
        """The layers with maps, from the first to the last; of texts the words come before them."""
        start = (Place(None, "the words themselves"),) if self.is_text else ()
        try:
            listed = self.opened.graph.layers(self.opened.which)
        except ValueError:  # it has none
            return start
        rows = zip(listed, listed.rows()[1:], strict=True)
        return start + tuple(Place(one.path, f"{one.path}, {row[3]}") for one, row in rows)

    @functools.cached_property
    def usual_place(self) -> int:
        """Which of the places is explained where none is chosen."""
        if self.is_text or not self.places:
            return 0
        listed = self.opened.graph.layers(self.opened.which)
        paths = [one.path for one in listed]
        return paths.index(listed.default) if listed.default in paths else len(paths) - 1

    @functools.cached_property
    def methods(self) -> tuple[str, ...]:
        """The methods that may apply, the usual one first."""
        if self.is_black_box:
            names = [name for name, method in METHODS.items() if method.asks_scores_alone]
        else:
            layered = [name for name, method in METHODS.items() if self.places or not method.placed]
            names = [name for name in layered if not self.is_text or _reads_words(name)]
        usual = ("grad_cam", "integrated_gradients", "saliency", "occlusion")  # the first that is
        first = next((name for name in usual if name in names), names[0])
        return (first, *(name for name in names if name != first))


def _reads_words(name: str) -> bool:
    method = ask(name, {}).at(None, of_text=True).method
    return method.at_words or method.hides_words


def offered(
    model: Any,
    labels: Labels | None = None,
    preprocess: Preprocess = "auto",
    output: str | int | None = None,
) -> tuple[Network, ...]:
    """List what a page offers.

    Args:
        model: A Keras model, a ``Network``, several of them in a list, or a dict of names and
            models.
        labels: The labels of models that are no ``Network``.
        preprocess: How their pictures are prepared.
        output: Which of their outputs is explained.

    Raises:
        ValueError: If there is none, or one takes neither pictures nor texts.

    Example:
        >>> from tfcam.demo import demo_model
        >>> [network.name for network in offered({"mine": demo_model()})]
        ['mine']
    """
    pairs: list[tuple[str, Any]]
    if isinstance(model, Mapping):
        pairs = list(model.items())
    else:
        several = list(model) if isinstance(model, Sequence) else [model]
        pairs = [(getattr(one, "name", ""), one) for one in several]
    if not pairs:
        raise ValueError("model must be a model or several; got none.")
    told: dict[str, Any] = {
        "labels": labels,
        "preprocess": check_preprocess(preprocess),
        "output": output,
    }
    made: Any = functools.partial(Network, **told)
    names: dict[str, int] = {}
    networks = []
    for name, one in pairs:
        names[name] = names.get(name, 0) + 1
        unique = name if names[name] == 1 else f"{name} ({names[name]})"
        networks.append(one if isinstance(one, Network) else made(unique, one))
    return tuple(networks)


def embedded() -> Network:
    """The network that comes with tfcam."""
    from tfcam.demo import demo_model

    return Network(
        "shapes",
        demo_model(),
        list(scenes.KINDS),
        _EMBEDDED,
        "tfcam.scenes.KINDS",
    )


def example(number: int) -> np.ndarray:
    """Draw a picture for the embedded network: (128, 128, 3) uint8."""
    return scenes.draw_scene(number).image
