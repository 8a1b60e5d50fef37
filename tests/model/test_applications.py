"""Every network of keras.applications: its default layer, its head, its preprocessing."""

import gc
import re

import keras
import numpy as np
import pytest

import tfcam
from tests.model.test_functional_graph import assert_read_is_traced
from tfcam.model.applications import build, builder_names
from tfcam.model.graph import graph_of
from tfcam.model.heads import Head
from tfcam.model.labels import imagenet_labels
from tfcam.preprocessing.modes import choose_preprocessing

# What methods.md found, network by network: the tensor to explain (a pattern where Keras numbers
# its name), its shape at the network's own input size, whether CAM applies there, how pictures
# are prepared.
CONVNEXT = r"add(_\d+)?"
NUMBERED = r"activation(_\d+)?"
TABLE = {
    "VGG16": ("block5_conv3", (14, 14, 512), False, "caffe"),
    "VGG19": ("block5_conv4", (14, 14, 512), False, "caffe"),
    "ResNet50": ("conv5_block3_out", (7, 7, 2048), True, "caffe"),
    "ResNet101": ("conv5_block3_out", (7, 7, 2048), True, "caffe"),
    "ResNet152": ("conv5_block3_out", (7, 7, 2048), True, "caffe"),
    "ResNet50V2": ("post_relu", (7, 7, 2048), True, "tf"),
    "ResNet101V2": ("post_relu", (7, 7, 2048), True, "tf"),
    "ResNet152V2": ("post_relu", (7, 7, 2048), True, "tf"),
    "DenseNet121": ("relu", (7, 7, 1024), True, "torch"),
    "DenseNet169": ("relu", (7, 7, 1664), True, "torch"),
    "DenseNet201": ("relu", (7, 7, 1920), True, "torch"),
    "InceptionV3": ("mixed10", (8, 8, 2048), True, "tf"),
    "InceptionResNetV2": ("conv_7b_ac", (8, 8, 1536), True, "tf"),
    "Xception": ("block14_sepconv2_act", (10, 10, 2048), True, "tf"),
    "MobileNet": ("conv_pw_13_relu", (7, 7, 1024), True, "tf"),
    "MobileNetV2": ("out_relu", (7, 7, 1280), True, "tf"),
    "MobileNetV3Large": (NUMBERED, (7, 7, 960), False, "raw"),
    "MobileNetV3Small": (NUMBERED, (7, 7, 576), False, "raw"),
    "EfficientNetB0": ("top_activation", (7, 7, 1280), True, "raw"),
    "EfficientNetB1": ("top_activation", (8, 8, 1280), True, "raw"),
    "EfficientNetB2": ("top_activation", (9, 9, 1408), True, "raw"),
    "EfficientNetB3": ("top_activation", (10, 10, 1536), True, "raw"),
    "EfficientNetB4": ("top_activation", (12, 12, 1792), True, "raw"),
    "EfficientNetB5": ("top_activation", (15, 15, 2048), True, "raw"),
    "EfficientNetB6": ("top_activation", (17, 17, 2304), True, "raw"),
    "EfficientNetB7": ("top_activation", (19, 19, 2560), True, "raw"),
    "EfficientNetV2B0": ("top_activation", (7, 7, 1280), True, "raw"),
    "EfficientNetV2B1": ("top_activation", (8, 8, 1280), True, "raw"),
    "EfficientNetV2B2": ("top_activation", (9, 9, 1408), True, "raw"),
    "EfficientNetV2B3": ("top_activation", (10, 10, 1536), True, "raw"),
    "EfficientNetV2S": ("top_activation", (12, 12, 1280), True, "raw"),
    "EfficientNetV2M": ("top_activation", (15, 15, 1280), True, "raw"),
    "EfficientNetV2L": ("top_activation", (15, 15, 1280), True, "raw"),
    "ConvNeXtTiny": (CONVNEXT, (7, 7, 768), False, "raw"),
    "ConvNeXtSmall": (CONVNEXT, (7, 7, 768), False, "raw"),
    "ConvNeXtBase": (CONVNEXT, (7, 7, 1024), False, "raw"),
    "ConvNeXtLarge": (CONVNEXT, (7, 7, 1536), False, "raw"),
    "ConvNeXtXLarge": (CONVNEXT, (7, 7, 2048), False, "raw"),
    "NASNetMobile": (NUMBERED, (7, 7, 1056), True, "tf"),
    "NASNetLarge": (NUMBERED, (11, 11, 4032), True, "tf"),
}
BUILDERS = {name: getattr(keras.applications, name) for name in TABLE}


