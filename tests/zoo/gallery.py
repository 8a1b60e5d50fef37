"""The gallery: one entry a model, how to build it and what is explained of it by default."""

import keras

from tests.zoo.hub_gallery import HUB
from tests.zoo.models import (
    MASK,
    SHAPE,
    SIDE,
    climate,
    k3im,
    kimm,
    medicai,
    segmenter,
    tcn,
    unet,
    vision,
    vit_keras,
    volumes,
)

OF_K3IM = {"image_size": SIDE, "patch_size": 16, "num_classes": 3}
TOKENS = {"dim": 8, "depth": 2, "heads": 2, "mlp_dim": 16, "dim_head": 4}
K3IM_VIT = {**OF_K3IM, **TOKENS, "last": False}  # its class token is the last one
OF_VIDEOS = {"image_size": 32, "image_patch_size": 16, "frames": 8, "frame_patch_size": 2}


CLASSIFIERS = (
    kimm("LCNet035", "blocks_5_1_conv_pw"),
    kimm("MobileNetV2W050", "conv_head"),
    kimm("MobileNetV3W050Small", "blocks_5_0"),
    kimm("RegNetX002", "s4_b7"),
    kimm("RegNetY002", "s4_b7"),
    kimm("RepVGGA0", "stages_3_0/activation_21"),
    kimm("ResNet18", "layer4_1"),
    kimm("TinyNetE", "conv_head"),
    kimm("VisionTransformerTiny32", "blocks_11_norm1"),
    kimm("ConvNeXtAtto", "add_11"),
    vit_keras("ViT"),
    vit_keras("ViT, softmax", activation="softmax"),
    vit_keras("ViT, sigmoid, representation", activation="sigmoid", representation_size=8),
    k3im("ViT, pooled", "vit.ViT", **K3IM_VIT, layer="layer_normalization_4"),
    k3im("ViT, class token", "vit.ViT", **K3IM_VIT, pool="cls", layer="add_1"),
    k3im("SimpleViT", "simple_vit.SimpleViT", **OF_K3IM, **TOKENS, layer="layer_normalization_4"),
    k3im(
        "SimpleViT with registers",
        "simple_vit_with_register_tokens.SimpleViT_RT",
        **OF_K3IM,
        **TOKENS,
        layer="avg_pool:input",
    ),
    k3im("CaiT", "cait.CaiTModel", **OF_K3IM, **TOKENS, cls_depth=1, layer="add_1"),
    k3im("DeepViT", "deepvit.DeepViT", **K3IM_VIT, layer="add_1"),
    k3im(
        "CCT",
        "cct.CCT",
        *(SHAPE, 2, 8, 3, 1, 1, [8, 8], 0.1, 2, 3),
        layer="layer_normalization_4",
        map=(16, 16),
    ),
    k3im(
        "ConvMixer",
        "convmixer.ConvMixer",
        *(SIDE, 8, 2, 5, 8, 3),
        layer="batch_normalization_4",
        map=(8, 8),
    ),
    k3im(
        "FNet",
        "fnet.FNetModel",
        *(SIDE, 16, 8, 2, 0.1, 3),
        layer="f_net_layer_1/layer_normalization_3",
    ),
    k3im(
        "gMLP",
        "gmlp.gMLPModel",
        *(SIDE, 16, 8, 2, 0.1, 3),
        layer="g_mlp_layer_1",
    ),
    k3im(
        "MLP-Mixer",
        "mlp_mixer.MlpMixer",
        **{"num_classes": 3, "img_size": SIDE, "patch_size": 16, "num_blocks": 2, "embed_dim": 8},
        layer="norm",
    ),
    k3im("EANet", "eanet.EANet", *(SHAPE, 16, 8, 2, 8, 2, 2, 0.1, 0.1, 3), layer="add_3"),
    k3im(
        "Swin",
        "swint.SwinTModel",
        *(SIDE, (4, 4), 8, 2, 4, 16, True, 0.1, 1, 3),
        layer="patch_merging/dense_9",
        map=(8, 8),
    ),
    k3im(
        "FocalNet",
        "focalnet.FocalNetModel",
        **{"img_size": SIDE, "num_classes": 3, "embed_dim": 8, "depths": [1, 1]},
        **{"focal_levels": [2, 2], "focal_windows": [3, 3]},
        layer="norm",
        map=(8, 8),
    ),
    k3im(
        "TokenLearner",
        "token_learner.ViTokenLearner",
        **OF_K3IM,
        **TOKENS,
        token_learner_units=2,
        layer="reshape_1",
    ),
    vision(
        "MobileViT v2",
        "MobileViT_v2.build_MobileViT_v2",
        "MobileViTBlock-3/conv_layer_53/batch_normalization_24",
        width_multiplier=0.5,
    ),
    medicai("ResNet18", "stack3_block1_out", (2, 2)),
    medicai("SEResNet18", "stack3_block1_out", (2, 2)),
    medicai("ConvNeXtV2Atto", "stage_3_block_1_add", (2, 2)),
)
SERIES_AND_VOLUMES = (
    tcn("TCN, the last step", "tcn/residual_block_2/Act_Conv1D_0"),
    tcn(
        "TCN, all steps pooled", "tcn", keras.layers.GlobalAveragePooling1D(), return_sequences=True
    ),
    k3im(
        "MLP-Mixer of series",
        "mlp_mixer_1d.Mixer1DModel",
        **{"seq_len": 24, "patch_size": 4, "num_classes": 3, "dim": 8, "depth": 2},
        layer="mlp_mixer_layer_1",
        map=(6,),
    ),
    k3im(
        "ViT of volumes",
        "vit_3d.ViT3DModel",
        **{**OF_VIDEOS, **TOKENS, "num_classes": 3, "pool": "mean"},
        layer="layer_normalization_4",
        map=(4, 2, 2),
        last=False,
    ),
    k3im(
        "ViViT",
        "vivit.ViViT",
        **{**OF_VIDEOS, "num_classes": 3, "dim": 8, "heads": 2, "mlp_dim": 16, "pool": "mean"},
        **{"spatial_depth": 1, "temporal_depth": 1},
        layer="reshape_4",
        map=(4, 2, 2),
        last=False,
    ),
    medicai("ResNet18", "stack3_block1_out", (2, 2, 2), input_shape=(64, 64, 64, 1)),
    volumes("resnet18", "relu1", init_filters=8),
)
SEGMENTERS = (
    unet("unet_2d", "unet_up1_conv_after_concat_1_activation"),
    unet("unet_plus_2d", "xnet_up1_from0_conv_after_concat_1_activation"),
    unet("att_unet_2d", "attunet_up1_conv_after_concat_1_activation"),
    unet("r2_unet_2d", "r2_unet_up2_add1"),
    unet("unet_3plus_2d", "unet3plus_fusion_conv_1_0_activation", 3, [4, 8, 16]),
    unet("u2net_2d", "u2net_output_concat", 3, [4, 8, 8]),
    segmenter(
        "Unet",
        "resnet18",
        "decoder_stage4b_relu",
        activation="softmax",
        decoder_filters=(32, 16, 8, 8, 4),
    ),
    segmenter(
        "FPN", "mobilenetv2", "final_upsampling", activation="sigmoid", pyramid_block_filters=16
    ),
    segmenter("Linknet", "resnet18", "decoder_stage4c_relu", activation="softmax"),
    segmenter(
        "PSPNet",
        "resnet18",
        "aggregation_relu",
        12,
        activation="softmax",
        psp_conv_filters=16,
        input_shape=(96, 96, 3),
    ),
    medicai(
        "UNet",
        "decoder_stage1_conv_2_activation",
        (64, 64),
        MASK,
        encoder_name="resnet18",
        decoder_filters=(16, 8, 8, 8, 4),
    ),
)
WEATHER = (
    climate("U-Net", "remote_sensing.UNet", "dec0", (64, 64), SHAPE, 3, 4, 2, "softmax"),
    climate(
        "DeepLabV3+",
        "remote_sensing.DeepLabV3Plus",
        "upsample_to_input",
        (64, 64),
        *(SHAPE, 3, (1, 1, 1, 1)),
        aspp_filters=8,
        decoder_filters=8,
    ),
    climate("FourCastNet", "weather.FourCastNet", "block1", (4, 8), (32, 64), 8, 4, 4, 16, 2, 2),
    climate("ClimaX", "weather.ClimaX", "head0", (4, 8), (16, 32), 4, 5, 16, 2, 1, 2),
    climate(
        "Earthformer",
        "weather.Earthformer",
        "dec_stage0_block0",
        (4, 32, 32),
        *((4, 32, 32, 1), 4, 8, (1, 1, 1), 2),
    ),
)
GALLERY = (*HUB, *CLASSIFIERS, *SERIES_AND_VOLUMES, *SEGMENTERS, *WEATHER)
