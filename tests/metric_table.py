"""The guides' table of metrics: ``python -m tests.metric_table`` writes it."""

import re

from tests.project import GUIDES
from tfcam.metrics.registry import METRICS

PAGE = GUIDES / "evaluation.md"
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
    PAGE.write_text(_TABLE.sub(lambda _: table(), PAGE.read_text(), count=1))
