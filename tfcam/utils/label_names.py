"""The labels of classes as people have them: lists, dicts such as ``class_indices``, files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from tfcam.utils.files import check_is_file
from tfcam.utils.validation import check_labels, shown


def listed_names(labels: Any) -> list[str] | None:
    """List the label of each class in the order of the classes.

    Args:
        labels: Texts in that order; a dict of names and indices, either way round; a file, JSON
            with one of these, or a text with a label on each line; or None.

    Raises:
        TypeError: If they are something else.
        ValueError: If indices are not 0, 1, 2, ..., or there is no such file.

    Example:
        >>> listed_names({"dog": 1, "cat": 0}), listed_names({0: "cat", 1: "dog"})
        (['cat', 'dog'], ['cat', 'dog'])
    """
    if isinstance(labels, str | os.PathLike):
        labels = _read_file(Path(labels))
    return check_labels(_in_order(labels) if isinstance(labels, Mapping) else labels)


def _read_file(path: Path) -> Any:
    """The lines of a text, or what is in a JSON file."""
    try:
        check_is_file(path)
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text) if path.suffix.lower() == ".json" else _lines(text)
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or (
            error if isinstance(error, OSError) else "it is no UTF-8 text, or no JSON"
        )
        raise ValueError(
            "labels must be a list of texts, a dict of names and indices, 'imagenet', or a file, "
            f"JSON or a label on each line; {shown(str(path))}: {why}."
        ) from None


def _lines(text: str) -> list[str] | dict[int, str]:
    """The lines of a text; by their numbers where each has one, without the number of WordNet.

    Example:
        >>> _lines("0: cat\\n1: dog"), _lines("n02123045 tabby\\nn02099601 retriever")
        ({0: 'cat', 1: 'dog'}, ['tabby', 'retriever'])
    """
    lines = text.splitlines()
    numbered = [re.fullmatch(r"\s*(\d+)\s*[\s,:;]\s*(\S.*)", line) for line in lines]
    found = {int(match[1]): match[2].strip() for match in numbered if match is not None}
    if lines and len(found) == len(lines) and set(found) == set(range(len(lines))):
        return found
    named = [re.fullmatch(r"\s*n\d{8}[\s,:;]\s*(\S.*)", line) for line in lines]
    if lines and all(named):
        return [match[1].strip() for match in named if match is not None]
    return lines


def _in_order(labels: Mapping[Any, Any]) -> list[Any]:
    """The names of a dict of names and indices, in the order of the indices."""
    by_index: dict[Any, Any] = {}
    for key, value in labels.items():
        named = isinstance(value, Integral)  # {"cat": 0}, else {0: "cat"}, in JSON {"0": "cat"}
        index, name = (value, key) if named else (key, value)
        index = int(index) if isinstance(index, str) and index.isdecimal() else index
        # Keras's own file of ImageNet has {"0": ["n01440764", "tench"]}.
        by_index[index] = name[-1] if isinstance(name, list | tuple) and name else name
    if set(by_index) != set(range(len(labels))):
        raise ValueError(
            f"A dict of labels must have the indices 0..{max(len(labels) - 1, 0)}, each once; got "
            f"{shown(dict(labels))}."
        )
    return [by_index[index] for index in range(len(labels))]
