"""Every option that several doors share, declared once: name, type, default, words and check.

``doors`` says which door takes which. A door (``explain``, ``evaluate``, ...) writes its options
out in its signature and its docstring, so that a type checker and ``help()`` see them, and an
editor shows the words of the argument that is being typed, all without running anything. A test
holds each copy equal to its declaration here; ``python -m tests.doors`` writes the docstrings.
Other ways show less: neither an editor nor a type checker sees what a decorator sets, and
``Unpack`` of a ``TypedDict`` leaves no room for a method's own options, and nothing to complete in
an editor that uses jedi.

The command line makes its flags from these declarations. Nothing here loads TensorFlow, so that
``tfcam explain --help`` is quick.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal, get_args

from tfcam.engine.option import Option, count, flag
from tfcam.maps.scaling import Fusion
from tfcam.preprocessing.names import check_preprocess
from tfcam.utils.validation import check_choice, check_grid, check_output, check_progress

Score = Literal["logit", "probability"]


# --- What is explained ----------------------------------------------------------------------

_PLACE = (
    'a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or an index of '
    "``tfcam.layers``"
)
_USUAL = (
    "by default the last map that the output is computed from, before pooling, a softmax over "
    "positions or a mixing of axes"
)
_OBJECTS = "Layer objects are taken, too."
_LIST = "Several are a list; layer objects are taken, too."

LAYER = Option("layer", "Layer", None, f"The layer: {_PLACE}; {_USUAL}.", _OBJECTS)
LAYERS_FUSED = replace(
    LAYER,
    type="Layers",
    words=f'{LAYER.words} Several, or "all_convolutions", are fused into one map.',
    code=_LIST,
)
LAYERS_APART = replace(LAYERS_FUSED, words=f"{LAYER.words} Of several each is taken by itself.")
LAYERS = replace(
    LAYER,
    name="layers",
    type="Sequence[Layer] | None",
    words=f'The layers, each {_PLACE}, or "all_convolutions"; {_USUAL}.',
)
CANDIDATE_LAYERS = replace(
    LAYERS,
    words=f"The layers, each {_PLACE}; by default the one that ``tfcam.explain`` takes and, of "
    "each of the two map sizes before it, the last.",
)

_CALLABLE = (
    "or a callable outputs -> (B,) on the outputs before the final softmax or sigmoid, such as "
    "``tfcam.Segmentation``"
)

TARGET = Option(
    "target",
    "Target",
    None,
    "The class that is explained: an index, or a label where labels are known; by default the one "
    "that the model predicts.",
    f"Also a ``tfcam.Difference``, {_CALLABLE}.",
)
TARGETS = replace(
    TARGET,
    type="Target | Targets | np.ndarray",
    code=f"{TARGET.code} Of a batch a list of these, one for each image; of one image a list of "
    "these, or ``tfcam.Top(k)``, gives an explanation of each; up to 32 share a forward pass.",
)
TARGETS_OF_BATCH = replace(
    TARGET,
    type="Target | Sequence[Target] | np.ndarray",
    code=f"{TARGET.code} Of a batch a list of these, one for each image.",
)
TARGET_OF_DATA = replace(
    TARGET,
    words='The class that is explained: an index, a label, or "label" for each picture\'s own; by '
    "default the one that the model predicts.",
)
TARGETS_COMPARED = replace(
    TARGET,
    name="targets",
    type="Sequence[Target] | Top | None",
    words="The classes that are explained, each an index, or a label where labels are known; by "
    "default the one that the model predicts.",
    code=f"Also ``tfcam.Difference``, {_CALLABLE}, and ``tfcam.Top(k)`` instead of the list.",
)
SCORE = Option(
    "score",
    "Score",
    "logit",
    'The number that is explained: "logit", the score before the final softmax or sigmoid, or '
    '"probability", the one after it.',
    check=partial(check_choice, "score", known=get_args(Score)),
)
INPUT = Option(
    "input",
    "str | int | None",
    None,
    "Which input is explained of a model that has several, by name or index; by default the first "
    "of those with most axes.",
)
OUTPUT = Option(
    "output",
    "str | int | None",
    None,
    "Which output is explained of a model that has several, by name or index.",
    check=check_output,
)
GRID = Option(
    "grid",
    "tuple[int, ...] | None",
    None,
    "Height and width of a transformer's grid of patches, of videos and volumes (frames, height, "
    "width) of its tubes; needed only where it can't be found.",
    check=check_grid,
)
WORDS = Option(
    "words",
    "Sequence[Any] | None",
    None,
    "The word of each position of a text that is given as numbers, shown instead of these; of a "
    "batch of texts a list of these. A string has its own.",
)

# --- How ------------------------------------------------------------------------------------

METHOD = Option(
    "method",
    "str | Callable[[Reading], tf.Tensor]",
    "grad_cam",
    "The method, by its name in ``tfcam.METHODS``.",
    "Or a function Reading -> (B, h, w), the raw maps.",
)
METHOD_OR_DEFAULT = replace(
    METHOD,
    type=f"{METHOD.type} | None",
    default=None,
    words="The method, by its name in ``tfcam.METHODS``; by default grad_cam, and of a text, where "
    "no layer is given, integrated_gradients at the embeddings of its words.",
)


def usual_method(of_text: bool, layer: object) -> str:
    """The method where none is named, as METHOD_OR_DEFAULT says."""
    return "integrated_gradients" if of_text and layer is None else "grad_cam"


METHODS = Option(
    "methods",
    "Sequence[MethodChoice] | None",
    None,
    "The methods, by their names in ``tfcam.METHODS``; by default those of one pass that weight "
    "the channels of any layer.",
    'Functions Reading -> (B, h, w) and names with options, as in ("score_cam", {"channels": 32}), '
    "are taken, too.",
)
METHODS_OF_SANITY = replace(
    METHODS,
    words="The methods, by their names in ``tfcam.METHODS``; by default saliency, grad_cam and "
    "guided_backprop.",
)
METRICS = Option(
    "metrics",
    "Sequence[MetricChoice] | None",
    None,
    "The metrics, by their names in ``tfcam.metrics.METRICS``; by default the usual ones.",
    'Names with options, as in ("deletion", {"steps": 10}), are taken, too.',
)
METRICS_OF_CHOICE = replace(
    METRICS,
    words="The metrics, by their names in ``tfcam.metrics.METRICS``; by default insertion, "
    "deletion and ROAD in coarse steps, of videos and volumes without ROAD, of texts those that "
    "``tfcam.evaluate`` takes.",
)
FUSE = Option(
    "fuse",
    "maps.Fusion",
    "max",
    'How the maps of several layers become one, pixel by pixel: "max", "mean", "product", or '
    '"tanh_max", which lifts what is faint in shallow layers.',
    check=partial(check_choice, "fuse", known=get_args(Fusion)),
)
AUGMENT = flag("augment", False, "Average the maps of six views: mirrored or not, at three sizes.")
EIGEN = flag(
    "eigen",
    False,
    "Combine the weighted channels to their first principal component instead of their sum, which "
    "smooths the map.",
)

# --- Pictures and labels --------------------------------------------------------------------

PREPROCESS = Option(
    "preprocess",
    "Preprocess",
    "auto",
    'How pixels of 0..255 become the model\'s input: "auto" finds out, "raw" leaves them, "unit", '
    '"tf", "torch" and "caffe" scale them, and the name of a keras.applications family, such as '
    '"resnet_v2", does what that needs.',
    "Or a callable on (B, H, W, 3) float32 pixels, ``tfcam.images.Window``, or None if prepared.",
    check=check_preprocess,
)
LABELS = Option(
    "labels",
    "Labels | None",
    None,
    "The label of each class, in the order of the classes, or a file with a label on each line or "
    "of JSON; by default known of ImageNet networks.",
    'Or a dict of names and indices, such as ``class_indices``, or "imagenet".',
)
SPLIT = Option(
    "split",
    "str",
    "test",
    'Which part of a data set of tensorflow_datasets, such as "test[:100]".',
)
DATA_DIR = Option(
    "data_dir",
    "str | os.PathLike[str] | None",
    None,
    "The folder where tensorflow_datasets keeps a data set, if not its usual place.",
)
ANNOTATIONS = replace(
    DATA_DIR,
    name="annotations",
    words="The folder of XML files, or the JSON file, that says what is in a folder of pictures, "
    "if not beside them.",
)

# --- Running --------------------------------------------------------------------------------

BATCH_SIZE = count(
    "batch_size", 32, "Number of images that are computed at once; fewer take less memory."
)
SHARD_SIZE = count(
    "shard_size",
    1024,
    "Number of pictures in a file. After a stop, as many are explained anew at most: fewer are "
    "better where a method takes long.",
)
SEED = count("seed", 0, "Random seed, at least 0: the same seed gives the same result.", least=0)
FREEZE = flag(
    "freeze",
    False,
    "Build the weights into what is compiled, as they are at the first call with images of a "
    "shape. On a CPU that is faster than the network by itself, as layers are folded together; it "
    "does not see later training.",
)
FREEZE_PROBE = replace(
    FREEZE,
    words="Build the weights into what is compiled, as they are now, once for all probes until "
    "they change. On a CPU it then takes two thirds of the time; worth it from some hundred "
    "variants on.",
)
FROZEN = flag(
    "freeze",
    True,
    "Build the weights into what is compiled, which is faster on a CPU; not done where several "
    "replicas share a batch.",
)
PROGRESS = Option(
    "progress",
    "bool | None",
    None,
    "Show a progress bar on the error stream; by default in a terminal or a notebook, where it "
    "takes more than a second.",
    check=check_progress,
)