def test_the_table_is_complete():
    assert set(TABLE) == set(builder_names().values())


# The first of each code of Keras: the others differ from it in numbers.
FIRST = {builder.__module__: name for name, builder in reversed(BUILDERS.items())}


# One in three is in .ci/run.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.product if number % 8 else pytest.mark.slow)
        for number, name in enumerate(TABLE)
    ],
)
def test_the_default_layer_head_and_preprocessing_of(name):
    layer, shape, cam, mode = TABLE[name]
    model = BUILDERS[name](weights=None)
    calls = graph_of(model).calls()
    if name in FIRST.values() and None not in model.input_shape[1:]:
        assert_read_is_traced(model)
    path, reason, *_ = graph_of(model).default_layer()
    assert re.fullmatch(layer, path)
    pooled = "no global pooling" if name.startswith("VGG") else "the last global pooling"
    assert pooled in reason
    (call,) = (each for each in calls.calls if calls.call_name(each) == path)
    assert call.shape[1:] == shape
    head = graph_of(model).head()
    assert isinstance(head, Head) is cam
    if cam:
        assert head.tensor == call.output
    assert graph_of(model).family.mode == mode
    pixels = np.full((1, 2, 2, 3), 200.0, np.float32)
    prepared = choose_preprocessing(graph_of(model), "auto").function(pixels.copy())
    module = getattr(keras.applications, name).__module__.rsplit(".", 1)[-1]
    wanted = getattr(keras.applications, module).preprocess_input(pixels.copy())
    np.testing.assert_allclose(prepared, wanted, rtol=1e-6)
    del model
    gc.collect()


@pytest.mark.parametrize(
    ("make", "mode"),
    [
        (
            lambda: keras.applications.MobileNetV3Small(weights=None, include_preprocessing=False),
            "tf",
        ),
        (
            lambda: keras.applications.EfficientNetV2S(weights=None, include_preprocessing=False),
            "tf",
        ),
        (
            lambda: keras.applications.EfficientNetV2B0(weights=None, include_preprocessing=False),
            "torch",
        ),
        (
            lambda: keras.applications.ConvNeXtTiny(weights=None, include_preprocessing=False),
            "torch",
        ),
    ],
    ids=["MobileNetV3Small", "EfficientNetV2S", "EfficientNetV2B0", "ConvNeXtTiny"],
)
@pytest.mark.thinned(1, kept="slow")
def test_networks_built_without_their_preprocessing_get_it_from_outside(make, mode):
    pixels = np.full((1, 2, 2, 3), 200.0, np.float32)
    model = make()
    prepared = choose_preprocessing(graph_of(model), "auto").function(pixels.copy())
    wanted = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=mode)
    np.testing.assert_allclose(prepared, wanted)


@pytest.mark.slow
def test_a_convnext_is_explained_at_an_operation_that_is_no_layer():
    model = keras.applications.ConvNeXtTiny(weights=None, classes=10)
    picture = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    result = tfcam.explain(model, picture)
    assert result.raw.shape == (7, 7)
    assert result.layer not in {layer.name for layer in model.layers}
    assert result.heatmap.shape == (300, 200)


def test_unknown_networks_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"No network 'resnet51' in keras\.applications.*ResNet50"):
        build("resnet51")
    with pytest.raises(ValueError, match="it has MobileNet, .*MobileNetV2.* and others"):
        build("mobilnet")
    with pytest.raises(ValueError, match="it has ConvNeXtBase, .*Xception"):
        build("zzz")


def test_builder_names_are_found_in_any_spelling():
    names = builder_names()
    assert names["mobilenetv2"] == "MobileNetV2"
    assert names["efficientnetv2b0"] == "EfficientNetV2B0"


def test_weights_that_can_not_be_loaded_say_what_to_do(monkeypatch):
    def fail(weights):
        raise Exception("URL fetch failure on https://example.org")

    monkeypatch.setattr(keras.applications, "VGG16", fail)
    with pytest.raises(OSError, match="ImageNet weights of VGG16.*URL fetch failure.*Connect"):
        build("vgg_16")


def test_labels_are_keras_own(data):
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert (labels[243], labels[281], labels[294]) == ("bull mastiff", "tabby", "brown bear")
