"""What the checks say of a model and an image: prints as a table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

from tfcam.findings import Finding
from tfcam.utils.terminal_text import printable_lines

_WIDTHS = (24, 58, 46)


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What was found about a model and an image; prints as a table, iterates over the findings.

    Attributes:
        model: The model's name.
        facts: What was found out, by name: the layer, what applies, the preprocessing, the output.
        findings: What the checks found; empty where all is well.
    """

    model: str
    facts: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __bool__(self) -> bool:
        return True

    def rows(self) -> list[tuple[str, str, str]]:
        """List the table's cells: the header, then each finding's code, meaning and remedy."""
        return [("code", "what", "what to do")] + [
            (finding.code, finding.message, finding.remedy) for finding in self
        ]

    def __str__(self) -> str:
        wide = max(map(len, self.facts), default=0)
        lines = [f"Diagnosis of {self.model!r}"]
        lines += [f"  {name:{wide}}  {fact}" for name, fact in self.facts.items()]
        if not self.findings:
            return printable_lines([*lines, "No findings."])
        for row in self.rows():
            cells = [textwrap.wrap(cell, wide) for cell, wide in zip(row, _WIDTHS, strict=True)]
            for number in range(max(map(len, cells))):
                parts = [cell[number] if number < len(cell) else "" for cell in cells]
                lines.append("  ".join(map(str.ljust, parts, _WIDTHS)).rstrip())
        return printable_lines(lines)

    __repr__ = __str__
