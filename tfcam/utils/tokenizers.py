"""Tokenizers of KerasHub: told from others by what they were made with."""

from __future__ import annotations

from typing import Any

from tfcam.utils.code_reading import is_installed

# What a tokenizer holds besides its settings; tables that are made of it tell no more.
_HELD = ("merges", "proto", "vocabulary")


def is_tokenizer(operation: Any) -> bool:
    """Whether a layer is a tokenizer as KerasHub has it, with no code of somebody's own."""
    kinds = [kind for kind in type(operation).__mro__ if kind.__name__ == "Tokenizer"]
    hub = any(kind.__module__.startswith(("keras_hub.", "keras_nlp.")) for kind in kinds)
    own = vars(operation).get("call") is not None
    return hub and not own and is_installed(None, type(operation).__module__)


def tokenizer_content(tokenizer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """List the settings of a tokenizer, and its vocabulary and merges."""
    return tokenizer.get_config(), {name: getattr(tokenizer, name, None) for name in _HELD}
