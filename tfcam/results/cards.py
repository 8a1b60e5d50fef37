"""A card for each of several explanations, laid out in one figure."""

from __future__ import annotations

from tfcam.figures.contact_sheet import Cell, ContactSheet, Heading
from tfcam.figures.palette import Palette
from tfcam.results.explanation import Explanation
from tfcam.results.figure_stack import FigureStack
from tfcam.results.text_sheet import TextSheet

_COLUMNS = 4

# What is drawn of a picture, or the text or volume that is.
Card = Cell | Explanation


def lay_out_cards(
    cards: list[Card], headline: str, foot: list[str], bar: str | None
) -> ContactSheet | TextSheet | FigureStack:
    """Lay out what is drawn of each picture, of each text, or of each video or volume.

    Args:
        cards: One or more, all of one kind.
        headline: What holds for all, or "".
        foot: Lines below the pictures.
        bar: The label of the pictures' colour bar; None for no bar.
    """
    volumes = [card for card in cards if isinstance(card, Explanation) and not card.words]
    if volumes:
        return FigureStack(volumes, headline)
    texts = [card for card in cards if isinstance(card, Explanation)]
    if texts:
        palette = Palette(signed=all(text.text and not text.parts for text in texts))
        return TextSheet(texts, list(map(_caption, texts)), palette, headline)
    cells = [card for card in cards if isinstance(card, Cell)]
    rows = [cells[start : start + _COLUMNS] for start in range(0, len(cells), _COLUMNS)]
    columns, titles = [Heading("")] * len(rows[0]), [Heading("")] * len(rows)
    return ContactSheet(rows, columns, titles, headline, foot, bar)


def _caption(explanation: Explanation) -> str:
    """What is explained of a text, and what was found."""
    first, *codes = explanation.title.split("\n")[0], *(each.code for each in explanation.findings)
    return f"{first} ({', '.join(codes)})" if codes else first
