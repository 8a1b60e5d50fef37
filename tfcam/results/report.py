"""All that is said of one picture, or of one text, as a page."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from tfcam.figures.page import page
from tfcam.results.comparison import Comparison
from tfcam.results.explanation import Explanation
from tfcam.utils.files import check_target, utf8, write_whole
from tfcam.utils.terminal_text import printable_lines

_WHY = (
    "A map shows where what the model computes speaks for a class: not why, and not that the model "
    "is right.",
    "Supported means that the model's number needs what is marked more than chance would have it: "
    "not that this is the object, nor that nothing else counts. Networks with random weights need "
    "what their maps mark, too.",
)
_WHAT_DIFFERS = (
    "Methods and layers differ. Where their maps disagree, no single one should be trusted."
)
_UNSAID = (
    *_WHY,
    _WHAT_DIFFERS,
    "What is hidden for the test makes pictures that the model was not trained on.",
    "One picture says nothing of others: tfcam.evaluate measures many.",
)
_UNSAID_OF_TEXTS = (
    _WHY[0],
    _WHY[1].replace("this is the object", "these words mean it"),
    _WHAT_DIFFERS,
    "Where the words before and after one change what it means, no number by word can show that.",
    "What is hidden for the test makes texts that the model was not trained on.",
    "One text says nothing of others: tfcam.evaluate measures many.",
)


class Answer(NamedTuple):
    """A class, and how sure the model is: its probability, or its score where there is none."""

    name: str
    number: float
    is_probability: bool


@dataclass(frozen=True, repr=False)
class Report:
    """What a model said of one picture or text, where it looked, and how far to trust that.

    Attributes:
        model: The model's name.
        answers: The most likely classes, the first first; empty where the output has none.
        explanation: The map, with its verification.
        comparisons: Further maps, by what they are.
    """

    model: str
    answers: tuple[Answer, ...]
    explanation: Explanation
    comparisons: Mapping[str, Comparison]

    def __repr__(self) -> str:
        count = sum(map(len, self.comparisons.values()))
        head = f"Report on {self.model}, with {count} further maps; save('report.html') writes it."
        return printable_lines([head, *repr(self.explanation).split("\n")])

    def _repr_html_(self) -> str:
        return "".join(self._sections())

    def to_html(self) -> str:
        """Write a page that needs no other file."""
        title = "read in this text" if self._of_words else "saw in this picture"
        return page(f"What {self.model} {title}", self._repr_html_())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page, whole or not at all.

        Args:
            path: Where to; ``.html``. A file that is there is replaced.

        Returns:
            The path.

        Raises:
            ValueError: If it does not end so.
            FileNotFoundError: If its folder does not exist.
        """
        path = check_target(path, "A report", (".html",))
        write_whole(path, utf8(self.to_html()))
        return path

    @property
    def _of_words(self) -> bool:
        return bool(self.explanation.words)

    def _sections(self) -> list[str]:
        explanation, of_words = self.explanation, self._of_words
        where = "Which words spoke for" if of_words else "Where it looked for"
        alone = replace(explanation, verification=None).html
        parts = {
            "What the model answers": self._answers(),
            f"{where} {explanation.name}": f'<div class="wide">{alone}</div>',
            "Findings": self._findings(),
            "How far this map can be trusted": self._verified(),
            **{title: _maps(comparison) for title, comparison in self.comparisons.items()},
            "What this page does not say": _listed(
                map(html.escape, _UNSAID_OF_TEXTS if of_words else _UNSAID)
            ),
            "How it was made": self._made(),
        }
        return [f"<h2>{html.escape(title)}</h2>\n{body}\n" for title, body in parts.items() if body]

    def _answers(self) -> str:
        if not self.answers:
            return f"<p>{html.escape(self.explanation.title.splitlines()[0])}</p>"
        rows = [
            f"<tr><th>{html.escape(answer.name)}</th><td>{_number(answer)}</td></tr>"
            for answer in self.answers
        ]
        return f"<table>{''.join(rows)}</table>"

    def _verified(self) -> str:
        verification = self.explanation.verification
        if verification is not None:
            return verification.html
        if "tile" in self.explanation.options:
            return (
                "<p>The map is laid of tiles, of each of which the model gives another number: no "
                "test that hides parts of the picture as a whole applies to it.</p>"
            )
        if not self.explanation.text:
            return ""
        name = html.escape(self.explanation.name)
        return f"<p>The words of a text are tested for a class, and {name} is none.</p>"

    def _findings(self) -> str:
        findings = self.explanation.findings
        if not findings:
            return "<p>The checks found no problem with this map.</p>"
        texts = [
            f"<b>{html.escape(one.code)}</b>: {html.escape(one.message)}<br>"
            f"{html.escape(one.cause)} {html.escape(one.remedy)}"
            for one in findings
        ]
        return f'<div class="warning">{_listed(texts)}</div>'

    def _made(self) -> str:
        explanation, kind = self.explanation, "text" if self._of_words else "picture"
        facts = {
            "method": explanation.method,
            "layer": f"{explanation.layer or 'none'} ({explanation.layer_reason})",
            "explained number": f"{explanation.score:.6g} ({explanation.score_kind})",
            kind: f"{explanation.extent}; {explanation.preprocessing}",
            "options": _in_words(explanation.options),
            "versions": _in_words(explanation.versions),
        }
        rows = [
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(fact)}</dd>"
            for name, fact in facts.items()
        ]
        return f"<dl>{''.join(rows)}</dl>"


def _number(answer: Answer) -> str:
    if not answer.is_probability:
        return f"{answer.number:.4g}"
    return f'<meter value="{answer.number:.4f}"></meter> {answer.number:.1%}'


def _maps(comparison: Comparison) -> str:
    """A figure of all maps; of what is no image, each by itself."""
    drawn = comparison.html or "".join(explanation.html for explanation in comparison)
    return f'<div class="wide">{drawn}</div>'


def _listed(texts: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{text}</li>' for text in texts)}</ul>"


def _in_words(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())
