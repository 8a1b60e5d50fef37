"""A model loaded with what is typed about it: a number that is a layer's name names that layer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfcam.cli.arguments import load_network
from tfcam.cli.names import settle_layer


def load_asked(
    name: str, options: dict[str, Any], unsafe: bool, imports: Iterable[Path] | None
) -> Any:
    """Load a model, and settle its labels and layers in the options of a command.

    Args:
        name: As ``load_network`` takes it.
        options: The options, with "labels" and, of some commands, "layer" or "layers".
        unsafe: As ``load_network`` takes it.
        imports: As ``load_network`` takes it.
    """
    network, options["labels"] = load_network(name, options["labels"], unsafe, imports)
    for kind in {"layer", "layers"} & set(options):
        options[kind] = settle_layer(network, options[kind])
    return network
