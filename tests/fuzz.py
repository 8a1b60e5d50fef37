"""Fuzz of two doors: damaged pictures into ``load_image``, and odd values into ``explain``.

The long run, ten minutes of each door by turns; every input follows from the seed and its number:

    python -m tests.fuzz --minutes 10 --seed 1

One input again, whose number a failure names:

    python -m tests.fuzz --seed 1 --door picture --first 4711 --count 1

A damaged picture must give (H, W, 3) uint8 or an ``ImageError``; odd values a sound result, or a
``ValueError``, ``TypeError`` or ``FileNotFoundError`` in our own words. Nothing else may happen: no
other exception, no warning, nothing on the error stream, no more than SECONDS for one input, no
more than MEGABYTES for all, no change of the model. ``tests/laws/test_fuzz.py`` runs a part of it.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import functools
import io
import itertools
import logging
import os
import random
import re
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

import tfcam
from tests import networks
from tfcam.images.kinds import ImageError
from tfcam.images.loading import load_image

SECONDS, MEGABYTES, MAX_PIXELS = 10.0, 300, 2**20


class FuzzError(AssertionError):
    """What must not happen, with the input that brought it about."""


# --- pictures -------------------------------------------------------------------------------


def _drawn(mode: str, size: tuple[int, int] = (40, 29)) -> Image.Image:
    """A gradient with shapes on it: neither flat nor noise, as pictures are."""
    rows, columns = np.indices(size[::-1])
    channels = [rows * 8, columns * 6, (rows + columns) * 3]
    image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8) % 255)
    draw = ImageDraw.Draw(image)
    draw.ellipse((5, 5, 22, 22), (255, 40, 10))
    draw.line((0, 28, 39, 0), (0, 0, 255), 3)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 257)
    if mode == "P":
        return image.quantize(16)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray((columns * 6).astype(np.uint8)))
    return image.convert(mode)


def _encoded(kind: str, mode: str = "RGB", frames: int = 1, **options: object) -> bytes:
    if options.pop("turned", False):
        exif = Image.Exif()
        exif[0x0112] = 6
        options["exif"] = exif
    file, image = io.BytesIO(), _drawn(mode)
    if frames > 1:
        options |= {
            "save_all": True,
            "append_images": [image.rotate(90 * n) for n in range(1, frames)],
        }
    image.save(file, kind, **options)
    return file.getvalue()


@functools.cache
def originals() -> dict[str, bytes]:
    """Small whole files of every format, whose decoders take many ways."""
    return {
        "png": _encoded("PNG", turned=True),
        "png, palette": _encoded("PNG", "P", transparency=3),
        "png, grey": _encoded("PNG", "L", transparency=8),
        "png, alpha": _encoded("PNG", "RGBA"),
        "png, 16 bits": _encoded("PNG", "I;16"),
        "png, black and white": _encoded("PNG", "1"),
        "png, animated": _encoded("PNG", frames=3),
        "jpeg": _encoded("JPEG", quality=70, turned=True),
        "jpeg, progressive": _encoded("JPEG", quality=80, progressive=True),
        "jpeg, cmyk": _encoded("JPEG", "CMYK"),
        "jpeg, grey": _encoded("JPEG", "L", restart_marker_rows=1),
        "gif": _encoded("GIF", "P", transparency=2),
        "gif, animated": _encoded("GIF", "P", frames=3, duration=50),
        "bmp": _encoded("BMP"),
        "bmp, palette": _encoded("BMP", "P"),
        "bmp, black and white": _encoded("BMP", "1"),
        "webp": _encoded("WEBP", quality=60, turned=True),
        "webp, lossless": _encoded("WEBP", "RGBA", lossless=True),
        "webp, animated": _encoded("WEBP", frames=3),
        "tiff": _encoded("TIFF", turned=True),
        "tiff, lzw": _encoded("TIFF", compression="tiff_lzw"),
        "tiff, jpeg": _encoded("TIFF", compression="jpeg"),
        "tiff, deflate": _encoded("TIFF", "RGBA", compression="tiff_adobe_deflate"),
        "tiff, 16 bits": _encoded("TIFF", "I;16"),
        "tiff, fax": _encoded("TIFF", "1", compression="group4"),
        "tiff, pages": _encoded("TIFF", frames=3),
        "ppm": _encoded("PPM"),
    }


_NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1)


def mutated(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A whole file, damaged in one way or several on top of each other."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        data = rng.choice(_DAMAGES)(data, other, rng) or b"\0"
    return data


def _somewhere(data: bytes, rng: random.Random) -> int:
    """A place in a file, half of the time in its header."""
    return rng.randrange(rng.choice([min(64, len(data)), len(data)]) or 1)


def _flip(data: bytes, other: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 20])):
        changed[_somewhere(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: _somewhere(data, rng)]


def _insert(data: bytes, other: bytes, rng: random.Random) -> bytes:
    at = _somewhere(data, rng)
    return data[:at] + rng.randbytes(rng.choice([1, 4, 50, 3000])) + data[at:]


def _remove(data: bytes, other: bytes, rng: random.Random) -> bytes:
    at = _somewhere(data, rng)
    return data[:at] + data[at + rng.choice([1, 4, 50]) :]


def _repeat(data: bytes, other: bytes, rng: random.Random) -> bytes:
    at, length = _somewhere(data, rng), rng.choice([4, 50, 500])
    return data[:at] + data[at : at + length] * rng.choice([2, 30]) + data[at + length :]


def _splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: _somewhere(data, rng)] + other[_somewhere(other, rng) :]


def _number(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A number of a header, such as a size, an offset or a count, becomes an extreme one."""
    form = rng.choice(["<H", ">H", "<I", ">I"])
    number = struct.pack(form, rng.choice(_NUMBERS) % 256 ** struct.calcsize(form))
    at = _somewhere(data, rng)
    return data[:at] + number + data[at + len(number) :]


