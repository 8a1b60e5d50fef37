"""The README is short, its first lines give what they say, its picture is the library's."""

import re

import keras
import numpy as np
import pytest
import skimage
from PIL import Image

import tfcam
from tests import picture
from tests.project import ROOT
from tests.test_guides import blocks

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 320


@pytest.mark.slow
def test_the_printed_result_is_what_is_printed(data):
    keras.utils.clear_session()  # names of layers are numbered from the first on
    model = keras.applications.MobileNetV2(weights="imagenet")
    result = tfcam.explain(model, skimage.data.chelsea())
    (printed,) = blocks(README, "text")
    numbers = r"\d+\.\d+"
    wanted = [float(number) for number in re.findall(numbers, printed)]
    found = [float(number) for number in re.findall(numbers, repr(result))]
    assert found == pytest.approx(wanted, rel=1e-3)
    assert re.sub(numbers, "", printed).strip() == re.sub(numbers, "", repr(result))


def test_its_table_names_every_method():
    section = TEXT.split("## Methods\n")[1].split("\n## ")[0]
    assert set(tfcam.METHODS) <= set(re.findall(r"`(\w+)`", section))


def test_the_first_picture_is_small_and_what_the_library_draws_today():
    first = TEXT.split("\n## ")[0]
    (said, path) = re.search(r"!\[(.+)\]\((.+)\)", first).groups()
    assert (picture.README.parent / path) == picture.PICTURE
    assert "star" in said
    assert "triangle" in said
    assert picture.PICTURE.stat().st_size < 150_000
    kept, made = (each.convert("RGB") for each in (Image.open(picture.PICTURE), picture.draw()))
    assert abs(kept.height - made.height) <= 3, "python -m tests.picture makes it anew"
    small = (40, 28)  # what fonts and dithering change a little is not looked at
    difference = np.asarray(kept.resize(small), float) - np.asarray(made.resize(small), float)
    assert np.abs(difference).mean() < 3, "python -m tests.picture makes it anew"
