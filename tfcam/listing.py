"""The layers of a model that have a map, as a list that prints as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload


@dataclass(frozen=True)
class LayerInfo:
    """One layer that has a map.

    Attributes:
        index: Its place in the list, which also names it: ``explain(model, image, index)``.
        path: Its path in the model, ``outer/inner``.
        kind: The class of the layer or operation.
        shape: (height, width, channels) of its map for one image, of tokens on their grid;
            unknown sizes are None.
        convolution: Whether it is a convolution.
        cam: Whether CAM applies there.
    """

    index: int
    path: str
    kind: str
    shape: tuple[int | None, ...]
    convolution: bool
    cam: bool


class LayerList(Sequence[LayerInfo]):
    """The layers of a model that have a map; prints as a table.

    Attributes:
        default: The path of the layer that is explained when none is named.
        reason: Why that one, in one clause.
    """

    def __init__(self, entries: Sequence[LayerInfo], default: str, reason: str) -> None:
        self._entries, self.default, self.reason = tuple(entries), default, reason

    @overload
    def __getitem__(self, index: int) -> LayerInfo: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LayerInfo]: ...
    def __getitem__(self, index: int | slice) -> LayerInfo | Sequence[LayerInfo]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def rows(self) -> list[tuple[str, ...]]:
        """The table's cells as text, the header first."""
        header: tuple[str, ...] = ("index", "layer", "kind", "map", "convolution", "CAM")
        return [header] + [
            (
                str(entry.index),
                entry.path,
                entry.kind,
                " x ".join("?" if size is None else str(size) for size in entry.shape),
                "yes" if entry.convolution else "",
                "yes" if entry.cam else "",
            )
            for entry in self
        ]

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, f"Explained by default: {self.default} ({self.reason})."])

    __repr__ = __str__
