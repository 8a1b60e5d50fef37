"""A whole data set: throughput beside ``model.predict``, memory over time, kills and resumption.

    python -m tests.benchmarks.streaming --images 5000 --output DIR

repeats the ImageNet photos of ``$TFCAM_TEST_DATA`` by links to as many pictures. Chunk by chunk, in
turns, it times ``model.predict`` and ``tfcam.stream``: on the very same ``tf.data.Dataset`` that
decodes, resizes and prepares, and on the folder, where predict gets TensorFlow's own fastest
pipeline. Then it streams all of them in one process and notes its memory, kills other processes
that do the same at three random moments (``kill -9``), goes on, and compares the stores. Writes
``memory.csv``, ``streaming.json`` and ``streaming.md``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

BATCH, SHARD, CHUNKS = 32, 256, 5

STREAM = f"""
import sys, keras, tfcam
model = keras.applications.MobileNetV2(weights="imagenet")
print("ready", flush=True)
store = tfcam.stream(model, sys.argv[1], to=sys.argv[2], batch_size={BATCH}, shard_size={SHARD})
print(store, flush=True)
"""


def link(source: Path, home: Path, count: int) -> list[Path]:
    """As many pictures as are wanted, each by a name of its own."""
    photos = sorted(source.glob("*.JPEG"))
    home.mkdir(parents=True)
    files = []
    for number in range(count):
        file = home / f"{number:05d}.jpg"
        try:
            os.link(photos[number % len(photos)], file)
        except OSError:  # another file system
            file.symlink_to(photos[number % len(photos)])
        files.append(file)
    return files


def throughput(output: Path, files: list[Path], chunk: int) -> dict[str, dict[str, list[float]]]:
    """Pictures a second of predict and stream, chunk by chunk in turns."""
    import keras
    import tensorflow as tf

    import tfcam

    model = keras.applications.MobileNetV2(weights="imagenet")

    def load(path: tf.Tensor) -> tf.Tensor:
        picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(picture, (224, 224)) / 127.5 - 1

    def pipeline(some: list[Path]) -> tf.data.Dataset:
        names = tf.data.Dataset.from_tensor_slices([str(each) for each in some])
        return names.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(2)

    def predict(some: list[Path]) -> float:
        started = time.perf_counter()
        model.predict(pipeline(some), verbose=0)
        return len(some) / (time.perf_counter() - started)

    def stream(data: object, count: int) -> float:
        to = output / "chunk"
        shutil.rmtree(to, ignore_errors=True)
        started = time.perf_counter()
        tfcam.stream(model, data, to=to, batch_size=BATCH, shard_size=count)
        return count / (time.perf_counter() - started)

    found: dict[str, dict[str, list[float]]] = {}
    for name in ("same pipeline", "folder"):
        rates: dict[str, list[float]] = {"predict": [], "stream": [], "predict again": []}
        for number in range(CHUNKS + 1):  # the first warms up
            start = number * chunk % max(len(files) - chunk, 1)
            some = files[start : start + chunk]
            rates["predict"].append(predict(some))
            given = pipeline(some) if name == "same pipeline" else some
            rates["stream"].append(stream(given, len(some)))
            rates["predict again"].append(predict(some))
        found[name] = {key: values[1:] for key, values in rates.items()}
    return found


def ratios(rates: dict[str, list[float]]) -> list[float]:
    """Of each chunk: stream to the mean of predict before and after it."""
    beside = zip(rates["stream"], rates["predict"], rates["predict again"], strict=True)
    return [stream / ((one + two) / 2) for stream, one, two in beside]


def start(home: Path, to: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STREAM, str(home), str(to)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        text=True,
    )


def unbroken(home: Path, to: Path, file: Path) -> list[tuple[float, float]]:
    """One run, with its memory every half second: (seconds, MB)."""
    import psutil

    process = start(home, to)
    assert process.stdout is not None
    process.stdout.readline()
    watched, started, memory = psutil.Process(process.pid), time.perf_counter(), []
    while process.poll() is None:
        try:
            used = watched.memory_info().rss / 2**20
            if not used:  # it has ended, and nobody has asked for its code yet
                break
        except psutil.NoSuchProcess:
            break
        memory.append((time.perf_counter() - started, used))
        time.sleep(0.5)
    print(process.communicate()[0].strip(), flush=True)
    with file.open("w", newline="") as written:
        csv.writer(written).writerows([("seconds", "MB"), *memory])
    return memory


def killed(home: Path, to: Path, seconds: float, seed: int) -> list[dict[str, float]]:
    """Kill a run at three random moments, then let it end."""
    chance, kills = random.Random(seed), []
    for _ in range(3):
        process = start(home, to)
        assert process.stdout is not None
        process.stdout.readline()
        wait = chance.uniform(0.05, 0.3) * seconds
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills.append({"after": wait, "shards": len(list(to.glob("maps-*.parquet")))})
        print(f"killed after {wait:.1f} s, {kills[-1]['shards']} shards are there", flush=True)
    print(start(home, to).communicate()[0].strip(), flush=True)
    return kills


def compared(one: Path, other: Path) -> dict[str, object]:
    """What differs between two stores."""
    names = [sorted(each.name for each in to.glob("*.parquet")) for to in (one, other)]
    tables = [[pq.read_table(to / name) for name in names[0]] for to in (one, other)]
    numbers = [row for table in tables[1] for row in table["number"].to_pylist()]
    return {
        "files": len(names[0]),
        "same files": names[0] == names[1],
        "equal to the last bit": all(a.equals(b) for a, b in zip(*tables, strict=True)),
        "rows": len(numbers),
        "twice": len(numbers) - len(set(numbers)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--chunk", type=int, default=768, help="pictures between two turns")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    data = Path(os.environ["TFCAM_TEST_DATA"])
    os.environ.setdefault("KERAS_HOME", str(data / "keras"))
    asked.output.mkdir(parents=True)
    home = asked.output / "pictures"
    files = link(data / "images/imagenet", home, asked.images)
    rates = throughput(asked.output, files, min(asked.chunk, asked.images))
    lines = [
        f"# Streaming {asked.images} pictures",
        f"MobileNetV2 224, batch {BATCH}, {os.cpu_count()} cores, {platform.processor()}",
        "| pipeline | predict, pictures/s | stream, pictures/s | ratio (median, range) |",
        "| --- | --- | --- | --- |",
    ]
    for name, each in rates.items():
        found = ratios(each)
        lines.append(
            f"| {name} | {statistics.median(each['predict'] + each['predict again']):.1f} | "
            f"{statistics.median(each['stream']):.1f} | {statistics.median(found):.3f} "
            f"({min(found):.3f} to {max(found):.3f}) |"
        )
        print(lines[-1], flush=True)
    memory = unbroken(home, asked.output / "unbroken", asked.output / "memory.csv")
    used, seconds = [each for _, each in memory], memory[-1][0]
    thirds = [used[len(used) * part // 3 : len(used) * (part + 1) // 3] for part in (1, 2)]
    lines.append(
        f"Memory: {max(used):.0f} MB at most; median of the second third {_median(thirds[0])} MB, "
        f"of the last {_median(thirds[1])} MB."
    )
    kills = killed(home, asked.output / "killed", seconds, asked.seed)
    equal = compared(asked.output / "unbroken", asked.output / "killed")
    lines += [f"Killed: {kills}", f"Against the unbroken store: {equal}"]
    print("\n".join(lines))
    said = {
        "rates": rates,
        "ratios": {name: ratios(each) for name, each in rates.items()},
        "memory": memory,
        "kills": kills,
        "stores": equal,
    }
    (asked.output / "streaming.json").write_text(json.dumps(said, indent=1))
    (asked.output / "streaming.md").write_text("\n\n".join(lines).replace("|\n\n|", "|\n|"))


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.0f}" if values else "-"


if __name__ == "__main__":
    main()