def _blocks(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Two parts change places."""
    a, b, c = sorted(rng.randrange(len(data) + 1) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _chunks(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Chunks of a PNG or RIFF file change, with lengths and checksums that are right again."""
    if data[:4] == b"\x89PNG":
        start, form, tail = 8, ">I", 4
    elif data[:4] == b"RIFF":
        start, form, tail = 12, "<I", 0
    else:
        return _number(data, other, rng)
    found, at = [], start
    while at + 8 <= len(data) and len(found) < 200:
        before = form == ">I"
        (length,) = struct.unpack(form, data[at : at + 4] if before else data[at + 4 : at + 8])
        name = data[at + 4 : at + 8] if before else data[at : at + 4]
        found.append([name, data[at + 8 : at + 8 + length]])
        at += 8 + length + tail + (0 if before else length % 2)
    if not found:
        return _flip(data, other, rng)
    chosen = rng.randrange(len(found))
    match rng.randrange(4):
        case 0:
            rng.shuffle(found)
        case 1:
            found.insert(rng.randrange(len(found) + 1), found[chosen])
        case 2:
            del found[chosen]
        case 3:
            name, body = found[chosen]
            found[chosen] = [name, _DAMAGES[rng.randrange(7)](body, other, rng) if body else b"\0"]
    if data[:4] == b"RIFF":
        body = b"".join(n + struct.pack("<I", len(b)) + b + b"\0" * (len(b) % 2) for n, b in found)
        return b"RIFF" + struct.pack("<I", len(body) + 4) + data[8:12] + body
    return data[:8] + b"".join(
        struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in found
    )


_DAMAGES = (_flip, _cut, _insert, _remove, _repeat, _splice, _number, _blocks, _chunks)


def picture(rng: random.Random) -> tuple[str, bytes]:
    """A damaged file, and what it was made of."""
    name, data = rng.choice(list(originals().items()))
    return name, mutated(data, rng.choice(list(originals().values())), rng)


def _is_tiff(given: object) -> bool:
    """Whether libtiff reads it, which complains past Python; the command line drops that."""
    return isinstance(given, tuple) and given[1][:2] in (b"II", b"MM")


def open_picture(given: tuple[str, bytes]) -> str:
    """Give it to the door; what comes out must be pixels or an ``ImageError``."""
    name, data = given
    kind = name.split(",")[0]
    try:
        image = load_image(data, max_pixels=MAX_PIXELS)
    except ImageError as error:
        if not re.fullmatch(r"the bytes given: An image [^\n]{20,500}", str(error)):
            raise FuzzError(f"no clear message: {error}") from None
        return f"{kind}: refused"
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise FuzzError(f"no picture: {image.dtype} {image.shape}")
    return f"{kind}: picture"


# --- options --------------------------------------------------------------------------------


@functools.cache
def network() -> tuple[object, np.ndarray]:
    """The explained network, and its pictures as it takes them."""
    model, inputs = networks.flat(), networks.pictures(2)
    tfcam.explain(model, inputs, method="smooth_grad", samples=1)  # TensorFlow says hello once
    return model, inputs


class Odd:
    """Nothing that anybody asks for."""

    def __repr__(self) -> str:
        return "Odd()"


def nothing(*given: object) -> None:
    """Takes anything, and gives nothing."""


def _odd() -> list[object]:
    """Values of every kind, most of which no option takes."""
    return [
        *(None, True, False, 0, 1, -1, 2, 3, 99, 10**30, -(10**30), 0.0, 0.5, -2.5, 1e30, 1e300),
        *(
            float("nan"),
            float("inf"),
            1j,
            "",
            "x",
            "features",
            "0",
            "max",
            "unit",
            "logit",
            "é\0\n",
        ),
        *(b"", b"features", bytearray(b"x"), (), [], {}, set(), [None], [0], [0, 1], (2, 3), [[]]),
        *({"a": 1}, {1, 2}, ["a", "b", "c"], ["first", "features"], "features:1", "head", ":", "/"),
        *(
            np.int64(1),
            np.float32(0.5),
            np.array(1),
            np.array([0, 1]),
            np.zeros((2, 2)),
            np.bool_(1),
        ),
        *(
            np.array("a"),
            np.array([None]),
            np.str_("features"),
            tf.constant(1),
            tf.constant([0, 1]),
        ),
        *(
            tf.constant("a"),
            tf.zeros((2, 12, 12, 3)),
            range(3),
            iter([1]),
            Odd(),
            Odd,
            nothing,
            int,
        ),
        *(Path("x"), slice(1), Ellipsis, NotImplemented, ValueError("x"), memoryview(b"x")),
        *(
            tfcam.Top(2),
            tfcam.Top(9),
            tfcam.Difference(0, 1),
            tfcam.Difference("a", 9),
            tfcam.Box(0),
        ),
        *(tfcam.Segmentation(1), tfcam.Regression(-1, 2), tfcam.Similarity([1.0, 2.0, 3.0])),
    ]


def _images() -> list[object]:
    _, inputs = network()
    pixels = np.arange(432, dtype=np.uint8).reshape(12, 12, 3)
    return [
        *(inputs, inputs[0], inputs[:1], list(inputs), tf.constant(inputs), inputs.astype(float)),
        *(
            pixels,
            [pixels, pixels[:7]],
            Image.fromarray(pixels),
            originals()["png"],
            pixels[..., 0],
        ),
        *(inputs * np.nan, inputs[0][:5], inputs[..., :1], np.zeros((0, 12, 12, 3)), pixels[:0]),
        *([inputs[0], pixels], inputs.astype(complex), tf.ragged.constant([[1.0]]), inputs * 1e38),
        *(np.full((12, 12, 3), 1e300), tf.sparse.from_dense([[1.0]]), "no.png", b"no", "ftp://x/y"),
    ]


_GOOD = {  # what each option may be
    "layer": ["features", "first", 0, -1, None, ["first", "features"], "all_convolutions", (0, 2)],
    "target": [None, 0, 2, "dog", [0, 1], tfcam.Top(2), tfcam.Difference(0, 2), [None, "cat"]],
    "method": [*tfcam.METHODS],
    "preprocess": ["auto", None, "unit", "tf", "raw", "caffe", "vgg16"],
    "labels": [["cat", "dog", "fox"], ("a", "b", "c"), None],
    "score": ["logit", "probability"],
    "output": [None, 0, "head"],
    "grid": [None],
    "fuse": ["max", "mean", "product", "tanh_max"],
    "augment": [False, False, True],
    "eigen": [False, True],
    "batch_size": [1, 2, 32],
}


def request(rng: random.Random) -> dict[str, object]:
    """What to ask ``explain`` for: good values, a few of them replaced by odd ones."""
    asked = {name: rng.choice(_GOOD[name]) for name in rng.sample(sorted(_GOOD), rng.randrange(5))}
    method = tfcam.METHODS.get(asked.get("method", "grad_cam"))
    own = list(method.function.__kwdefaults__ or {})
    if rng.random() < 0.4 and own:
        asked[rng.choice(own)] = rng.choice(
            [1, 2, 0.5, True, "mean", "channel_softmax", "layer_cam"]
        )
    asked["image"] = rng.choice(_images()[:8] if rng.random() < 0.7 else _images())
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        name = rng.choice([*_GOOD, *own, "image", "sampels"])
        asked[name] = rng.choice(_odd())
    for loop in ("samples", "steps", "masks"):  # the defaults take too long for a fuzz
        if loop in own:
            asked.setdefault(loop, 8 if "segments" in own else 2)
    if "segments" in own:
        asked.setdefault("segments", "grid:2")
    return asked


# Words of Python, NumPy, TensorFlow and Keras that show that nobody checked what came.
_FOREIGN = re.compile(
    r"unhashable|has no (attribute|len)|not (iterable|subscriptable|callable)|unsupported operand|"
    r"not supported between|truth value|Exception encountered|unpack|positional argument|"
    r"object cannot be|must be real number|Traceback|\[Op:|sequence item|invalid literal"
)


def open_options(asked: dict[str, object]) -> str:
    """Give them to the door; what comes out must be a sound result or a clear error."""
    model, _ = network()
    try:
        found = tfcam.explain(model, **asked)
    except (ValueError, TypeError, FileNotFoundError) as error:
        text = str(error)
        if len(text) < 20 or _FOREIGN.search(text) or "\n" in text:
            raise FuzzError(f"no clear message: {type(error).__name__}: {text}") from error
        return f"options: {type(error).__name__}"
    for each in found if isinstance(found, tfcam.Explanations) else [found]:
        heatmap = each.heatmap
        sound = heatmap.dtype == np.float32 and heatmap.shape == each.image.shape[:2]
        if not sound or not ((heatmap >= 0) & (heatmap <= 1)).all():
            raise FuzzError(f"no heatmap: {heatmap.dtype} {heatmap.shape}")
        if not np.isfinite(each.raw).all() and not each.findings:
            raise FuzzError("a map that is not finite, and no finding")
    return "options: result"


# --- the run --------------------------------------------------------------------------------

DOORS = {"picture": (picture, open_picture), "options": (request, open_options)}


class _Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextlib.contextmanager
def _listening():
    """Warnings are errors; gives a function that tells what came out on the error stream."""
    heard, root = _Heard(), logging.getLogger()
    kept, handlers, last = os.dup(2), root.handlers[:], logging.lastResort
    with tempfile.TemporaryFile() as file, warnings.catch_warnings():
        warnings.simplefilter("error")
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        root.handlers[:], logging.lastResort = [], heard

        def told() -> tuple[str, list[str]]:
            file.seek(0)
            found = file.read().decode(errors="replace"), heard.lines[:]
            file.truncate(0)
            heard.lines.clear()
            return found

        try:
            yield told
        finally:
            root.handlers[:], logging.lastResort = handlers, last
            os.dup2(kept, 2)
            os.close(kept)


def megabytes() -> float:
    """The most memory that this process has held so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(
    door: str, seed: int, *, first: int = 0, count: int | None = None, seconds: float | None = None
) -> Counter[str]:
    """Give a door its inputs, up to a count or for a time.

    Returns:
        How many inputs came to which end.

    Raises:
        FuzzError: At the first input that does what none may do; the message says how to repeat it.
    """
    make, give = DOORS[door]
    ends: Counter[str] = Counter()
    originals(), network()
    started, held = time.monotonic(), 0.0
    with _listening() as told:
        for number in itertools.count(first):
            if number - first == count or (seconds and time.monotonic() - started > seconds):
                return ends
            given = make(random.Random(f"{seed} {door} {number}"))
            before = time.monotonic()
            try:
                ends[give(given)] += 1
                problem = ""
            except Exception:
                problem = traceback.format_exc()
            took = time.monotonic() - before
            if took > SECONDS:
                problem += f"\nit took {took:.1f} seconds"
            written, logged = told()
            if logged or (written and not _is_tiff(given)):
                problem += f"\non the error stream: {written} {logged}"
            if number - first == 200:  # every decoder and method has been loaded
                held = megabytes()
            if held and megabytes() > held + MEGABYTES:
                problem += f"\nit holds {megabytes() - held:.0f} MB more than after 200 inputs"
            if problem:
                again = (
                    f"python -m tests.fuzz --door {door} --seed {seed} --first {number} --count 1"
                )
                raise FuzzError(f"{again}\n{given!r:.3000}\n{problem}")
    return ends


def main() -> None:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description="Fuzz of the doors.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--door", choices=[*DOORS])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int)
    asked = parser.parse_args()
    doors = [asked.door] if asked.door else [*DOORS]
    model, inputs = network()
    before = networks.snapshot(model, inputs)
    for door in doors:
        seconds = None if asked.count else asked.minutes * 60 / len(doors)
        faulthandler.dump_traceback_later((seconds or 600) + 120, exit=True)
        ends = run(door, asked.seed, first=asked.first, count=asked.count, seconds=seconds)
        print(f"{door}: {sum(ends.values())} inputs, no failure")
        for end, number in sorted(ends.items()):
            print(f"  {number:7} {end}")
    if networks.snapshot(model, inputs) != before:
        raise FuzzError("the model is not what it was")


if __name__ == "__main__":
    main()
