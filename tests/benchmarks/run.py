"""What explaining costs, measured: ``python -m tests.benchmarks.run --output DIR``.

Each network, each first call and each peak of memory has a process of its own. In it
all contestants are called in turn, round by round in shuffled order, after warming up; what counts
is the ratio of two contestants in the same round. Writes ``results.json``, with the seconds of
every round, and ``tables.md``; ``python -m tests.benchmarks.readme DIR`` then writes the guide's
page. Other packages are measured by ``python -m tests.benchmarks.peers``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tfcam
from tests.benchmarks import machine, processes, tables
from tests.benchmarks.bounds import BOUNDS, MEMORY_PAIRS
from tests.benchmarks.first_calls import KINDS
from tests.benchmarks.networks import NETWORKS

PARTS = ("methods", "bounds", "first", "memory")
# Methods of one forward pass and at most one backward pass; larger batches have these only.
SHORT = [name for name, each in tfcam.METHODS.items() if each.passes in ("F", "F + B")]
LONGEST_BATCH_OF_ALL = 8


def groups(asked: argparse.Namespace, network: str) -> Iterator[dict[str, Any]]:
    """What is timed together, of a network: a group for each batch, one more for what is slow."""
    plan = {"rounds": asked.rounds, "warm_up": 3}
    bounds = [b for b in BOUNDS if b.network == network and "bounds" in asked.parts]
    for batch in asked.batches:
        names = _methods(asked, batch) if "methods" in asked.parts else []
        chosen = [b for b in bounds if b.batch == batch and not b.slow]
        names += [name for b in chosen for name in (b.to, b.name)]
        if names:
            yield {"batch": batch, "names": list(dict.fromkeys(["forward", *names])), **plan}
    for b in bounds:
        if b.slow and b.batch in asked.batches and not asked.quick:
            yield {"batch": b.batch, "names": [b.to, b.name], "rounds": 3, "warm_up": 1}


def _methods(asked: argparse.Namespace, batch: int) -> list[str]:
    def is_short_enough(name: str) -> bool:
        if tfcam.METHODS[name].loops:
            return batch in asked.looping
        return name in SHORT or batch <= LONGEST_BATCH_OF_ALL

    return [name for name in asked.methods if is_short_enough(name)]


def rounds(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Methods and bounds, network by network."""
    for network in asked.networks:
        chosen = list(groups(asked, network))
        if chosen:
            made = processes.run("rounds", {"network": network, "groups": chosen})
            yield from [{"network": network, **made}] if isinstance(made, dict) else made


def first(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """First calls: each in a new process, kind by kind in turn, then of new models in one."""
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(asked.rounds):
        for place in range(len(KINDS)):
            kind = KINDS[(place + number) % len(KINDS)]
            took = processes.run("first_calls", {"kind": kind, "warm": 0})
            if isinstance(took, dict):
                yield {"where": "in a new process", **took}
                return
            seconds[kind].append(round(took, 6))
    yield {"where": "in a new process", "seconds": seconds}
    warm = processes.run("first_calls", {"kind": "", "warm": asked.rounds})
    yield {"where": "of a new model", **(warm if "error" in warm else {"seconds": warm})}


def memory(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Peaks of memory, of the largest batch."""
    batch = max(asked.batches)
    for network in asked.networks:
        for name in sorted({each for pair in MEMORY_PAIRS for each in pair[:2]}):
            what = {"network": network, "name": name, "batch": batch}
            yield {**what, **processes.run("memory", what)}


SECTIONS: dict[str, Callable[[argparse.Namespace], Iterator[dict[str, Any]]]] = {
    "rounds": rounds,
    "first": first,
    "memory": memory,
}


def main() -> None:
    """Measure what is asked for; what is in the folder already, and not asked for, stays."""
    asked = _asked()
    if machine.load() > machine.BUSY and not (asked.busy or asked.quick):
        sys.exit(
            f"The machine must be idle, a load of at most {machine.BUSY}; it is {machine.load()}. "
            "Wait, or pass --busy to measure all the same."
        )
    asked.output.mkdir(parents=True, exist_ok=True)
    path = asked.output / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results["machine"] = machine.describe()
    wanted = {"rounds" if part in ("methods", "bounds") else part for part in asked.parts}
    for section in (each for each in SECTIONS if each in wanted):
        start = time.time()
        for row in SECTIONS[section](asked):
            others = [each for each in results.get(section, []) if not _replaces(row, each)]
            results[section] = [*others, row]
            path.write_text(tables.as_json(results))
            said = {name: row[name] for name in row if name not in ("names", "seconds", "refused")}
            print(f"{time.time() - start:6.0f} s  {section}  {said}", file=sys.stderr, flush=True)
    (asked.output / "tables.md").write_text(tables.everything(results))
    print(tables.everything(results))


def _replaces(row: dict[str, Any], old: dict[str, Any]) -> bool:
    """Whether a row is of what an older one was, or of what had failed."""
    failed = "error" in old and row.get("network") == old.get("network")
    what = ("network", "batch", "names", "name", "where")
    return failed or all(row.get(key) == old.get(key) for key in what)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    listed: dict[str, Any] = {"type": lambda text: text.split(",")}
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--parts", **listed, default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--networks", **listed, default=list(NETWORKS))
    parser.add_argument("--methods", **listed, default=list(tfcam.METHODS))
    parser.add_argument("--batches", **listed, default=[1, 8, 32])
    parser.add_argument("--looping", **listed, default=[1], help="batches of looping methods")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one network, batch 1, two rounds")
    parser.add_argument("--busy", action="store_true", help="measure though the machine is busy")
    asked = parser.parse_args()
    asked.batches, asked.looping = (
        [int(each) for each in given] for given in (asked.batches, asked.looping)
    )
    for name, known in (("parts", PARTS), ("networks", NETWORKS), ("methods", tfcam.METHODS)):
        if strange := set(getattr(asked, name)) - set(known):
            parser.error(f"--{name} must be of {', '.join(known)}; got {', '.join(strange)}.")
    if asked.quick:
        asked.networks, asked.batches, asked.rounds = asked.networks[:1], [1], 2
    return asked


if __name__ == "__main__":
    main()
