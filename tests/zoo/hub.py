"""Small models of KerasHub, with random weights."""

from collections.abc import Callable
from typing import Any

import keras

from tests.zoo.models import SHAPE

RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [3],
    "stackwise_num_filters": [64, 64, 64],
    "stackwise_num_blocks": [1, 1, 1],
    "stackwise_num_strides": [1, 2, 2],
    "block_type": "basic_block",
}
VIT = {"patch_size": 16, "num_layers": 3, "num_heads": 2, "hidden_dim": 8}
MIT = {
    "layerwise_depths": [1, 1],
    "num_layers": 2,
    "layerwise_num_heads": [1, 2],
    "layerwise_sr_ratios": [4, 2],
    "max_drop_path_rate": 0.1,
    "layerwise_patch_sizes": [7, 3],
    "layerwise_strides": [4, 2],
    "hidden_dims": [8, 16],
}
HGNET = {
    "depths": [1, 1],
    "embedding_size": 8,
    "hidden_sizes": [16, 32],
    "stem_channels": [3, 8, 8],
    "hidden_act": "relu",
    "use_learnable_affine_block": True,
    "stackwise_stage_filters": [[8, 8, 16, 1, 1, 3], [16, 8, 32, 1, 1, 3]],
    "apply_downsample": [False, True],
    "use_lightweight_conv_block": [False, False],
}
MOBILENET = {
    "stackwise_expansion": [[16], [16, 24]],
    "stackwise_num_blocks": [1, 2],
    "stackwise_num_filters": [[8], [16, 16]],
    "stackwise_kernel_size": [[3], [5, 5]],
    "stackwise_num_strides": [[2], [2, 1]],
    "stackwise_se_ratio": [[None], [0.25, 0.25]],
    "stackwise_activation": [["relu"], ["hard_swish", "hard_swish"]],
    "stackwise_padding": [[1], [2, 2]],
    "output_num_filters": 24,
    "depthwise_filters": 8,
    "depthwise_stride": 2,
    "depthwise_residual": False,
    "squeeze_and_excite": 0.5,
    "last_layer_filter": 24,
}
EFFICIENTNET = {
    "stackwise_width_coefficients": [1.0] * 2,
    "stackwise_depth_coefficients": [1.0] * 2,
    "stackwise_kernel_sizes": [3, 5],
    "stackwise_num_repeats": [1, 2],
    "stackwise_input_filters": [8, 8],
    "stackwise_output_filters": [8, 16],
    "stackwise_expansion_ratios": [1, 4],
    "stackwise_squeeze_and_excite_ratios": [0.25] * 2,
    "stackwise_strides": [1, 2],
    "stackwise_block_types": ["v1"] * 2,
    "stackwise_force_input_filters": [0] * 2,
    "stackwise_nores_option": [False] * 2,
    "num_features": 24,
}
CSPNET = {
    "stem_filters": 8,
    "stem_kernel_size": 3,
    "stem_strides": 1,
    "stackwise_strides": 2,
    "stackwise_depth": [1, 2],
    "stackwise_num_filters": [8, 16],
    "down_growth": True,
    "bottle_ratio": (0.5, 1.0),
    "block_ratio": (1.0, 0.5),
    "expand_ratio": (2.0, 1.0),
    "block_type": "dark_block",
    "stage_type": "csp",
    "stem_padding": "same",
}
VGG = {"stackwise_num_repeats": [1, 1, 1], "stackwise_num_filters": [4, 8, 8]}
XCEPTION = {"stackwise_conv_filters": [[8, 8], [16, 16]], "stackwise_pooling": [True, False]}
SWIN = {"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}
VITDET = {
    "hidden_size": 8,
    "num_layers": 2,
    "intermediate_dim": 16,
    "num_heads": 2,
    "global_attention_layer_indices": [1],
    "num_output_channels": 8,
    "window_size": 2,
}
MOBILENET_V5 = {
    "stackwise_block_types": [["er"], ["uir", "mqa"]],
    "stackwise_num_blocks": [1, 2],
    "stackwise_num_filters": [[8], [16, 16]],
    "stackwise_strides": [[2], [2, 1]],
    "stackwise_act_layers": [["gelu"], ["gelu", "gelu"]],
    "stackwise_exp_ratios": [[4.0], [4.0, 4.0]],
    "stackwise_se_ratios": [[0.0], [0.0, 0.0]],
    "stackwise_dw_kernel_sizes": [[0], [5, 0]],
    "stackwise_dw_start_kernel_sizes": [[0], [0, 0]],
    "stackwise_dw_end_kernel_sizes": [[0], [0, 0]],
    "stackwise_exp_kernel_sizes": [[3], [0, 0]],
    "stackwise_pw_kernel_sizes": [[1], [0, 0]],
    "stackwise_num_heads": [[0], [0, 2]],
    "stackwise_key_dims": [[0], [0, 8]],
    "stackwise_value_dims": [[0], [0, 8]],
    "stackwise_kv_strides": [[0], [0, 1]],
    "stackwise_use_cpe": [[False], [False, False]],
    "num_features": 24,
}


def _hub() -> Any:
    from keras_hub import models

    return models


def _layers() -> Any:
    from keras_hub import layers

    return layers


def backbone(name: str, shape: tuple[int, int, int] = SHAPE, **config: Any) -> keras.Model:
    """Build a backbone alone, which returns features."""
    key = "input_shape" if name == "EfficientNet" else "image_shape"
    model: keras.Model = getattr(_hub(), f"{name}Backbone")(**{key: shape}, **config)
    return model


def classifier(name: str, head: Any = None, **config: Any) -> Callable[[], keras.Model]:
    """Say how to build an image classifier of three classes.

    Args:
        name: Its family.
        head: Options of the classifier itself.
        config: Options of its backbone.
    """

    def build() -> keras.Model:
        options = {"num_classes": 3, "preprocessor": None, **(head or {})}
        task = getattr(_hub(), f"{name}ImageClassifier")
        model: keras.Model = task(backbone=backbone(name, **config), **options)
        return model

    return build


def features(name: str, **config: Any) -> Callable[[], keras.Model]:
    """Say how to build a backbone."""
    return lambda: backbone(name, **config)


def headed(name: str, **config: Any) -> Callable[[], keras.Model]:
    """Say how to build a backbone with a linear head on the first of its tokens."""

    def build() -> keras.Model:
        body = backbone(name, **config)
        (taken,) = body.input
        inputs = keras.Input(SHAPE)
        return keras.Model(inputs, keras.layers.Dense(3)(body({taken: inputs})[:, 0]))

    return build


def deep_lab() -> keras.Model:
    """DeepLabV3 on a ResNet, three classes."""
    body = _hub().DeepLabV3Backbone(
        image_encoder=backbone("ResNet", **RESNET),
        spatial_pyramid_pooling_key="P4",
        low_level_feature_key="P2",
        dilation_rates=[6, 12, 18],
        upsampling_size=4,
        image_shape=SHAPE,
    )
    model: keras.Model = _hub().DeepLabV3ImageSegmenter(
        backbone=body, num_classes=3, activation="softmax", preprocessor=None
    )
    return model


def seg_former() -> keras.Model:
    """SegFormer on a MiT, three classes."""
    body = _hub().SegFormerBackbone(image_encoder=backbone("MiT", **MIT), projection_filters=8)
    model: keras.Model = _hub().SegFormerImageSegmenter(backbone=body, num_classes=3)
    return model


def retina_net() -> keras.Model:
    """RetinaNet on a ResNet, four classes."""
    body = _hub().RetinaNetBackbone(
        image_encoder=backbone("ResNet", **RESNET),
        min_level=3,
        max_level=4,
        use_p5=False,
        image_shape=SHAPE,
    )
    # KerasHub's own class has no public name.
    from keras_hub.src.models.retinanet.retinanet_label_encoder import RetinaNetLabelEncoder

    anchors = _layers().AnchorGenerator("yxyx", 3, 4, 3, [0.5, 1.0, 2.0], 4.0)
    model: keras.Model = _hub().RetinaNetObjectDetector(
        backbone=body,
        anchor_generator=anchors,
        label_encoder=RetinaNetLabelEncoder("yxyx", anchors),
        num_classes=4,
        preprocessor=None,
    )
    return model


def image_and_text(name: str, **config: Any) -> Callable[[], keras.Model]:
    """Say how to build CLIP or SigLIP: pictures and texts of six words, how well each pair fits."""

    def build() -> keras.Model:
        text = getattr(_hub(), f"{name}TextEncoder")(50, 8, 8, 2, 2, 16, max_sequence_length=6)
        both = {"vision_encoder": vision_encoder(name)(), "text_encoder": text}
        model: keras.Model = getattr(_hub(), f"{name}Backbone")(**both, **config)
        return model

    return build


def vision_encoder(name: str) -> Callable[[], keras.Model]:
    """Say how to build the part of CLIP or SigLIP that sees."""
    return lambda: getattr(_hub(), f"{name}VisionEncoder")(16, 8, 3, 2, 16, image_shape=SHAPE)
