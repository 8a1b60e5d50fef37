"""A model loaded with what is typed about it: a number that is a layer's name names that layer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfcam.cli.arguments import load_network
from tfcam.cli.names import settle_layer


def load_asked(
    name: str,
    options: dict[str, Any],
    unsafe: bool,
    imports: Iterable[Path] | None,
    of_text: bool = False,
) -> Any:
    """Load a model, and settle its labels and layers in the options of a command.

    Args:
        name: As ``load_network`` takes it.
        options: The options, with "labels" and, of some commands, "layer" or "layers".
        unsafe: As ``load_network`` takes it.
        imports: As ``load_network`` takes it.
        of_text: Whether a text is explained.

    Raises:
        ValueError: If a text is explained, and the model takes none.
    """
    network, options["labels"] = load_network(name, options["labels"], unsafe, imports)
    if of_text:
        check_takes_text(network, name, options["input"])
    for kind in {"layer", "layers"} & set(options):
        options[kind] = settle_layer(network, options[kind])
    return network


def check_takes_text(network: Any, name: str, input: str | int | None) -> None:
    """Check that a model takes texts: any other would take a text for the name of a picture.

    Args:
        network: The model.
        name: As it was typed.
        input: Which of its inputs is explained.

    Raises:
        ValueError: If it takes none.
    """
    from tfcam.engine.opened_model import open_model

    if not open_model(network, input).is_text:
        raise ValueError(
            f"--text and .txt files are for models of texts; {name!r} takes none. Give the file "
            "of a picture or an array."
        )
