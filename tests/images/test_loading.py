"""Every way a picture may come, and every way it may be wrong: pixels and messages, exactly."""

import http.server
import io
import itertools
import os
import random
import socket
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFile

from tfcam.images.kinds import ImageError
from tfcam.images.loading import is_prepared, load_image, resize_image, to_channels

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14  # 0..238, no two alike


def encode(image, kind="PNG", **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width, height, depth, colour, rows, *chunks):
    """A PNG written by hand, for what Pillow does not write."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join(chunk(*c) for c in chunks) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.fixture(autouse=True)
def pillow_is_left_alone():
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    yield
    after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    assert after == before


# --- where it comes from --------------------------------------------------------------------


def sources(tmp_path):
    path = tmp_path / "a.png"
    data = encode(PIXELS)
    path.write_bytes(data)
    middle = io.BytesIO(b"junk" + data)
    middle.seek(4)
    return {
        "str": str(path),
        "path": path,
        "bytes": data,
        "bytearray": bytearray(data),
        "memoryview": memoryview(data),
        "strided memoryview": memoryview(bytes(b for b in data for _ in "ab"))[::2],
        "file in memory": io.BytesIO(data),
        "file standing in the middle": middle,
        "pil": Image.fromarray(PIXELS),
        "pil, not yet read": Image.open(io.BytesIO(data)),
        "array": PIXELS,
        "batch of one": PIXELS[None],
        "fortran order": np.asfortranarray(PIXELS),
        "tensor": tf.constant(PIXELS),
        "variable": tf.Variable(PIXELS),
        "keras variable": keras.Variable(PIXELS, dtype="uint8"),
        "int64": PIXELS.astype(np.int64),
        "uint16": PIXELS.astype(np.uint16),
        "int32 tensor": tf.constant(PIXELS, tf.int32),
    }


def test_every_source_gives_the_same_pixels(tmp_path):
    for name, source in sources(tmp_path).items():
        image = load_image(source)
        assert image.dtype == np.uint8, name
        assert image.flags.c_contiguous, name
        assert image.flags.writeable, name
        np.testing.assert_array_equal(image, PIXELS, err_msg=name)


def test_open_file_and_relative_path(tmp_path, monkeypatch):
    (tmp_path / "a:b.jpg").write_bytes(encode(PIXELS))  # no URL: a colon is no scheme
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(load_image("a:b.jpg"), PIXELS)
    with Path("a:b.jpg").open("rb") as file:
        np.testing.assert_array_equal(load_image(file), PIXELS)
        assert not file.closed


def test_pipe_that_cannot_seek():
    class Pipe(io.RawIOBase):
        data = encode(PIXELS)

        def readable(self):
            return True

        def readinto(self, buffer):
            part, self.data = self.data[: len(buffer)], self.data[len(buffer) :]
            buffer[: len(part)] = part
            return len(part)

    np.testing.assert_array_equal(load_image(Pipe()), PIXELS)


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 3, 4), (2, 3, 1), (2, 3), (1, 2, 3, 3)])
def test_result_shares_no_memory(shape):
    source = np.full(shape, 255, np.uint8)  # opaque: the alpha case may not pass through either
    image = load_image(source)
    assert not np.shares_memory(image, source)
    image[:] = 7
    assert (source == 255).all()


def test_pil_image_is_not_changed():
    source = Image.open(io.BytesIO(encode(PIXELS, exif=exif(6))))
    load_image(source)[:] = 0
    assert source.size == (3, 2)
    assert source.getexif()[0x0112] == 6
    np.testing.assert_array_equal(np.array(source), PIXELS)


def test_read_only_array():
    source = PIXELS.copy()
    source.flags.writeable = False
    assert load_image(source).flags.writeable


# --- modes ----------------------------------------------------------------------------------


def test_grey_arrays():
    grey = PIXELS[..., 0]
    expected = np.stack([grey] * 3, axis=-1)
    for source in (
        grey,
        grey[..., None],
        grey[None, ..., None],
        encode(grey),
        Image.fromarray(grey),
    ):
        np.testing.assert_array_equal(load_image(source), expected)


def test_alpha_is_laid_on_white():
    # 100 * a + 255 * (1 - a): a = 0 -> 255, a = 51/255 = 0.2 -> 224, a = 0.6 -> 162, a = 1 -> 100
    rgba = np.array([[[100, 0, 255, a] for a in (0, 51, 153, 255)]], np.uint8)
    expected = [[[255, 255, 255], [224, 204, 255], [162, 102, 255], [100, 0, 255]]]
    for source in (rgba, rgba[None], encode(rgba), encode(rgba, "TIFF"), Image.fromarray(rgba)):
        assert load_image(source).tolist() == expected
    webp = encode(rgba, "WEBP", lossless=True, exact=True)
    assert load_image(webp).tolist() == expected


def test_alpha_rounds_to_the_nearest():
    value, alpha = np.meshgrid(np.arange(256), np.arange(256))
    rgba = np.stack([value, value, value, alpha], axis=-1).astype(np.uint8)
    exact = (value * alpha + 255.0 * (255 - alpha)) / 255  # never halfway: 255 is odd
    np.testing.assert_array_equal(load_image(rgba)[..., 0], np.rint(exact))


def test_grey_with_alpha():
    source = Image.fromarray(np.array([[[100, 51], [100, 255]]], np.uint8), "LA")
    assert load_image(source)[0, :, 0].tolist() == [224, 100]
    assert load_image(encode(source))[0, :, 0].tolist() == [224, 100]


def test_palette_and_its_transparency():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([10, 20, 30, 100, 0, 255, 7, 8, 9])
    plain = [[[10, 20, 30], [100, 0, 255], [7, 8, 9]]]
    assert load_image(image).tolist() == plain
    assert load_image(encode(image)).tolist() == plain
    seen = load_image(encode(image, transparency=bytes([0, 51, 255]))).tolist()
    assert seen == [[[255, 255, 255], [224, 204, 255], [7, 8, 9]]]
    assert load_image(encode(image, "GIF", transparency=2)).tolist() == [
        [[10, 20, 30], [100, 0, 255], [255, 255, 255]]
    ]


def test_transparent_colour_of_rgb_and_grey():
    rgb = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert load_image(encode(rgb, transparency=(1, 2, 3))).tolist() == [[[255] * 3, [4, 5, 6]]]
    grey = np.array([[9, 8]], np.uint8)
    assert load_image(encode(grey, transparency=8)).tolist() == [[[9] * 3, [255] * 3]]


def test_cmyk():
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]
    image = Image.new("CMYK", (6, 1))
    image.putdata([*inks, (0, 0, 0, 100)])
    white, cyan, magenta, yellow = [255] * 3, [0, 255, 255], [255, 0, 255], [255, 255, 0]
    expected = [[white, cyan, magenta, yellow, [0] * 3, [155] * 3]]
    assert load_image(image).tolist() == expected
    assert load_image(encode(image, "TIFF")).tolist() == expected
    solid = Image.new(
        "CMYK", (16, 16), (255, 0, 0, 0)
    )  # JPEG is lossy, and its CMYK often inverted
    error = np.abs(load_image(encode(solid, "JPEG", quality=100)).astype(int) - cyan)
    assert error.max() <= 4


def test_black_and_white():
    assert load_image(Image.new("1", (1, 1), 1)).tolist() == [[[255] * 3]]


@pytest.mark.parametrize(
    "source",
    [
        png(3, 1, 16, 0, b"\0" + struct.pack(">3H", 0, 32768, 65535)),
        encode(np.array([[0, 32768, 65535]], np.uint16)),
        encode(np.array([[0, 32768, 65535]], np.uint16), "TIFF"),
        b"P5 3 1 65535\n" + struct.pack(">3H", 0, 32768, 65535),
        Image.fromarray(np.array([[0, 32768, 65535]], np.uint16)),
        Image.frombytes("I;16B", (3, 1), struct.pack(">3H", 0, 32768, 65535)),
    ],
    ids=["png by hand", "png", "tiff", "pgm", "pil", "pil big-endian"],
)
def test_grey_of_16_bits_is_scaled(source):
    assert load_image(source).tolist() == [[[0] * 3, [128] * 3, [255] * 3]]


def test_grey_of_16_bits_rounds_to_the_nearest():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(values * 255.0 / 65535)
    np.testing.assert_array_equal(load_image(encode(values))[..., 0], expected)


def test_grey_of_16_bits_with_a_transparent_value():
    data = png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 500, 0), (b"tRNS", struct.pack(">H", 500)))
    assert load_image(data)[0, :, 0].tolist() == [255, 0]


DEEP = np.array([[0, 1000, 2048, 4095, 4096, 60000]], np.uint16)


@pytest.mark.parametrize(
    "source",
    [
        DEEP,
        DEEP.astype(np.int32)[..., None],
        DEEP.astype(np.float32),
        tf.constant(DEEP.astype(np.int64)),
        encode(DEEP),
        encode(DEEP, "TIFF"),
        Image.fromarray(DEEP),
        Image.fromarray(DEEP.astype(np.float32)),
        encode(DEEP.astype(np.float32), "TIFF"),
        encode(DEEP.astype(np.int32), "TIFF"),
    ],
)
def test_a_window_is_black_to_white(source):
    found = load_image(source, window=(1000, 4095))
    wanted = np.round((np.clip(DEEP.astype(float), 1000, 4095) - 1000) / 3095 * 255)
    np.testing.assert_array_equal(found, np.repeat(wanted[..., None], 3, -1))
    assert found.dtype == np.uint8


def test_a_window_of_hounsfield_units_and_of_colours():
    slices = np.array([[-1024, -160, 40, 240, 3071]], np.int16)
    assert load_image(slices, window=(-160, 240))[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    colours = np.array([[[10, 60, 110]]], np.uint8)
    for source in (colours, encode(colours), colours / 1.0):
        assert load_image(source, window=(10, 110)).tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize(
    ("source", "window", "match"),
    [
        (DEEP, (5, 5), r"window must be \(low, high\), two numbers, the lower first; got \(5, 5\)"),
        (DEEP, 4095, "window must be"),
        (DEEP, (0, np.nan), "window must be"),
        (np.array([[np.nan, 1]]), (0, 1), "must be numbers; some are NaN"),
        (np.zeros((2, 2, 4), np.uint16), (0, 1), "for grey or RGB; got 4 channels"),
        (
            png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 0, 1, 2)),
            (0, 4095),
            "for grey of 16 bits; of colours",
        ),
        (np.array([["a"]]), (0, 1), "Pixels must be uint8"),
    ],
)
def test_a_window_that_is_none_is_told(source, window, match):
    with pytest.raises(ImageError, match=match):
        load_image(source, window=window)


def test_rgb_of_16_bits():
    data = png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 0, 32768, 65535))
    assert load_image(data).tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bits_are_refused(mode):
    with pytest.raises(ImageError, match=r"8 or 16 bits a channel; got 32 \(mode '[IF]'\).*uint8"):
        load_image(Image.new(mode, (2, 2)))


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "RGBX", "RGBa", "La", "PA"])
def test_rare_modes_give_pixels_or_the_error(mode):
    try:
        assert load_image(Image.new(mode, (3, 2))).shape == (2, 3, 3)
    except ImageError as error:
        assert "the PIL image" in str(error)  # noqa: PT017


RED, BLUE = Image.new("RGB", (4, 3), (255, 0, 0)), Image.new("RGB", (4, 3), (0, 0, 255))


@pytest.mark.parametrize(
    ("kind", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]
)
def test_first_frame_of_an_animation(kind, options):
    data = encode(RED, kind, save_all=True, append_images=[BLUE], **options)
    image = Image.open(io.BytesIO(data))
    assert image.n_frames == 2
    assert (load_image(data) == (255, 0, 0)).all()
    image.seek(1)
    assert (load_image(image) == (0, 0, 255)).all()
    assert image.tell() == 1


# EXIF 2.32, tag 0x0112: where row 0 and column 0 of the stored picture are in the upright one.
UPRIGHT = [[1, 2, 3], [4, 5, 6]]
STORED = {
    1: [[1, 2, 3], [4, 5, 6]],  # row 0 is the top, column 0 the left
    2: [[3, 2, 1], [6, 5, 4]],  # top, right
    3: [[6, 5, 4], [3, 2, 1]],  # bottom, right
    4: [[4, 5, 6], [1, 2, 3]],  # bottom, left
    5: [[1, 4], [2, 5], [3, 6]],  # row 0 is the left, column 0 the top
    6: [[3, 6], [2, 5], [1, 4]],  # right, top
    7: [[6, 3], [5, 2], [4, 1]],  # right, bottom
    8: [[4, 1], [5, 2], [6, 3]],  # left, bottom
}


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(orientation):
    values = np.array(STORED[orientation], np.uint8) * 40
    rgb, tags = np.stack([values] * 3, axis=-1), exif(orientation)
    sources = {
        "png": encode(rgb, exif=tags),
        "webp": encode(rgb, "WEBP", lossless=True, exif=tags),
        "tiff": encode(rgb, "TIFF", exif=tags),
        "tiff, lzw": encode(rgb, "TIFF", exif=tags, compression="tiff_lzw"),
        "16 bits": encode(values.astype(np.uint16) * 257, exif=tags),
        "pil": Image.open(io.BytesIO(encode(rgb, exif=tags))),
    }
    for name, source in sources.items():
        image = load_image(source)
        assert image.flags.c_contiguous, name
        np.testing.assert_array_equal(image[..., 0], np.array(UPRIGHT) * 40, err_msg=name)
    blocks = np.kron(rgb, np.ones((16, 16, 1), np.uint8))  # whole blocks survive JPEG
    image = load_image(encode(blocks, "JPEG", quality=100, exif=tags))
    assert image.shape == (32, 48, 3)
    assert np.abs(image[8::16, 8::16, 0].astype(int) - np.array(UPRIGHT) * 40).max() <= 2


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_senseless_orientation_is_ignored(orientation):
    np.testing.assert_array_equal(load_image(encode(PIXELS, exif=exif(orientation))), PIXELS)


@pytest.mark.parametrize(
    "metadata", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", b"Exif\0\0"]
)
def test_damaged_metadata_is_ignored(metadata):
    assert load_image(encode(RED, "JPEG", exif=metadata)).shape == (3, 4, 3)
    np.testing.assert_array_equal(load_image(encode(PIXELS, exif=metadata)), PIXELS)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000)])
def test_extreme_sizes(size):
    assert load_image(encode(Image.new("RGB", size))).shape == (size[1], size[0], 3)


# --- what is refused ------------------------------------------------------------------------


def test_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"none at 'dog\.jpg' \(looked in {tmp_path}\)"):
        load_image("dog.jpg")
    with pytest.raises(FileNotFoundError, match=r"none at 'dog\.jpg' \(looked"):
        load_image(Path("dog.jpg"))
    with pytest.raises(FileNotFoundError, match="Check the spelling"):
        load_image(Path("no/such/dog.jpg"))
    with pytest.raises(FileNotFoundError, match="none at"):
        load_image(r"C:\dog.jpg")  # a drive is no scheme


def test_paths_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "", "/dev/null"):
        with pytest.raises(ImageError, match="it is a directory or a device"):
            load_image(path)
    with pytest.raises(ImageError, match=r"must name an image file.*File name too long") as caught:
        load_image("x" * 100_000)
    assert len(str(caught.value)) < 500
    with pytest.raises(ImageError, match=r"must name an image file.*null"):
        load_image("a\0b")


def test_files_that_are_no_images(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"x\.jpg'?\)?: An image file must not be empty"):
        load_image(path)
    path.write_text("hello, this is text")
    with pytest.raises(ImageError, match=r"one of AVIF, BMP.*begins with b'hello, this '.*PNG or"):
        load_image(path)
    for data in (b"", bytearray(), memoryview(b""), io.BytesIO()):
        with pytest.raises(ImageError, match="must not be empty"):
            load_image(data)


def test_formats_that_run_programs_are_not_opened():
    with pytest.raises(ImageError, match="must be one of"):
        load_image(encode(RED, "EPS"))
    with pytest.raises(ImageError, match="must be one of"):
        load_image(encode(RED, "ICO"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM", "GIF", "AVIF"])
def test_truncated(kind):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(noise, kind)
    with pytest.raises(ImageError, match=r"the bytes given: An image .*(damaged|cut off)"):
        load_image(data[: len(data) // 2])


def test_too_many_pixels_is_seen_in_the_header():
    header_only = png(10_001, 10_000, 8, 2, b"")  # decoding it would fail in another way
    with pytest.raises(
        ImageError, match=r"max_pixels = 100,000,000 pixels; got 10001 x 10000\. Sc"
    ):
        load_image(header_only)
    with pytest.raises(ImageError, match="damaged or cut off"):
        load_image(header_only, max_pixels=10_001 * 10_000)
    assert load_image(encode(PIXELS), max_pixels=6).shape == (2, 3, 3)
    for source in (encode(PIXELS), Image.fromarray(PIXELS)):
        with pytest.raises(ImageError, match=r"max_pixels = 5 pixels; got 3 x 2"):
            load_image(source, max_pixels=5)


def test_pillow_s_own_limit():
    with pytest.raises(ImageError, match=r"must be smaller\..*400000000 pixels.*Scale it down"):
        load_image(png(20_000, 20_000, 8, 2, b""))
    with pytest.raises(ImageError, match="must be smaller"):
        load_image(png(20_000, 20_000, 8, 2, b""), max_pixels=10**9)


def test_pillow_s_warning_is_not_ours(monkeypatch):
    data = encode(PIXELS)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 4)  # warns from 5 pixels on, raises from 9 on
        with pytest.warns(Image.DecompressionBombWarning):
            Image.open(io.BytesIO(data)).close()
        np.testing.assert_array_equal(load_image(data), PIXELS)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 4, 3), r"at least one pixel; got shape \(0, 4, 3\)"),
        ((4, 0), r"at least one pixel; got shape \(4, 0, 1\)"),
        ((2, 3, 2), r"C = 1, 3 or 4 channels, the channels last; got \(2, 3, 2\)"),
        ((2, 3, 5), r"got \(2, 3, 5\)"),
        ((3, 8, 9), r"the channels last; got \(3, 8, 9\)"),
        ((2, 3, 0), r"got \(2, 3, 0\)"),
        ((), r"got \(\)"),
        ((5,), r"got \(5,\)"),
        ((2, 4, 4, 3), r"got \(2, 4, 4, 3\)\. Give several images one by one"),
        ((1, 1, 4, 4, 3), r"got \(1, 1, 4, 4, 3\)"),
    ],
)
def test_wrong_shapes(shape, message):
    with pytest.raises(ImageError, match=message):
        load_image(np.zeros(shape, np.uint8))


def test_pil_image_without_pixels():
    for mode in ("RGB", "P", "RGBA", "I;16"):
        with pytest.raises(ImageError, match=r"the PIL image: .*at least one pixel"):
            load_image(Image.new(mode, (0, 5)))


def test_pil_image_that_is_closed(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    image = Image.open(tmp_path / "a.png")
    image.close()
    with pytest.raises(ImageError, match="the PIL image: "):
        load_image(image)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((2, 2, 3), bool), "uint8, 0..255; got bool"),
        (np.zeros((2, 2, 3), object), "got object"),
        (np.zeros((2, 2, 3), complex), "got complex128"),
        (np.array([["a.jpg"]]), "got <U5"),
        (tf.constant("a.jpg"), "got object"),
        (np.array([[-1, 5]]), r"0\.\.255; got -1 to 5\. Scale them"),
        (np.array([[0, 256]], np.uint16), r"0\.\.255; got 0 to 256"),
        (np.array([[2**64 - 1]], np.uint64), f"got {2**64 - 1} to {2**64 - 1}"),
        (
            np.zeros((2, 2, 3), np.float32),
            r"got float32\. Floats.*explain\(\.\.\., preprocess=None",
        ),
        (np.zeros((2, 2, 3)), "got float64"),
        (np.zeros((2, 2, 3), np.float16), "got float16"),
        (tf.zeros((2, 2, 3)), "prepared already"),
        (tf.zeros((2, 2, 3), tf.bfloat16), "prepared already"),
        (keras.Input((2, 2, 3), dtype="uint8"), "must have values"),
        (None, "a PIL image or an array; got NoneType"),
        (5, "got int"),
        (1.5, "got float"),
        ([PIXELS, PIXELS], "got list. Give several images one by one"),
        ({"image": PIXELS}, "got dict"),
        (io.StringIO("text"), "must give bytes: .*mode 'rb'"),
        (open, "got builtin_function_or_method"),
    ],
)
def test_wrong_things(source, message):
    with pytest.raises(ImageError, match=message):
        load_image(source)


def test_file_objects_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(PIXELS))
    with path.open() as file, pytest.raises(ImageError, match=r"must give bytes.*mode 'rb'"):
        load_image(file)
    with pytest.raises(ImageError, match="closed file"):
        load_image(file)


# --- URLs -----------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    stop = threading.Event()

    def log_message(self, *args):
        pass

    def answer(self, status=200, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def endless(self):
        while not self.stop.is_set():
            try:
                self.wfile.write(bytes(2**16))
            except OSError:  # the other side has had enough, as it should
                return

    def do_GET(self):
        data = encode(PIXELS)
        name, _, argument = self.path[1:].partition("/")
        match name:
            case "image":
                self.answer(
                    body=data, Content_Type=argument or "image/png", Content_Length=len(data)
                )
            case "untyped":
                self.answer(body=data)
            case "redirect":
                n = int(argument)
                location = f"/redirect/{n - 1}" if n else "/image"
                self.answer(302, Location=location, Content_Length=0)
            case "loop":
                self.answer(302, Location="/loop", Content_Length=0)
            case "to":
                self.answer(302, Location=argument, Content_Length=0)
            case "fat":
                self.answer(302, Location="/image", Content_Type="text/plain")
                self.endless()
            case "status":
                self.answer(int(argument), body=b"<html>", Content_Length=6)
            case "garbage":
                self.answer(body=b"no image", Content_Type="image/png", Content_Length=8)
            case "announced":
                self.answer(Content_Type="image/png", Content_Length=int(argument or 10**9))
            case "endless":
                self.answer(Content_Type="image/png")
                self.endless()
            case "cut":
                self.answer(body=data[:30], Content_Type="image/png", Content_Length=len(data))
            case "silent":
                self.stop.wait(5)
            case "stuck":
                self.answer(body=data[:30], Content_Type="image/png", Content_Length=len(data))
                self.wfile.flush()
                self.stop.wait(5)


@pytest.fixture(scope="module")
def server():
    Handler.stop.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize(
    "path",
    [
        "/image",
        "/image/Image/PNG;%20charset=x",
        "/image/application/octet-stream",
        "/image/binary/octet-stream",
        "/untyped",
        "/redirect/0",
        "/redirect/4",
        "/fat",
    ],
)
def test_url(server, path):
    np.testing.assert_array_equal(load_image(server + path, timeout=5), PIXELS)
    np.testing.assert_array_equal(load_image(server.upper() + path, timeout=5), PIXELS)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/redirect/5", "redirects more than 5 times"),
        ("/loop", "redirects more than 5 times"),
        ("/to/file:///etc/passwd", "only http:// and https:// are followed"),
        ("/to/ftp://127.0.0.1/a.png", "only http:// and https:// are followed"),
        ("/to/data:image/png;base64,AAAA", "only http:// and https:// are followed"),
        ("/status/404", "the server answers 404 Not Found"),
        ("/status/500", "the server answers 500"),
        ("/status/204", "the server answers 204"),
        ("/image/text/html", "its content type is text/html"),
        ("/garbage", "begins with b'no image'"),
        ("/announced", "more than max_bytes = 1,000 bytes"),
        ("/endless", "more than max_bytes = 1,000 bytes"),
        ("/cut", "the server hung up before the end"),
        ("/silent", "stays silent"),
        ("/stuck", "cannot be reached or stopped answering"),
    ],
)
def test_url_that_gives_no_image(server, path, message):
    started = time.monotonic()
    with pytest.raises(ImageError, match=message) as caught:
        load_image(server + path, timeout=0.3, max_bytes=1000)
    assert time.monotonic() - started < 3
    assert server + path in str(caught.value)


def test_url_of_exactly_max_bytes(server):
    size = len(encode(PIXELS))
    assert load_image(server + "/untyped", max_bytes=size).shape == (2, 3, 3)
    with pytest.raises(ImageError, match="max_bytes"):
        load_image(server + "/untyped", max_bytes=size - 1)


def test_fifty_megabytes_are_the_most_of_a_url(server):
    with pytest.raises(ImageError, match="more than max_bytes = 52,428,800 bytes"):
        load_image(f"{server}/announced/{50 * 2**20 + 1}", timeout=0.3)
    with pytest.raises(ImageError, match="the server hung up before the end"):
        load_image(f"{server}/announced/{50 * 2**20}", timeout=0.3)


def test_url_that_nobody_answers():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ImageError, match=r"cannot be reached .* give its path"):
        load_image(f"http://127.0.0.1:{port}/a.png", timeout=1)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "file:/etc/passwd",
        "ftp://127.0.0.1/a.png",
        "s3://bucket/a.png",
        "data:image/png;base64,AAAA",
        "httpx://127.0.0.1/a.png",
    ],
)
def test_other_schemes_are_refused(url):
    with pytest.raises(ImageError, match=r"only http:// and https:// are followed.*give its path"):
        load_image(url)


@pytest.mark.parametrize(
    "url", ["http://", "http:///a.png", "http://[::1", "http://a b/", "http://*"]
)
def test_malformed_urls(url):
    with pytest.raises(ImageError, match="A URL must lead to an image"):
        load_image(url, timeout=0.3)


# --- anything at all ------------------------------------------------------------------------


def mutations(count):
    rng = random.Random(0)
    noise = np.random.default_rng(0).integers(0, 256, (24, 17, 3), dtype=np.uint8)
    valid = [encode(noise, kind, exif=exif(6)) for kind in ("PNG", "JPEG", "WEBP")]
    valid += [encode(noise, kind) for kind in ("GIF", "BMP")]
    for data in itertools.islice(itertools.cycle(valid), count):
        changed = bytearray(data)
        where = rng.randrange(min(len(data), rng.choice([20, 200, 2000])))
        match rng.randrange(4):
            case 0:
                del changed[where:]
            case 1:
                del changed[where : where + rng.randrange(1, 30)]
            case 2:
                changed[where:where] = rng.randbytes(rng.randrange(1, 30))
            case 3:
                changed[where] = rng.randrange(256)
        yield bytes(changed)


def test_fuzz():
    outcomes = {"image": 0, "error": 0}
    for data in mutations(250):
        try:
            image = load_image(data, max_pixels=10**6)
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[2] == 3
            outcomes["image"] += 1
        except ImageError:
            outcomes["error"] += 1
    assert min(outcomes.values()) > 25, outcomes


def test_threads_leave_the_warning_filters_as_they_were():
    damaged, good = encode(RED, "JPEG", exif=b"Exif\0\0garbage"), encode(PIXELS)
    failures = []

    def work():
        for _ in range(50):
            if load_image(damaged).shape != (3, 4, 3) or (load_image(good) != PIXELS).any():
                failures.append("wrong pixels")

    before = list(warnings.filters)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert list(warnings.filters) == before


# --- prepared, resized, grey ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_floats_are_prepared(dtype):
    tensor = tf.zeros((2, 2, 3), dtype)
    assert is_prepared(tensor)
    assert is_prepared(tensor.numpy())
    assert is_prepared(tf.Variable(tensor))
    assert is_prepared(keras.Variable(tensor, dtype=dtype))
    assert is_prepared(keras.Input((2, 2, 3), dtype=dtype))


@pytest.mark.parametrize(
    "source",
    [
        *(PIXELS, PIXELS.astype(int), PIXELS > 0, np.array(["float"]), np.array([{}])),
        *(tf.constant(PIXELS), tf.constant("float"), RED),
        *("float32", b"float", Path("float"), None, 1.5, [1.5]),
    ],
)
def test_nothing_else_is_prepared(source):
    assert not is_prepared(source)


def test_resize_is_tensorflows_bilinear_and_does_not_smooth():
    image = np.random.default_rng(1).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    for size in [(40, 60), (31, 24), (200, 100)]:
        wanted = tf.image.resize(image, size, method="bilinear").numpy()
        assert np.abs(resize_image(image, size) - wanted).max() <= 1
    # The new pixels' centres lie between the first two and between the last two.
    halves = resize_image(np.array([[[0], [100], [200], [100]]], np.uint8), (1, 2))
    assert halves.ravel().tolist() == [50, 150]


def test_resize_averages_what_is_much_too_large():
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = resize_image(np.stack([checks] * 3, axis=-1).astype(np.uint8), (8, 8))
    assert np.abs(small.astype(int) - 127.5).max() < 2


def test_resize_stretches_rows_and_columns_apart():
    image = np.zeros((2, 4, 1), np.uint8)
    image[0] = 200  # upper half bright
    tall = resize_image(image, (6, 4))
    assert tall.shape == (6, 4, 1)
    assert (tall[0] == 200).all()
    assert (tall[-1] == 0).all()
    assert resize_image(image, (3, 9)).shape == (3, 9, 1)
    assert resize_image(image, (np.int64(3), np.int32(9))).shape == (3, 9, 1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_resize_takes_channels_one_by_one(channels):
    image = np.random.default_rng(0).integers(0, 256, (7, 5, channels), dtype=np.uint8)
    whole = resize_image(image, (4, 9))
    assert whole.shape == (4, 9, channels)
    assert whole.flags.c_contiguous
    for c in range(channels):
        np.testing.assert_array_equal(
            whole[..., c : c + 1], resize_image(image[..., c : c + 1], (4, 9))
        )
    if channels == 3:
        wanted = tf.image.resize(image, (4, 9), method="bilinear").numpy()
        assert np.abs(whole - wanted).max() <= 1


def test_resize_to_the_same_size_copies():
    same = resize_image(PIXELS, (2, 3))
    np.testing.assert_array_equal(same, PIXELS)
    assert not np.shares_memory(same, PIXELS)
    assert resize_image(np.asfortranarray(PIXELS), [2, 3]).flags.c_contiguous


@pytest.mark.parametrize(
    "size", [(0, 3), (3, -1), (3,), (3, 3, 3), (2.0, 3), ("2", "3"), (None, 3)]
)
def test_resize_refuses_sizes(size):
    with pytest.raises(ImageError, match=r"\(height, width\), two positive integers; got "):
        resize_image(PIXELS, size)


@pytest.mark.parametrize("function", [resize_image, to_channels])
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PIXELS.astype(np.float32), r"got float32 \(2, 3, 3\)\. Use load_image"),
        (PIXELS[0], r"got uint8 \(3, 3\)"),
        (PIXELS[None], r"got uint8 \(1, 2, 3, 3\)"),
        (PIXELS[:0], r"got uint8 \(0, 3, 3\)"),
        (PIXELS.tolist(), "got list"),
        (RED, "got Image"),
        (None, "got NoneType"),
    ],
)
def test_pixels_must_be_uint8(function, image, message):
    with pytest.raises(ImageError, match=message):
        function(image, (2, 2) if function is resize_image else 1)


def test_to_channels():
    assert to_channels(PIXELS, 3) is PIXELS
    colours = np.array(
        [[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [9, 9, 9]]], np.uint8
    )
    # 0.299 * 255 = 76.2, 0.587 * 255 = 149.7, 0.114 * 255 = 29.07
    assert to_channels(colours, 1).tolist() == [[[76], [150], [29], [255], [9]]]
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    exact = noise @ np.array([0.299, 0.587, 0.114])
    assert np.abs(to_channels(noise, 1)[..., 0] - exact).max() < 0.51


@pytest.mark.parametrize("channels", [0, 2, 4, None, "1"])
def test_to_channels_refuses(channels):
    with pytest.raises(
        ImageError, match=f"or become 1 .grey.; got 3 to become {channels}. Give the"
    ):
        to_channels(PIXELS, channels)
    with pytest.raises(ImageError, match="got 4 to become 1"):
        to_channels(np.zeros((2, 2, 4), np.uint8), 1)
