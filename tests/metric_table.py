"""The README's table of metrics: ``python -m tests.metric_table`` prints it."""

from tfcam.metrics.registry import METRICS

_NEEDS = {"": "", "boxes": "boxes", "region": "boxes or a mask"}


def table() -> str:
    """The table in Markdown."""
    rows = [
        f"| `{each.name}` | {each.meaning} | {each.better} | {_NEEDS[each.needs]} |"
        for each in METRICS.values()
    ]
    return "\n".join(["| metric | what it says | better | needs |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())
