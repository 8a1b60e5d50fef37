"""A bounded part of the fuzz, and what its long runs have found, each as a test of its own."""

import io
import logging
import random
import struct

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfcam
from tests import fuzz, networks
from tfcam.cli.reading import read_image
from tfcam.images.loading import load_image


@pytest.mark.parametrize(
    ("door", "count", "least"), [("picture", 40_000, 4000), ("options", 2000, 400)]
)
@pytest.mark.product
def test_the_doors_hold(door, count, least):
    """`python -m tests.fuzz` tries as many more as one likes."""
    model, inputs = fuzz.network()
    before = networks.snapshot(model, inputs)
    ends = fuzz.run(door, seed=2026, count=count)
    assert networks.snapshot(model, inputs) == before
    good = sum(number for end, number in ends.items() if end.endswith(("picture", "result")))
    print(f"{door}: {sum(ends.values())} inputs, {dict(ends)}")
    assert least < good < sum(ends.values())  # it neither refuses nor takes all


def test_every_original_is_whole_and_every_damage_happens():
    for name, data in fuzz.originals().items():
        assert fuzz.open_picture((name, data)).endswith("picture"), name
    rng = random.Random(0)
    files = list(fuzz.originals().values())
    for damage in fuzz._DAMAGES:
        assert any(damage(each, files[0], rng) != each for each in files), damage


def test_an_input_follows_from_its_number():
    twice = [fuzz.picture(random.Random("1 picture 7")) for _ in range(2)]
    assert twice[0] == twice[1]


@pytest.mark.parametrize("problem", ["raises", "warns", "logs", "prints", "gives"])
def test_a_failure_is_seen_and_says_how_to_repeat_it(problem, monkeypatch):
    def give(given):
        if problem == "raises":
            raise KeyError("x")
        if problem == "warns":
            import warnings

            warnings.warn("x", stacklevel=1)
        if problem == "logs":
            import logging

            logging.getLogger("nobody.cares").error("x")
        if problem == "prints":
            import os

            os.write(2, b"x")
        if problem == "gives":
            raise fuzz.FuzzError("no picture: x")
        return "picture"

    monkeypatch.setitem(fuzz.DOORS, "picture", (lambda rng: ("png", b"y"), give))
    with pytest.raises(fuzz.FuzzError, match=r"--door picture --seed 3 --first 5 --count 1"):
        fuzz.run("picture", 3, first=5, count=1)


# --- found by the long runs -----------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return networks.flat()


@pytest.mark.parametrize("option", ["preprocess", "score", "fuse", "method", "output", "grid"])
@pytest.mark.parametrize(
    "value", [np.array([0, 1]), tf.zeros((2, 12, 12, 3)), [[0] * 999], {"a": 1}, b"x"]
)
def test_an_option_of_a_strange_kind_is_told_in_one_short_line(model, option, value):
    """Arrays compare element by element, lists have no hash, and both print over many lines."""
    with pytest.raises((ValueError, TypeError), match=rf"^{option} must be [^\n]*; got ") as caught:
        tfcam.explain(model, networks.pictures(1)[0], **{option: value})
    assert len(str(caught.value)) < 900


def test_floats_of_a_huge_range_are_shown_without_overflow(model):
    image = np.linspace(-3e38, 3e38, 432, dtype=np.float32).reshape(12, 12, 3)
    shown = tfcam.explain(model, image).image
    assert (shown.min(), shown.max()) == (0, 255)
    assert (np.diff(shown.ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("option", ["samples", "seed"])
def test_whole_numbers_that_no_tensor_holds(model, option):
    with pytest.raises(ValueError, match=f"{option} must be within 2147483647; got 1000"):
        tfcam.explain(model, networks.pictures(1)[0], method="smooth_grad", **{option: 10**30})


@pytest.mark.parametrize("value", [1e300, -1e300, float("nan")])
def test_numbers_that_no_float32_holds(model, value):
    with pytest.raises(ValueError, match="noise must be|baseline must be finite, as a float32"):
        tfcam.explain(model, networks.pictures(1)[0], method="integrated_gradients", baseline=value)


def test_options_of_an_own_method_may_have_any_annotation(model):
    def powers(reading, *, power: int = 1, factor=1.0, kind: "str" = "x"):
        return factor * tf.reduce_sum(reading.activations**power, -1)

    image = networks.pictures(1)[0]
    plain = tfcam.explain(model, image, method=powers)
    double = tfcam.explain(model, image, method=powers, factor=2.0, power=1)
    np.testing.assert_allclose(double.raw, 2 * plain.raw, rtol=1e-6)
    with pytest.raises(TypeError, match="power must be of type int; got 'a'"):
        tfcam.explain(model, image, method=powers, power="a")


def test_libtiff_complains_past_python_but_not_in_the_command_line(tmp_path, capfd):
    file = io.BytesIO()
    Image.effect_noise((40, 30), 90).convert("1").save(file, "TIFF", compression="group4")
    data = bytearray(file.getvalue())
    for place in range(20, 120, 7):
        data[place] ^= 0x5A
    (tmp_path / "fax.tiff").write_bytes(data)
    pixels = load_image(bytes(data))  # libtiff mends what it can, and says so
    assert "Fax4Decode" in capfd.readouterr().err
    whole = slice(11)  # the rows before the first error; behind it some hold anything
    np.testing.assert_array_equal(read_image(str(tmp_path / "fax.tiff"))[whole], pixels[whole])
    assert capfd.readouterr().err == ""


def test_what_pillow_logs_of_a_damaged_tiff_is_not_printed(monkeypatch):
    file = io.BytesIO()
    Image.new("RGB", (4, 3)).save(file, "TIFF")
    data = file.getvalue()
    entry = struct.pack("<HHI", 277, 3, 1)  # samples per pixel
    at = data.index(entry) + len(entry)
    data = data[:at] + struct.pack("<H", 2818) + data[at + 2 :]
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(stream := io.StringIO()))
    with pytest.raises(ValueError, match="An image"):
        load_image(data)
    assert stream.getvalue() == ""


def test_symbolic_ragged_and_sparse_tensors_have_no_values(model):
    for image in (
        keras.Input((12, 12, 3)),
        keras.Input((12, 12, 3), batch_size=1)[0],
        tf.ragged.constant([[1.0], []]),
        tf.sparse.from_dense([[1.0]]),
    ):
        with pytest.raises(ValueError, match="An image must (have values|be a dense array)"):
            tfcam.explain(model, image)
