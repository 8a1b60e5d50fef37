"""Kills of what may be continued: `stream`, `evaluate` and a training, each by kill -9 at random.

    python -m tests.kills --kills 20 --seed 0

Each is run once without a break. Then it is begun in a process of its own, killed after a random
time and called again until it was killed so often and has ended, and what it made is compared with
what the unbroken run made, bit for bit. One that ends before it is killed counts as no kill:
another is begun. The training needs TFCAM_TEST_DATA, the folder of real pictures.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from tests.project import DATA, ROOT, find_keras_home

find_keras_home()

import keras  # noqa: E402

import tfcam  # noqa: E402
from training import train  # noqa: E402
from training.epochs import read_log  # noqa: E402
from training.recipes import Recipe, Stage  # noqa: E402

EVALUATED = {"methods": ["grad_cam", "layer_cam"], "metrics": ["box_iou", "deletion", "energy"]}
STAGES = (
    Stage("head", 4, 1e-3, backbone=False, optimizer="adam"),
    Stage("all", 4, 1e-3, backbone=True, optimizer="adam", cosine=True),
)


def stream(to: Path) -> None:
    """240 drawn scenes, some of which can't be read, in shards of 8."""
    drawn = [tfcam.scenes.draw_scene(n).image if n % 23 else b"broken" for n in range(240)]
    print("ready", flush=True)
    tfcam.stream(tfcam.demo_model(), drawn, to=to, batch_size=4, shard_size=8)


def evaluate(to: Path) -> None:
    """48 drawn scenes, in batches of 4."""
    drawn = [tfcam.scenes.draw_scene(n, shapes=2) for n in range(48)]
    data = [
        tfcam.Example(f"scene {n}", each.image, each.boxes[:1], each.labels[0])
        for n, each in enumerate(drawn)
    ]
    print("ready", flush=True)
    made = tfcam.evaluate(tfcam.demo_model(), data, to=to, batch_size=4, **EVALUATED)
    made.table.to_parquet(to / "table.parquet")
    made.summary.to_parquet(to / "summary.parquet")


def train_dogs(to: Path) -> None:
    """A small network on two breeds, eight epochs in two stages, with dropout and mirroring."""
    recipe = Recipe(stages=STAGES, batch=32, flip=True, dropout=0.2, patience=6)
    print("ready", flush=True)
    train.train(
        to,
        backbone="custom",
        recipe=recipe,
        weights=None,
        data_dir=Path(str(DATA)) / "tensorflow_datasets",
        breeds=["beagle", "toy poodle"],
        size=32,
        download=False,
    )


def same_stores(one: Path, other: Path) -> bool:
    """Whether two stores hold the same files with the same rows."""
    names = [sorted(each.name for each in folder.glob("*.parquet")) for folder in (one, other)]
    return names[0] == names[1] and all(
        pq.read_table(one / name).equals(pq.read_table(other / name)) for name in names[0]
    )


def same_evaluations(one: Path, other: Path) -> bool:
    """Whether two evaluations gave the same numbers."""
    names = ("table.parquet", "summary.parquet")
    tables = [[pd.read_parquet(folder / name) for name in names] for folder in (one, other)]
    return all(a.equals(b) for a, b in zip(*tables, strict=True))


def same_trainings(one: Path, other: Path) -> bool:
    """Whether two trainings went and ended alike."""
    best, rows = (
        [keras.saving.load_model(folder / "model.keras").get_weights() for folder in (one, other)],
        [read_log(folder) for folder in (one, other)],
    )
    return rows[0] == rows[1] and all(map(np.array_equal, *best))


class Job(NamedTuple):
    """What is killed: a function, how two of its results are compared, longest wait for a kill.

    ``wait`` is a share of the seconds of an unbroken run.
    """

    run: Callable[[Path], None]
    same: Callable[[Path, Path], bool]
    wait: float


JOBS = {
    "stream": Job(stream, same_stores, 0.3),
    "evaluate": Job(evaluate, same_evaluations, 0.3),
    "train": Job(train_dogs, same_trainings, 0.7),
}


def start(name: str, to: Path) -> subprocess.Popen[str]:
    """Begin a job in a process of its own; return when it is at work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kills", "--run", name, "--to", str(to)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    while (line := process.stdout.readline()) != "ready\n":
        assert line, f"{name} did not begin"
    return process


def kill_often(name: str, kills: int, chance: random.Random, home: Path) -> dict[str, object]:
    """Kill a job so often; return how it went."""
    job, whole = JOBS[name], home / "whole"
    process = start(name, whole)
    began = time.monotonic()
    process.communicate()
    seconds = time.monotonic() - began
    killed, ended, differing = 0, 0, 0
    while killed < kills:
        to = home / f"{name}-{ended}"
        while True:
            process = start(name, to)
            if killed < kills:
                time.sleep(chance.uniform(0, job.wait * seconds))
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
            process.communicate()
            if process.returncode != -signal.SIGKILL:
                break
            killed += 1
        assert process.returncode == 0, f"{name} in {to} ended with {process.returncode}"
        ended += 1
        differing += not job.same(whole, to)
        shutil.rmtree(to)
    shutil.rmtree(whole)
    return {"job": name, "kills": killed, "runs": ended, "that differ": differing}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", choices=sorted(JOBS), action="append")
    parser.add_argument("--run", choices=sorted(JOBS), help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.run:
        JOBS[told.run].run(told.to)
        return
    with tempfile.TemporaryDirectory() as home:
        rows = [
            kill_often(name, told.kills, random.Random(told.seed), Path(home))
            for name in told.job or JOBS
        ]
    print("\n".join(map(str, rows)))
    if any(row["that differ"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
