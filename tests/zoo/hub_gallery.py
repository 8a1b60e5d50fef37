"""The gallery's models of KerasHub."""

from typing import Any

import tensorflow as tf

import tfcam
from tests.zoo import hub
from tests.zoo.models import MASK, Build, Foreign

RESNET_LAYER = "res_net_backbone/stack2_block0_out"
NO_CLASS = r"To explain a class the model must return \(B, classes\)"


def hub_model(
    name: str,
    build: Build,
    layer: str = "",
    map: tuple[int, ...] = (4, 4),
    target: Any = 1,
    refused: str = "",
    wrong: str = "",
) -> Foreign:
    """A model of KerasHub."""
    return Foreign("keras-hub", name, build, layer, map, target, None, refused, wrong)


def first_feature(outputs):
    """The first feature, averaged over all positions."""
    values = outputs[..., 0]
    return tf.reduce_mean(tf.reshape(values, [tf.shape(values)[0], -1]), 1)


def fits(outputs):
    """How well the picture fits the text."""
    return outputs["vision_logits"][:, 0]


HUB = (
    hub_model("ResNet", hub.classifier("ResNet", **hub.RESNET), RESNET_LAYER, (4, 4)),
    hub_model(
        "ResNet, softmax",
        hub.classifier("ResNet", {"activation": "softmax"}, **hub.RESNET),
        RESNET_LAYER,
        (4, 4),
    ),
    hub_model(
        "ResNet v2",
        hub.classifier("ResNet", use_pre_activation=True, **hub.RESNET),
        "res_net_backbone/post_relu",
        (4, 4),
    ),
    hub_model(
        "DenseNet",
        hub.classifier("DenseNet", stackwise_num_repeats=[1, 2, 1], growth_rate=4),
        "dense_net_backbone/relu",
        (4, 4),
    ),
    hub_model(
        "MobileNetV3",
        hub.classifier("MobileNet", **hub.MOBILENET),
        "mobile_net_backbone/block_3_0/activation_7",
        (4, 4),
    ),
    hub_model(
        "MobileNetV5",
        hub.classifier("MobileNetV5", use_msfa=False, **hub.MOBILENET_V5),
        "mobile_net_v5_backbone/mobile_attention",
        (8, 8),
    ),
    hub_model(
        "EfficientNet",
        hub.classifier("EfficientNet", **hub.EFFICIENTNET),
        "efficient_net_backbone/top_activation",
        (16, 16),
    ),
    hub_model(
        "CSPNet",
        hub.classifier("CSPNet", **hub.CSPNET),
        "csp_net_backbone/stage_1_csp_transition_activation",
        (16, 16),
    ),
    hub_model(
        "HGNetV2",
        hub.classifier("HGNetV2", {"head_filters": 16}, **hub.HGNET),
        "head_last/head_last_lab",
        (8, 8),
    ),
    hub_model(
        "VGG", hub.classifier("VGG", {"pooling_hidden_dim": 16}, **hub.VGG), "head/fc2", (2, 2)
    ),
    hub_model(
        "Xception",
        hub.classifier("Xception", **hub.XCEPTION),
        "xception_backbone/block2_sepconv2_act",
        (15, 15),
    ),
    hub_model(
        "ViT, class token",
        hub.classifier("ViT", mlp_dim=16, **hub.VIT),
        "vi_t_backbone/vit_encoder/transformer_block_3/ln_1",
        (4, 4),
    ),
    hub_model(
        "ViT, pooled",
        hub.classifier("ViT", {"pooling": "gap"}, mlp_dim=16, use_class_token=False, **hub.VIT),
        "vi_t_backbone/vit_encoder",
        (4, 4),
    ),
    hub_model(
        "ViT, 96 x 64",
        hub.classifier("ViT", shape=(96, 64, 3), mlp_dim=16, **hub.VIT),
        "vi_t_backbone/vit_encoder/transformer_block_3/ln_1",
        (6, 4),
    ),
    hub_model(
        "DeiT",
        hub.classifier("DeiT", intermediate_dim=16, **hub.VIT),
        "dei_t_backbone/deit_encoder/transformer_block_3/ln_1",
        (4, 4),
    ),
    hub_model("MiT", hub.classifier("MiT", **hub.MIT), "mi_t_backbone/output_level_1", (8, 8)),
    hub_model(
        "Swin",
        hub.classifier("SwinTransformer", **hub.SWIN),
        "swin_transformer_backbone/norm",
        (8, 8),
    ),
    hub_model(
        "DINOv2, head on the class token",
        hub.headed("DINOV2", intermediate_dim=16, **hub.VIT),
        "dinov2_backbone/encoder/layers_2/norm1",
        (4, 4),
    ),
    hub_model(
        "DINOv3, head on the class token",
        hub.headed("DINOV3", intermediate_dim=16, **hub.VIT),
        "dinov3_backbone/encoder/layers_2/attention/v_proj",
        (4, 4),
    ),
    hub_model(
        "DeepLabV3", hub.deep_lab, "deep_lab_v3_backbone/backbone_output_upsampling", (64, 64), MASK
    ),
    hub_model(
        "SegFormer", hub.seg_former, "seg_former_backbone/sequential/activation", (16, 16), MASK
    ),
    hub_model(
        "ResNet backbone, a feature",
        hub.features("ResNet", **hub.RESNET),
        "stack1_block0_out",
        (8, 8),
        first_feature,
    ),
    hub_model("ResNet backbone, a class", hub.features("ResNet", **hub.RESNET), refused=NO_CLASS),
    hub_model(
        "ViT backbone, a feature",
        hub.features("ViT", mlp_dim=16, **hub.VIT),
        "vit_encoder/transformer_block_3/ln_1",
        (4, 4),
        first_feature,
    ),
    hub_model(
        "ViTDet backbone, a feature",
        hub.features("ViTDet", **hub.VITDET),
        "sequential_2/layer_normalization_4",
        (4, 4),
        first_feature,
    ),
    hub_model(
        "RetinaNet",
        hub.retina_net,
        "retina_net_backbone/backbone/stack1_block0_out",
        (8, 8),
        tfcam.Box(1),
    ),
    hub_model(
        "CLIP's vision encoder",
        hub.vision_encoder("CLIP"),
        "encoder_block_2/layer_norm_1",
        (4, 4),
        first_feature,
    ),
    hub_model("SigLIP's vision encoder", hub.vision_encoder("SigLIP"), "post_layer_norm", (4, 4)),
    hub_model(
        "CLIP, a picture and a text",
        hub.image_and_text("CLIP", projection_dim=8),
        "clip_vision_encoder/encoder_block_2/layer_norm_1",
        (4, 4),
        fits,
    ),
    hub_model(
        "CLIP, a class",
        hub.image_and_text("CLIP", projection_dim=8),
        refused="it returns a dict of 2. Choose one with output='vision_logits'",
    ),
    hub_model(
        "SigLIP, a picture and a text",
        hub.image_and_text("SigLIP"),
        "sig_lip_vision_encoder/post_layer_norm",
        (4, 4),
        fits,
        wrong="its texts of open length are traced at 224 words, which they can't have",
    ),
)
