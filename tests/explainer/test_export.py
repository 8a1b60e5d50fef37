"""What is exported explains as the explainer does, with TensorFlow alone."""

import json
import resource
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import rounding

ONE_PASS = [name for name, each in tfcam.METHODS.items() if not each.loops]
PICTURES = np.stack([tfcam.scenes.draw_scene(seed).image for seed in range(3)])


def exported(explainer, folder, **options):
    explainer.export(folder, **options)
    return tf.saved_model.load(str(folder)).signatures["serving_default"]


# Dozens of layers' roundings, of pixels of up to 255.
TOLERANCE = rounding(1.0, count=80)


def assert_equal(made, results, tolerance=TOLERANCE):
    np.testing.assert_allclose(made["heatmap"], results.heatmaps, atol=tolerance)
    scores = [each.score for each in results]
    np.testing.assert_allclose(made["score"], scores, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("method", sorted({*ONE_PASS} - networks.OF_ATTENTION))
@pytest.mark.thinned(1, kept="slow")
def test_every_method_of_one_pass_is_exported(method, tmp_path):
    explainer = tfcam.Explainer(tfcam.demo_model(), method=method, labels=tfcam.scenes.KINDS)
    serve = exported(explainer, tmp_path)
    for count in (1, 3):  # of any batch
        made, results = serve(image=tf.constant(PICTURES[:count])), explainer(PICTURES[:count])
        assert_equal(made, results)
        assert made["class"].numpy().tolist() == [each.target for each in results]
        assert [each.decode() for each in made["label"].numpy()] == [e.label for e in results]


@pytest.mark.slow
def test_attention_is_exported(tmp_path):
    from tests.kinds import KINDS

    case = KINDS["transformer with a class token"].build()
    explainer = tfcam.Explainer(case.model, case.layer, method="attention_rollout", preprocess=None)
    serve = exported(explainer, tmp_path)
    assert_equal(serve(image=tf.constant(case.inputs)), explainer(case.inputs))


@pytest.mark.parametrize(
    ("target", "options"),
    [
        (2, {}),
        ("star", {}),
        (tfcam.Difference("star", "ring"), {}),
        (tfcam.Difference("square", None), {}),
        (lambda outputs: outputs[:, 0] - outputs[:, 3], {}),
        (tfcam.Regression(-1, index=4), {}),
        (None, {"score": "probability"}),
        (1, {"eigen": True}),
        (1, {"layer": ["stem_relu", "features"], "fuse": "max"}),
        (1, {"layer": ["stem_relu", "features"], "fuse": "mean"}),
        (1, {"layer": ["stem_relu", "features"], "fuse": "product", "method": "layer_cam"}),
        (1, {"layer": ["stem_relu", "features"], "fuse": "tanh_max"}),
    ],
)
@pytest.mark.thinned(1)
def test_what_is_explained_is_exported(target, options, tmp_path):
    kinds = [str(each) for each in tfcam.scenes.KINDS]
    if target == tfcam.Difference("star", "ring"):
        target = tfcam.Difference(kinds[0], kinds[1])
    target = kinds[2] if target == "star" else target
    target = tfcam.Difference(kinds[3], None) if isinstance(target, tfcam.Difference) else target
    explainer = tfcam.Explainer(tfcam.demo_model(), labels=kinds, **options)
    serve = exported(explainer, tmp_path, target=target)
    assert_equal(serve(image=tf.constant(PICTURES)), explainer(PICTURES, target=target))


@pytest.mark.parametrize("size", [(64, 96), (200, 150), (300, 400), (520, 700)])
@pytest.mark.thinned(1, kept="slow")
def test_pictures_of_other_sizes_are_brought_to_the_models_as_the_explainer_does(size, tmp_path):
    explainer = tfcam.Explainer(tfcam.demo_model())
    serve = exported(explainer, tmp_path)
    pictures = np.stack([tf.image.resize(each, size).numpy() for each in PICTURES])
    pictures = pictures.astype(np.uint8)
    made, results = serve(image=tf.constant(pictures)), explainer(pictures)
    assert made["heatmap"].shape == (3, *size)
    # OpenCV rounds otherwise at some pixels, by one of 255 levels.
    assert_equal(made, results, tolerance=0.02)
    assert made["class"].numpy().tolist() == [each.target for each in results]


@pytest.mark.thinned(1)
@pytest.mark.parametrize("mode", ["raw", "unit", "tf", "torch", "caffe"])
def test_preprocessing_is_inside(mode, tmp_path):
    explainer = tfcam.Explainer(networks.flat(), "features", preprocess=mode)
    height, width = networks.flat().input_shape[1:3]
    pictures = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    serve = exported(explainer, tmp_path)
    assert_equal(serve(image=tf.constant(pictures)), explainer(pictures))


def test_grey_networks_take_pictures(tmp_path):
    network = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    explainer = tfcam.Explainer(network, "conv")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), np.uint8)
    serve = exported(explainer, tmp_path)
    assert_equal(serve(image=tf.constant(pictures)), explainer(pictures))


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    "kind", ["channels first", "series (Conv1D)", "volumes (Conv3D)", "mixed_float16"]
)
def test_prepared_inputs_of_every_form_are_taken(kind, tmp_path):
    from tests.kinds import KINDS

    case = KINDS[kind].build()
    explainer = tfcam.Explainer(case.model, case.layer, preprocess=None)
    serve = exported(explainer, tmp_path)
    given = case.inputs
    made, results = serve(image=tf.constant(given)), explainer(case.inputs)
    assert_equal(made, results, max(case.tolerance, TOLERANCE))


