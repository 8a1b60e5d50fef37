"""The README's table of metrics: ``python -m tests.metric_table`` writes it."""

import re
from pathlib import Path

from tfcam.metrics.registry import METRICS

README = Path(__file__).parent.parent / "README.md"
_TABLE = re.compile(r"\| metric \| what it says \|.*?(?=\n\n)", re.DOTALL)
_NEEDS = {"": "", "boxes": "boxes", "region": "boxes or a mask"}


def table() -> str:
    """The table in Markdown."""
    rows = [
        f"| `{each.name}` | {each.meaning} | {each.better} | {_NEEDS[each.needs]} |"
        for each in METRICS.values()
    ]
    return "\n".join(["| metric | what it says | better | needs |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    README.write_text(_TABLE.sub(lambda _: table(), README.read_text(), count=1))
