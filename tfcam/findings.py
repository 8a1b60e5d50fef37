"""What a user should know about a map: a code with its cause and its remedy, and what was found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """What is known of a code.

    Attributes:
        message: What was found, with places for a result's own numbers.
        cause: Where it comes from, in one sentence.
        remedy: What to do, in one sentence.
    """

    message: str
    cause: str
    remedy: str


FINDINGS = {
    "no_positive_evidence": Known(
        "Nothing in this map speaks for {target}: all of it is zero or negative, so that the "
        "heatmap is empty. Look at `raw`, another layer, or the class that is predicted.",
        "Nowhere does what the layer sees speak for the explained class: it says "
        "nothing of it, or speaks against it.",
        "Look at `raw`, explain another layer, or explain the class that is predicted.",
    ),
    "saturated": Known(
        "The explained probability is {probability:.6f}: its gradient nearly vanishes. Explain the "
        "logit with score='logit'.",
        "So near to 0 or 1, a probability hardly changes with anything, and its gradient nearly "
        "vanishes.",
        'Explain the logit with `score="logit"`, which does not saturate.',
    ),
    "probability_explained": Known(
        "What goes into the final softmax or sigmoid could not be found, so that the probability "
        "itself is explained. Near 0 or 1 its gradients vanish: return logits where you can.",
        "The model's last steps, from logits to probabilities, are written in a way that shows no "
        "softmax or sigmoid.",
        "Let the model return logits, or end it in a softmax or sigmoid of Keras or TensorFlow.",
    ),
    "one_number": Known(
        "The model has a single linear unit: what raises its number is explained. If it is the "
        "logit of two classes, pass labels=[class 0, class 1] or target=0 or 1; else "
        "tfcam.Regression(sign).",
        "A single linear unit may be a number, such as an age, or the logit of class 1; the model "
        "was not compiled with a loss that tells which.",
        "Of two classes pass `labels` of both, or the class as `target`; of a number "
        "`tfcam.Regression(sign)`; or compile the model with its loss.",
    ),
    "one_logit": Known(
        "The model has a single linear unit, taken for the logit of class 1, its negative for that "
        "of class 0: {target} is explained. If it is a number, pass tfcam.Regression(sign).",
        "A single linear unit may be a number, such as an age, or the logit of class 1; the model "
        "was not compiled with a loss that tells which.",
        "Of two classes pass `labels` of both; of a number `tfcam.Regression(sign)`; or compile "
        "the model with its loss.",
    ),
    "gradient_absent": Known(
        "No gradient of the score reaches {layer!r}: {why}.",
        "The layer is not on the way to the score, an argmax, a rounding, a stop_gradient or NumPy "
        "code stands between, or the gradient is zero, as behind dead or saturated units.",
        "Choose another layer, or a target that is computed from the outputs with keras.ops or tf.",
    ),
    "dead_layer": Known(
        "All {count} activations of {layer!r} are zero for this image, so that its map is empty.",
        "No unit of the layer answers to this image: its ReLUs are dead, its weights are zero, or "
        "the input is not what the model was trained on.",
        "Check that the weights were loaded and that the preprocessing is right, or choose an "
        "earlier layer.",
    ),
    "one_of_several": Known(
        "One of {count} maps side by side that make up the score, as in an ensemble, is shown: "
        "that of {layer!r}. Fuse all by layer={all}.",
        "The score is computed by several networks or branches, each of which has a last map of "
        "its own, and the default layer is that of one.",
        "Pass a list of layers, which fuses their maps, or name the one that is meant.",
    ),
    "rounding_alone": Known(
        "The map of {layer!r} is rounding alone and left empty: what {method} sums there cancels, "
        "to {size:.1e} at most. Explain another layer, or by layer_cam, which sums no signs.",
        "What is summed is zero by algebra, such as the gradients before a softmax or a "
        "normalisation over the positions, so that only the errors of rounding are left.",
        "Explain the layer before the softmax or normalisation, or the one that it weighs, or use "
        "`layer_cam`, which keeps what cancels apart.",
    ),
    "one_position": Known(
        "The map of {layer!r} has one position only, so that it can't tell where. Choose a layer "
        "before the pooling; tfcam.layers(model) lists them.",
        "The layer comes after a pooling over the whole image, or the image is so small that "
        "nothing but 1 x 1 is left of it.",
        "Choose a layer before the pooling, of those that `tfcam.layers(model)` lists, or give a "
        "larger image.",
    ),
    "place_unknown": Known(
        "Where in the picture {layer!r} looks can't be told: the map is drawn as if the layer saw "
        "all of it, upright, which may be wrong. Maps of pixels, such as saliency, are right.",
        "Before the layer the model moves parts of the picture in a way that no crop, margin, "
        "mirror, change of size or of axes describes, or that it has learned, or looks at several "
        "parts of the picture.",
        "Use a method of pixels, such as `saliency` or `integrated_gradients`, or give the "
        "picture to a model without that step.",
    ),
    "no_time": Known(
        "The map of {layer!r} lacks the input's first axis, of time or depth: it is shown alike on "
        "all {frames} frames. Explain an earlier layer, or a method of pixels, such as saliency.",
        "The layer sums up time or depth, as a ConvLSTM2D does that gives its last state alone.",
        "Explain a layer before it, build the layer with `return_sequences=True`, or take a method "
        "of pixels, such as `saliency`.",
    ),
    "text_cut": Known(
        "The model does not see the last {count} words of the text, or the first, as it takes no "
        "more: only the {seen} that it sees are explained.",
        "What turns text into numbers cuts it at the length that the model takes.",
        "Explain a part of the text, or let the model take longer ones.",
    ),
    "words_unknown": Known(
        "Which words the model's numbers are of can't be told: they are shown as the model's own "
        "vocabulary has them, or as numbers.",
        "What turns text into numbers mixes words, as with pairs of words, or changes with what "
        "follows.",
        "Give the numbers and their `words`, or turn text into numbers word by word.",
    ),
    "not_finite": Known(
        "{holder} hold {count} values that are NaN or infinite, so that the heatmap is empty. "
        "{start}",
        "The weights or the input hold NaN or infinite values, or numbers overflow on the way, in "
        "float16 already above 65504.",
        "Look at the layer where they start, at its weights and at what goes into it; where "
        "float16 overflows, run the model in float32 or mixed_bfloat16.",
    ),
    "input_range": Known(
        "The input holds values from {low:.4g} to {high:.4g}, but the model takes those from "
        "{least:.4g} to {most:.4g}: {why}.",
        "The input was prepared in another way than the model was made for, such as divided by 255 "
        "although the model does that itself.",
        "Give the picture as uint8 and leave `preprocess` out, or prepare the array as the model "
        "takes it.",
    ),
    "nearly_black": Known(
        "The picture is nearly black: it reaches {high:.4g} of 255. Values of 10 or 12 bits in a "
        "file of 16 bits look so: pass preprocess=tfcam.images.Window(0, 4095), --window 0,4095.",
        "A file of 16 bits is scaled by its full range, of which a camera, scanner or microscope "
        "may fill a sixteenth or less.",
        "Say which values the network was trained on: `preprocess=tfcam.images.Window(0, 4095)`, "
        "on the command line `--window 0,4095`, or a uint8 array of "
        "`tfcam.images.load_image(path, window=(0, 4095))`.",
    ),
    "pixels_as_prepared": Known(
        "The floats reach {high:.4g}, as pixels do, and were taken as prepared: what {model!r} "
        "takes is not known. Pass preprocess='unit' (0..1), 'tf' (-1..1), 'torch', 'caffe', 'raw' "
        "(0..255), or None if prepared.",
        "Floats are taken as prepared, and these look like pixels that are not, such as those of "
        "`img_to_array` or `image_dataset_from_directory`.",
        "Say how pixels become the model's input with `preprocess`, or give None where that is "
        "done.",
    ),
    "float16_underflow": Known(
        "Of the {count} gradients of {layer!r} that are not zero, {lost} are too small for "
        "float16: they became zero, or lost digits.",
        "The model computes in float16, and the score changes so little with the layer that its "
        "gradients underflow, though they are scaled up.",
        "Explain the logit rather than a probability, or run the model in float32 or "
        "mixed_bfloat16.",
    ),
    "nothing_to_gate": Known(
        "None of the {count} calls of layers in {model!r} computes a ReLU, so that guided "
        "backpropagation and deconvnet do not apply.",
        "Guided backpropagation and deconvnet gate ReLUs, and the network has none: its "
        "activations are of another kind, such as swish or GELU.",
        "Use `grad_cam`, or for pixels `integrated_gradients` or `smooth_grad`.",
    ),
    "class_agnostic": Known(
        "The map of {method!r} is the same, or nearly, for every class: it is no evidence for "
        "{target}.",
        "The method shows what the network sees, whatever the class, and a class was asked for.",
        "Use a method that tells classes apart, such as `grad_cam`, or leave `target` out.",
    ),
    "image_ignored": Known(
        "Noise has the same map of deconvnet as this image: {model!r} passes no maxima on, which "
        "alone would tell images apart. Use guided_backprop.",
        "Deconvnet lets gradients back whatever a ReLU let through, so that of a network without "
        "max pooling nothing in the map comes from the image.",
        "Use `guided_backprop`, or `integrated_gradients`, which also tells classes apart.",
    ),
    "prefix_tokens": Known(
        "The {count} tokens of {layer!r} are taken for {extra} of no patch, {where}, and "
        "{patches} patches, row by row.",
        "There are more tokens than patches: the others, in front unless the model joins them "
        "elsewhere, are taken for class, distillation or register tokens, and no map shows them.",
        "If the patches lie in another way, pass `grid=(height, width)`.",
    ),
    "noisy_map": Known(
        "Much of this map is chance: its standard error is {error:.2f} of what it varies by. Ask "
        "for four times as many masks or samples, which halve it, or for fewer cells or segments.",
        "The map is an average over random masks, of which there are too few for so many cells or "
        "parts of the picture.",
        "Ask for more `masks` or `samples`, or for fewer `cells` or `segments`.",
    ),
    "incomplete": Known(
        "The values of {method} miss what they should sum to by {error:.3g}, {share:.1%} of their "
        "sum without signs, and what is missing may belong anywhere on the map. Ask for more "
        "steps or samples, or take another method.",
        "Values should sum to the score's rise from the baseline: too few steps were added up, or "
        "DeepLIFT met an axis ahead of the batch, or a target that chooses its pixels anew, as "
        "`Segmentation` without a mask.",
        "Ask `integrated_gradients` for more `steps`, `expected_gradients` for more `samples`; "
        "where `deep_lift` says so, take `integrated_gradients`.",
    ),
    "not_additive": Known(
        "A sum over the parts of the picture explains {fidelity:.2f} of how the score changes "
        "when parts are hidden: the weights of {method} say little of it. Take other segments.",
        "What the parts give to the score depends on which others are seen, which no sum of "
        "weights can say.",
        "Divide the picture in another way, such as fewer or more `segments`, or use "
        "`kernel_shap`, which shares out what parts do together.",
    ),
    "unsupported": Known(
        "Hiding what the map marks lowers the number of {target} hardly more than {others} "
        "(p = {p_value:.2g}): {verdict} by the removal test. It may not show what the model uses.",
        "Chance does as much: the map is wrong, or any other part matters as much, as where an "
        "object fills a picture, or what is meant stands there several times.",
        "Read the map's `verification`, try another layer or method, and take this map for no "
        "evidence.",
    ),
    "no_picture": Known(
        "The picture of {key!r} is not at hand and shown as grey; its map is as it was. Give "
        "tfcam.open_store(..., data=...) what was explained.",
        "A store of maps holds no pictures, and they are no longer where they were, or were given "
        "as arrays or as a `tf.data.Dataset`.",
        "Pass `data=` to `tfcam.open_store`, or `image=` to its `explanation`.",
    ),
    "no_labels": Known(
        "The ImageNet labels could not be loaded, so that classes have numbers only.",
        "Keras's class index of ImageNet is neither on this machine nor to be had.",
        "Connect to the internet once, or pass `labels`.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One thing to know about a result.

    Attributes:
        code: A key of ``FINDINGS``.
        message: What was found, with this result's own numbers.
    """

    code: str
    message: str

    @property
    def cause(self) -> str:
        """Where such a finding comes from."""
        return FINDINGS[self.code].cause

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return FINDINGS[self.code].remedy

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def finding(code: str, **facts: object) -> Finding:
    """A finding with its facts filled in.

    Example:
        >>> found = finding("no_positive_evidence", target="class 3")
        >>> found.code, found.remedy[:13]
        ('no_positive_evidence', 'Look at `raw`')
    """
    return Finding(code, FINDINGS[code].message.format(**facts))