def test_the_weights_are_those_of_the_export(tmp_path):
    network = networks.flat()
    explainer = tfcam.Explainer(network, "features", preprocess=None)
    inputs = networks.pictures(2)
    before = explainer(inputs)
    serve = exported(explainer, tmp_path)
    network.set_weights([1.5 * each for each in network.get_weights()])
    assert_equal(serve(image=tf.constant(inputs)), before)


@pytest.mark.slow
def test_only_an_empty_folder_or_an_export_makes_way(tmp_path):
    explainer = tfcam.Explainer(tfcam.demo_model())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"mine")
    with pytest.raises(ValueError, match="must be empty, or one that was written here before"):
        explainer.export(folder)
    assert [file.read_bytes() for file in folder.iterdir()] == [b"mine"]
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(ValueError, match="must be a folder; it is a file"):
        explainer.export(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        explainer.export(tmp_path / "no/model")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    explainer.export(tmp_path / "link", target=1)
    explainer.export(tmp_path / "link", target=2)
    assert (tmp_path / "link").is_symlink()
    serve = tf.saved_model.load(str(tmp_path / "empty")).signatures["serving_default"]
    assert serve(image=tf.constant(PICTURES))["class"].numpy().tolist() == [2, 2, 2]
    assert {file.name for file in tmp_path.iterdir()} == {"model", "file", "empty", "link"}


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("before", [False, True])
def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, before):
    explainer = tfcam.Explainer(tfcam.demo_model())
    if before:
        explainer.export(tmp_path / "model")
    kept = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # as if there were no more room
    try:
        with pytest.raises(OSError, match="model' could not be written: File too large. What was"):
            explainer.export(tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert kept == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert len(list(tmp_path.iterdir())) == before


ALONE = """
    import json
    import sys

    class Without:
        def __init__(self, finder):
            self.finder = finder

        def find_spec(self, name, path=None, target=None):
            hidden = name.split(".")[0] in ("keras", "tfcam")
            return None if hidden else self.finder.find_spec(name, path, target)

    sys.meta_path = [Without(each) for each in sys.meta_path]
    import numpy as np
    import tensorflow as tf

    serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
    made = serve(image=tf.constant(np.load(sys.argv[2])))
    np.save(sys.argv[3], made["heatmap"])
    loaded = {name.split(".")[0] for name in sys.modules}
    print(json.dumps([sorted(made), sorted(loaded & {"keras", "tfcam"})]))
"""


@pytest.mark.slow
def test_it_runs_with_tensorflow_alone(tmp_path):
    explainer = tfcam.Explainer(tfcam.demo_model(), labels=tfcam.scenes.KINDS)
    explainer.export(tmp_path / "model")
    np.save(tmp_path / "pictures.npy", PICTURES)
    paths = [str(tmp_path / name) for name in ("model", "pictures.npy", "heatmaps.npy")]
    command = [sys.executable, "-c", textwrap.dedent(ALONE), *paths]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stderr
    names, loaded = json.loads(run.stdout)
    assert names == ["class", "heatmap", "label", "score"]
    assert loaded == []
    heatmaps = np.load(tmp_path / "heatmaps.npy")
    np.testing.assert_allclose(heatmaps, explainer(PICTURES).heatmaps, atol=1e-5)


def test_what_can_not_be_exported_is_told(tmp_path):
    demo = tfcam.demo_model()
    with pytest.raises(
        ValueError, match="one pass can be exported; 'score_cam' asks .* more than once"
    ):
        tfcam.Explainer(demo, method="score_cam").export(tmp_path)
    with pytest.raises(ValueError, match="augment=True needs several passes"):
        tfcam.Explainer(demo, augment=True).export(tmp_path)
    with pytest.raises(ValueError, match="must work on tensors to be exported"):
        tfcam.Explainer(
            demo,
            preprocess=lambda pixels: pixels[..., [2, 1, 0]] * np.ones_like(np.asarray(pixels)),
        ).export(tmp_path)
    with pytest.raises(ValueError, match="Top\\(k\\) is for one image"):
        tfcam.Explainer(demo).export(tmp_path, target=tfcam.Top(2))
    with pytest.raises(ValueError, match="list of targets must have one"):
        tfcam.Explainer(demo).export(tmp_path, target=[1, 2])
    open_sizes = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(2, 3, name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    with pytest.raises(ValueError, match="input must have a size to be exported.*None, None, 3"):
        tfcam.Explainer(open_sizes, "conv", preprocess=None).export(tmp_path)
    left, right = keras.Input((8, 8, 3)), keras.Input((2,))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3, name="conv")(left))
    both = keras.Model([left, right], layers.Dense(2)(layers.Concatenate()([pooled, right])))
    with pytest.raises(ValueError, match="A model of one input can be exported; .* has 2"):
        tfcam.Explainer(both, "conv", preprocess=None).export(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.thinned(1)
@pytest.mark.parametrize(
    ("length", "method"), [(6, "grad_cam"), (None, "gradient_input"), (None, "saliency")]
)
def test_texts_are_explained_token_by_token(length, method, tmp_path):
    read = layers.TextVectorization(vocabulary=["not", "a", "film"], output_sequence_length=length)
    strings = keras.Input((1,), dtype="string")
    x = layers.Conv1D(4, 3, padding="same")(layers.Embedding(5, 4)(read(strings)))
    x = layers.GlobalAveragePooling1D()(keras.ops.tanh(x))
    model = networks.seeded(keras.Model(strings, layers.Dense(2, activation="softmax")(x)))
    explainer = tfcam.Explainer(model, method=method, labels=["bad", "good"])
    serve = exported(explainer, tmp_path)
    for text in ("a film", "Not a good film!"):
        made, found = serve(text=tf.constant([text])), explainer(text)
        count = len(found.words)
        tokens = [each.decode() for each in made["tokens"][0].numpy()]
        assert tokens[:count] == text.lower().strip("!").replace("good", "[UNK]").split()
        assert tokens[count:] == [""] * ((length or count) - count)
        np.testing.assert_allclose(made["raw"][0, :count], found.raw, atol=1e-6)
        np.testing.assert_allclose(made["heatmap"][0, :count], found.heatmap, atol=1e-5)
        assert not made["raw"][0, count:].numpy().any()
        assert float(made["score"][0]) == pytest.approx(found.score, abs=1e-6)
        assert made["label"][0].numpy().decode() == found.label


def test_what_of_strings_can_not_be_exported_is_said(tmp_path):
    strings = keras.Input((1,), dtype="string")
    texts = layers.TextVectorization(vocabulary=["cat", "dog"])
    lower = layers.Lambda(tf.strings.lower, output_shape=(1,))(strings)
    x = layers.GlobalAveragePooling1D()(layers.Embedding(4, 4)(texts(lower)))
    model = keras.Model(strings, layers.Dense(2)(x))
    with pytest.raises(ValueError, match=r"TextVectorization of .* Export the network behind it"):
        tfcam.Explainer(model, method="gradient_input").export(tmp_path / "made")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(4, 4)(texts(strings)))
    usual = tfcam.Explainer(keras.Model(strings, layers.Dense(2)(x)))
    with pytest.raises(ValueError, match="more than once. Use one such as gradient_input"):
        usual.export(tmp_path / "made")
    assert not (tmp_path / "made").exists()
