"""One network in a process of its own: its contestants timed round by round, batch by batch.

``python -m tests.benchmarks.rounds '{"network": "resnet50", "groups": ...}'`` prints JSON.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

from tests.benchmarks.contestants import MissingError, contestant
from tests.benchmarks.networks import build, pictures
from tests.benchmarks.timing import interleaved


def measure(network: str, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Time groups of contestants; those that can't be timed are listed with the reason.

    Args:
        network: Whose.
        groups: ``batch``, ``names``, ``rounds`` and ``warm_up`` of each.

    Returns:
        For each group, these with ``seconds`` and ``refused`` by name, and the ``findings`` that
        results came with, as some ask the network once more.
    """
    model = build(network)
    return [{"network": network, **group, **_group(model, network, group)} for group in groups]


def _group(model: Any, network: str, group: dict[str, Any]) -> dict[str, Any]:
    images = pictures(network, group["batch"])
    calls, refused, findings = {}, {}, {}
    for name in group["names"]:
        try:
            call = contestant(name, model, network, images)
            found = call()  # compiled from the second call on
        except (MissingError, ValueError) as error:
            refused[name] = str(error)
            continue
        calls[name] = call
        results = [] if isinstance(found, list) or not hasattr(found, "raws") else found
        if codes := Counter(each.code for one in results for each in one.findings):
            findings[name] = dict(codes)
    seconds = interleaved(calls, group["rounds"], group["warm_up"] - 1)
    return {"seconds": seconds, "refused": refused, "findings": findings}


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
