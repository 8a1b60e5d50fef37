"""``METHODS``, and how a function becomes one of them."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tfcam.maps.scaling import Shown
from tfcam.passes.reading import Need, Reading
from tfcam.utils.suggestions import did_you_mean
from tfcam.utils.validation import LARGEST, check_choice, shown

METHODS: dict[str, Method] = {}
# Of options that are no plain values: the name of their type -> refuses what is none of it.
OPTION_CHECKS: dict[str, Callable[[Any], object]] = {}

Function = TypeVar("Function", bound=Callable[..., Any])


# What a method asks for at a layer in place of what it asks for of the image.
_AT_LAYER = {Need.IMAGE_GRADIENTS: Need.GRADIENTS, Need.NETWORK: Need.HEAD}

_LARGEST_FLOAT = float(tf.float32.max)


@dataclass(frozen=True)
class Method:
    """A map's function and what it needs from a reading besides the activations.

    Attributes:
        name: Its name, as ``method=`` takes it.
        function: Reading -> raw map, or (raw map, {name: number of each image}) where the method
            also measures something, such as its own error.
        needs: What its reading must hold.
        wants: What its reading holds where that can be had.
        pixels: Whether the map has the resolution and channels of the model's input.
        passes: Its cost for an image: forward (F) and backward (B) passes of the network.
        of_class: Whether the map is one of the explained class: "yes", "partly" where it also
            shows what speaks for others, "no" where it is nearly the same for all.
        contrast: Turns logits and pairs of classes, with the method's options, into what each
            logit counts for, where that is not the class alone.
        combines: Whether it combines channels, which ``eigen=True`` does in another way.
        shown_as: What a heatmap shows of its raw map, as ``maps.scaling.shown_values`` takes it, or
            a function of its options that tells; None for the size of pixels' values, and of other
            maps what is positive.
        of_layer: Of a method that explains the input, what it does instead where a layer is given,
            and of a text at the embeddings of its words: a function of the same options -> raw map
            (B, h, w).
        of_words: What it does at the embeddings alone.
        at_words: Whether it explains the embeddings of words where no layer is given.
        hides_words: Whether it may hide the words of a text, which is no small change.
        one_by_one: Whether it hides them one by one, so that one trace serves any number of them.
        any_length: Whether one trace serves texts of any length, where the model has it open.
    """

    name: str
    function: Callable[..., Any]
    needs: Need = Need.GRADIENTS
    wants: Need = Need.NOTHING
    pixels: bool = False
    passes: str = "F + B"
    of_class: str = "yes"
    contrast: Callable[..., tf.Tensor] | None = None
    combines: bool = True
    shown_as: Shown | Callable[..., Shown] | None = None
    of_layer: Callable[..., Any] | None = None
    of_words: Callable[..., Any] | None = None
    at_words: bool = False
    hides_words: bool = False
    one_by_one: bool = False
    any_length: bool = True

    def __call__(self, reading: Reading, **options: Any) -> Any:
        return self.function(reading, **options)

    @property
    def class_specific(self) -> bool:
        """Whether the map tells classes apart."""
        return self.of_class != "no"

    @functools.cached_property
    def layered(self) -> bool:
        """Whether it explains a layer."""
        return not self.pixels or Need.GRADIENTS in self.needs

    @functools.cached_property
    def placed(self) -> bool:
        """Whether it explains one layer: not the input, and not all attentions together."""
        return self.layered and Need.ATTENTIONS not in self.needs

    @functools.cached_property
    def needs_class(self) -> bool:
        """Whether it explains nothing but classes."""
        return Need.CLASS_WEIGHTS in self.needs or self.contrast is not None

    @functools.cached_property
    def loops(self) -> bool:
        """Whether it asks the network, or its head, again and again."""
        return bool(self.needs & (Need.NETWORK | Need.HEAD | Need.SCORES))

    @functools.cached_property
    def asks_scores_alone(self) -> bool:
        """Whether it needs nothing but scores, as of a black box: no layer, no gradient."""
        return self.needs in Need.SCORES and not self.layered

    @functools.cached_property
    def gates_relus(self) -> bool:
        """Whether its gradients pass through gated ReLUs."""
        return bool(self.needs & (Need.GUIDED_GRADIENTS | Need.DECONVNET_GRADIENTS))

    @functools.cached_property
    def stands_alone(self) -> bool:
        """Whether it shares its pass with no other method."""
        return self.loops or self.contrast is not None or Need.ATTENTIONS in self.needs

    @functools.cached_property
    def changes_input(self) -> bool:
        """Whether it changes the input a little, or asks what that would do."""
        return self.pixels or Need.NETWORK in self.needs

    def of(self, options: Mapping[str, Any], others: Iterable[str] = ()) -> Method:
        """Fit the method to options: it also needs what the method that it stands on needs.

        Args:
            options: The options.
            others: Those that a mistaken one may be meant for besides.

        Raises:
            TypeError: If there is no such option, or it is of another kind.
            ValueError: If a number is out of range, or it does not stand on such a method.
        """
        parameters = inspect.signature(self.function).parameters
        known = [
            name
            for name, parameter in parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        ]
        for name in options:
            if name not in known:
                raise TypeError(
                    f"explain and its method {self.name!r} have no option {name!r}; "
                    f"the method's options are: {', '.join(known) or 'none'}."
                    f"{did_you_mean(name, [*known, *others])}"
                )
            check_option(name, options[name], _annotation(parameters[name]))
        if self.contrast is None:
            return self
        base = options.get("base", "grad_cam")
        bases = [method.name for method in METHODS.values() if method.contrast is None]
        if base not in bases:
            raise ValueError(f"base must be one of {', '.join(bases)}; got {base!r}.")
        base = METHODS[base]
        names = ("needs", "wants", "pixels", "passes", "of_class", "combines", "shown_as")
        return replace(self, **{name: getattr(base, name) for name in names})

    @property
    def summary(self) -> str:
        """The first line of its documentation."""
        return (self.function.__doc__ or "").strip().split("\n")[0]


def is_own(function: Callable[..., Any]) -> bool:
    """Tell whether a function is tfcam's own, not a user's."""
    return (getattr(function, "__module__", None) or "").startswith("tfcam.")


def method(needs: Need = Need.NOTHING, **facts: Any) -> Callable[[Function], Function]:
    """Store a function in ``METHODS`` under its own name.

    Args:
        needs: What the function must find in its reading; several are joined by ``|``.
        facts: What else is known of it, such as ``passes="F"``: see the attributes of ``Method``.

    Raises:
        TypeError: If the needs are no ``Need``, or there is no such fact.
        ValueError: If tfcam has a method of that name.
    """
    if not isinstance(needs, Need):
        raise TypeError(
            f"needs must be of {', '.join(map(str, Need))}, joined by |; got {shown(needs)}."
        )

    def store(function: Function) -> Function:
        name = function.__name__
        known = METHODS[name].function if name in METHODS else function
        if known is not function and is_own(known):
            raise ValueError(f"A method must have a name of its own; tfcam has a {name!r} already.")
        METHODS[name] = Method(name, function, needs, **facts)
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
    kinds: dict[str, type] = {"bool": bool, "int": Integral, "float": Real, "str": str}
    kind, _, optional = annotation.partition(" | ")
    if kind in OPTION_CHECKS and not (optional and value is None):
        OPTION_CHECKS[kind](value)
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
    """Spell an annotation as text; it is that already where annotations are not evaluated."""
    annotation = parameter.annotation
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


@dataclass(frozen=True)
class Request:
    """A method with its options."""

    method: Method
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        return self.method.name, *sorted(self.options.items())

    @property
    def own(self) -> list[Any]:
        """What of it may change in its place: a function of a user's, and options of parts."""
        plain, function = int | float | str | None, self.method.function
        users = [] if is_own(function) else [function]
        return users + [value for value in self.options.values() if not isinstance(value, plain)]

    def at(self, layer: Any, of_text: bool = False) -> Request:
        """Explain a layer, where one is given by itself and the method can; or a text's words.

        Args:
            layer: What a user gives.
            of_text: Whether a text is explained, whose values are those of its embeddings.
        """
        method = self.method
        if isinstance(layer, list | tuple) or (layer is None and not of_text):
            return self
        explained = method.of_layer or (method.of_words if layer is None else None)
        if explained is None:
            return self
        needs = method.needs
        for by_image, by_layer in _AT_LAYER.items():
            needs = needs & ~by_image | by_layer if by_image in needs else needs
        changed = replace(
            method,
            function=explained,
            needs=needs,
            pixels=False,
            shown_as=None,
            of_layer=None,
            of_words=None,
            at_words=layer is None,
        )
        return replace(self, method=changed)

    @property
    def told(self) -> dict[str, Any]:
        """The options as results tell them: of an array its shape, in words."""
        arrays = {k: v for k, v in self.options.items() if isinstance(v, np.ndarray)}
        return {**self.options, **{name: f"array {array.shape}" for name, array in arrays.items()}}

    @property
    def shown(self) -> Shown:
        """What a heatmap shows of its raw map."""
        how = self.method.shown_as
        if how is None:
            return "absolute" if self.method.pixels else "positive"
        return how(**self.options) if callable(how) else how


def ask(
    method: str | Callable[[Reading], tf.Tensor],
    options: Mapping[str, Any],
    others: Iterable[str] = (),
) -> Request:
    """Look up a method, with its options as an engine takes them.

    Args:
        method: Its name, or a function.
        options: Its options.
        others: The options of who asks, which a mistaken one may be meant for.

    Raises:
        TypeError: If the method has no such option.
        ValueError: If there is no such method, or an option is out of range.
    """
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in options.items()}
    return Request(find_method(method).of(plain, others), plain)


def find_method(method: str | Callable[[Reading], tf.Tensor]) -> Method:
    if callable(method) and not isinstance(method, type):
        stored = METHODS.get(getattr(method, "__name__", ""))
        if stored is not None and stored.function is method:
            return stored
        return Method(getattr(method, "__name__", type(method).__name__), method)
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(
            f"method must be one of {', '.join(METHODS)}, or a function Reading -> map; "
            f"got {shown(method)}.{did_you_mean(method, METHODS)}"
        )
    return METHODS[method]
