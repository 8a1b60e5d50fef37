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
        "Nothing in this map speaks for {target}: all its values are zero or negative, so the "
        "heatmap is empty. Look at `raw`, explain another layer, or explain the predicted "
        "class.",
        "At no position do the layer's values speak for the explained class: they say nothing "
        "about it, or speak against it.",
        "Look at `raw`, explain another layer, or explain the predicted class.",
    ),
    "saturated": Known(
        "The explained probability is {probability:.6f}, so close to 0 or 1 that its gradient "
        "nearly vanishes. Explain the logit with score='logit'.",
        "Close to 0 or 1 a probability hardly changes, whatever changes in the input, so its "
        "gradient nearly vanishes.",
        'Explain the logit with `score="logit"`, which does not saturate.',
    ),
    "probability_explained": Known(
        "The input of the final softmax or sigmoid could not be found, so the probability "
        "itself is explained. Near 0 or 1 its gradient vanishes: let the model return logits "
        "where you can.",
        "The model's last steps, from logits to probabilities, are written in a way that shows "
        "no softmax or sigmoid.",
        "Let the model return logits, or end it in a softmax or sigmoid of Keras or TensorFlow.",
    ),
    "one_number": Known(
        "The model has a single linear unit: what raises its value is explained. If it is the "
        "logit of two classes, pass labels=[class 0, class 1] or target=0 or 1; if it is a "
        "number, tfcam.Regression(sign).",
        "A single linear unit may be a number, such as an age, or the logit of class 1, and the "
        "model was not compiled with a loss that tells which.",
        "For two classes pass both `labels`, or the class as `target`; for a number pass "
        "`tfcam.Regression(sign)`; or compile the model with its loss.",
    ),
    "one_logit": Known(
        "The model has a single linear unit, which is taken as the logit of class 1, and its "
        "negative as that of class 0: {target} is explained. If the unit is a number, pass "
        "tfcam.Regression(sign).",
        "A single linear unit may be a number, such as an age, or the logit of class 1, and the "
        "model was not compiled with a loss that tells which.",
        "For two classes pass both `labels`; for a number pass `tfcam.Regression(sign)`; or "
        "compile the model with its loss.",
    ),
    "gradient_absent": Known(
        "No gradient of the score reaches {layer!r}: {why}.",
        "The score does not depend on the layer, or an argmax, a rounding, a stop_gradient or "
        "NumPy code between them stops the gradient, or the gradient is zero, as behind dead or "
        "saturated units.",
        "Choose another layer, or a target that is computed from the outputs with keras.ops or tf.",
    ),
    "dead_layer": Known(
        "All {count} activations of {layer!r} are zero for this image, so its map is empty.",
        "No unit of the layer responds to this image: its ReLUs are dead, its weights are zero, "
        "or the input is not what the model was trained on.",
        "Check that the weights were loaded and that the preprocessing is right, or choose an "
        "earlier layer.",
    ),
    "one_of_several": Known(
        "The score comes from {count} branches, each with a last map of its own, as in an "
        "ensemble: only that of {layer!r} is shown. Fuse all of them with layer={all}.",
        "The score is computed by several networks or branches, each with a last map of its "
        "own, and the default layer belongs to one of them.",
        "Pass a list of layers, which fuses their maps, or name the layer that you mean.",
    ),
    "rounding_alone": Known(
        "The map of {layer!r} is rounding error alone and left empty: the values that {method} "
        "adds up there cancel, to {size:.1e} at most. Explain another layer, or use layer_cam, "
        "where nothing cancels.",
        "The sum is zero by algebra, as for gradients before a softmax or a normalisation over "
        "the positions, so only rounding errors are left of it.",
        "Explain the layer before the softmax or normalisation, or the layer that it weights, "
        "or use `layer_cam`, where positive and negative values do not cancel.",
    ),
    "one_position": Known(
        "The map of {layer!r} has only one position, so it can't show where. Choose a layer "
        "before the pooling; tfcam.layers(model) lists them.",
        "The layer comes after a pooling over the whole image, or the image is so small that "
        "only 1 x 1 positions are left of it.",
        "Choose a layer before the pooling, one of those that `tfcam.layers(model)` lists, or "
        "give a larger image.",
    ),
    "place_unknown": Known(
        "Where in the picture {layer!r} looks is not known: the map is drawn as if the layer "
        "saw the whole picture, upright, which may be wrong. Maps of pixels, such as saliency, "
        "are right.",
        "Before this layer the model moves parts of the picture in a way that it has learned, "
        "or that is no crop, margin, mirroring, resizing or exchange of axes, or it looks at "
        "several parts of the picture.",
        "Use a method of pixels, such as `saliency` or `integrated_gradients`, or give the "
        "picture to a model without that step.",
    ),
    "no_time": Known(
        "The map of {layer!r} lacks the input's first axis, of time or depth: all {frames} "
        "frames show the same map. Explain an earlier layer, or use a method of pixels, such as "
        "saliency.",
        "The layer sums up time or depth, as a ConvLSTM2D does that returns only its last state.",
        "Explain an earlier layer, build the layer with `return_sequences=True`, or use a "
        "method of pixels, such as `saliency`.",
    ),
    "text_cut": Known(
        "The text is longer than the model takes: {count} words at its end, or at its start, "
        "are cut off, and only the {seen} words that the model sees are explained.",
        "The step that turns text into numbers cuts it to the length that the model takes.",
        "Explain a part of the text, or let the model take longer texts.",
    ),
    "words_unknown": Known(
        "Which words the model's numbers stand for is not known: they are shown as the model's "
        "own vocabulary has them, or as numbers.",
        "The step that turns text into numbers joins words, for example to pairs, or gives a "
        "word another number when other words follow.",
        "Give the numbers and their `words`, or turn text into numbers word by word.",
    ),
    "not_finite": Known(
        "{holder} hold {count} values that are NaN or infinite, so the heatmap is empty. {start}",
        "The weights or the input hold NaN or infinite values, or numbers overflow in the "
        "computation, in float16 already above 65504.",
        "Look at the layer where they start, at its weights and at its input; where float16 "
        "overflows, run the model in float32 or mixed_bfloat16.",
    ),
    "input_range": Known(
        "The input holds values from {low:.4g} to {high:.4g}, but the model takes those from "
        "{least:.4g} to {most:.4g}: {why}.",
        "The input was not prepared as the model expects it, for example divided by 255 "
        "although the model does that itself.",
        "Give the picture as uint8 and leave `preprocess` out, or prepare the array as the "
        "model expects it.",
    ),
    "nearly_black": Known(
        "The picture is nearly black: its largest value is {high:.4g} of 255. Data of 10 or 12 "
        "bits in a 16-bit file look like this: pass preprocess=tfcam.images.Window(0, 4095), or "
        "--window 0,4095.",
        "A 16-bit file is scaled by its full range, of which a camera, scanner or microscope "
        "may use a sixteenth or less.",
        "Give the range of values that the network was trained on: "
        "`preprocess=tfcam.images.Window(0, 4095)`, on the command line `--window 0,4095`, or a "
        "uint8 array from `tfcam.images.load_image(path, window=(0, 4095))`.",
    ),
    "pixels_as_prepared": Known(
        "The floats reach {high:.4g}, as pixels do, but were taken as prepared: what {model!r} "
        "takes is not known. Pass preprocess='unit' (0..1), 'tf' (-1..1), 'torch', 'caffe', "
        "'raw' (0..255), or None if prepared.",
        "Floats are taken as prepared, but these look like unprepared pixels, such as those of "
        "`img_to_array` or `image_dataset_from_directory`.",
        "Say with `preprocess` how pixels become the model's input, or pass None if that is "
        "already done.",
    ),
    "float16_underflow": Known(
        "Of the {count} gradients of {layer!r} that are not zero, {lost} are too small for "
        "float16: they became zero, or lost digits.",
        "The model computes in float16, and the score changes so little with the layer that "
        "gradients underflow, although they are scaled up.",
        "Explain the logit rather than a probability, or run the model in float32 or "
        "mixed_bfloat16.",
    ),
    "nothing_to_gate": Known(
        "None of the {count} layer calls in {model!r} computes a ReLU, so guided "
        "backpropagation and deconvnet do not apply.",
        "Guided backpropagation and deconvnet change gradients at ReLUs, and the network has "
        "none: its activations are of another kind, such as swish or GELU.",
        "Use `grad_cam`, or for pixels `integrated_gradients` or `smooth_grad`.",
    ),
    "class_agnostic": Known(
        "The map of {method!r} is the same, or nearly the same, for every class: it is no "
        "evidence for {target}.",
        "The method shows what the network sees, whatever the class, but a class was asked for.",
        "Use a method that tells classes apart, such as `grad_cam`, or leave `target` out.",
    ),
    "image_ignored": Known(
        "Deconvnet makes the same map of this image and of noise: in {model!r} no max pooling "
        "passes anything of the image on. Use guided_backprop.",
        "Deconvnet lets gradients back whatever the ReLUs let through, so in a network without "
        "max pooling nothing in the map depends on the image.",
        "Use `guided_backprop`, or `integrated_gradients`, which also tells classes apart.",
    ),
    "prefix_tokens": Known(
        "The {count} tokens of {layer!r} are taken as {patches} patches, row by row, and "
        "{extra} further without a patch ({where}), such as a class token.",
        "There are more tokens than patches: the others, in front unless the model joins them "
        "elsewhere, are taken as class, distillation or register tokens, and no map shows them.",
        "If the patches are laid out in another way, pass `grid=(height, width)`.",
    ),
    "noisy_map": Known(
        "Much of this map is chance: its standard error is {error:.2f} of the map's own "
        "variation. Four times as many masks or samples halve it; fewer cells or segments lower "
        "it as well.",
        "The map is an average over random masks, and there are too few of them for so many "
        "cells or parts of the picture.",
        "Ask for more `masks` or `samples`, or for fewer `cells` or `segments`.",
    ),
    "incomplete": Known(
        "The values of {method} miss the sum that they should have by {error:.3g}, which is "
        "{share:.1%} of their absolute sum; what is missing may belong anywhere in the map. Use "
        "more steps or samples, or another method.",
        "Too few steps were added up to reach the score's rise, or DeepLIFT met an axis before "
        "that of the batch, or a target that chooses its pixels anew, such as `Segmentation` "
        "without a mask.",
        "Give `integrated_gradients` more `steps`, `expected_gradients` more `samples`; where "
        "`deep_lift` misses the sum, use `integrated_gradients`.",
    ),
    "not_additive": Known(
        "A sum over the parts of the picture explains only {fidelity:.2f} of how the score "
        "changes when parts are hidden, so the weights of {method} say little about it. Use "
        "other segments.",
        "What a part adds to the score depends on which other parts are seen, which a sum of "
        "weights can't express.",
        "Divide the picture in another way, such as into fewer or more `segments`, or use "
        "`kernel_shap`, which shares out what parts do together.",
    ),
    "unsupported": Known(
        "Hiding what the map marks lowers the model's number for {target} hardly more than "
        "{others} (p = {p_value:.2g}), so the removal test says: {verdict}. The map may not "
        "show what the model uses.",
        "Hiding other parts has as much effect: either the map is wrong, or other parts matter "
        "as much, as where an object fills the picture or stands in it several times.",
        "Read the map's `verification`, try another layer or method, and do not take this map "
        "as evidence.",
    ),
    "no_picture": Known(
        "The picture of {key!r} is not at hand and shown as grey; its map is unchanged. Give "
        "the explained pictures to tfcam.open_store(..., data=...).",
        "A store holds maps but no pictures, and these are no longer where they were, or were "
        "given as arrays or as a `tf.data.Dataset`.",
        "Pass `data=` to `tfcam.open_store`, or `image=` to its `explanation`.",
    ),
    "no_labels": Known(
        "The ImageNet labels could not be loaded, so classes have numbers only.",
        "Keras's class index of ImageNet is not on this machine and could not be downloaded.",
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
