"""What is suggested for a name that there is not."""

import pytest

from tfcam.utils.suggestions import did_you_mean, find_similar

METHODS = ["cam", "grad_cam", "grad_cam_pp", "layer_cam", "saliency"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("gradcam", ["grad_cam", "grad_cam_pp", "cam"]),
        ("GRAD_CAM", ["grad_cam", "grad_cam_pp"]),
        ("saliensy", ["saliency"]),
        ("sal", ["saliency"]),
        ("", []),
        ("integrated", []),
    ],
)
def test_names_that_hold_it_or_are_spelled_alike(name, wanted):
    assert find_similar(name, METHODS) == wanted


def test_the_shortest_that_holds_it_comes_first_and_four_are_enough():
    known = ["conv_block_3", "a_conv", "conv", "b_conv", "c_conv", "conv_block"]
    assert find_similar("onv", known) == ["conv", "a_conv", "b_conv", "c_conv"]


def test_a_path_is_meant_by_its_last_part_the_first_of_several():
    paths = ["encoder/conv", "decoder/conv", "encoder/head"]
    assert find_similar("cnv", paths) == ["encoder/conv"]
    assert find_similar("encoder/hed", paths)[0] == "encoder/head"


@pytest.mark.parametrize("name", [None, 3, ["cam"], object()])
def test_only_texts_are_mistaken_names(name):
    assert did_you_mean(name, METHODS) == ""
