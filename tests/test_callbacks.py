"""The callback shows what is learnt, changes nothing of the training, and costs what it may."""

import csv
import gc
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import psutil
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

import tfcam
from tfcam import callbacks
from tfcam.callbacks import ExplainCallback
from tfcam.metrics.localisation import box_iou, pointing_game
from tfcam.results import cards

ROOT = Path(__file__).parent.parent
SIZE, CLASSES = 16, 3


def network():
    """Dropout and batch normalisation: both behave in another way while a model learns."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.5)(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="features")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x), name="small")


def compiled(model=None, **options):
    model = model or network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


def samples(count=24, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, SIZE, SIZE, 3), np.float32), rng.integers(0, CLASSES, count)


def learn(callback, model=None, epochs=3, **options):
    """Fit on the same data from the same seeds, with a callback or without."""
    keras.utils.set_random_seed(3)
    model = model() if model else compiled()
    history = model.fit(
        *samples(),
        batch_size=4,
        epochs=epochs,
        verbose=options.pop("verbose", 0),
        callbacks=[callback] if isinstance(callback, keras.callbacks.Callback) else callback,
        **options,
    )
    return model, history.history


def drawn():
    return random.random(), np.random.random(), float(tf.random.uniform(()))


BOXES = [np.array([[2, 2, 10, 12]]), None, np.array([[0, 0, 4, 4], [8, 8, 16, 16]])]


def looking(tmp_path, **options):
    return ExplainCallback(
        samples(3, seed=1)[0],
        "features",
        **{"boxes": BOXES, "folder": tmp_path / "maps", "log_dir": tmp_path / "logs"}
        | {"max_share": None}  # every epoch, however slow the machine
        | options,
    )


def nested():
    inner = network()
    inputs = keras.Input((SIZE, SIZE, 3))
    return compiled(keras.Model(inputs, inner(inputs), name="outer"))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = network()

    def call(self, inputs, training=None):
        return self.inner(inputs, training=training)


VARIANTS = {
    "plain": compiled,
    "steps": lambda: compiled(steps_per_execution=4),
    "eager": lambda: compiled(run_eagerly=True),
    "nested": nested,
    "subclassed": lambda: compiled(Subclassed()),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.thinned(2, kept="slow")
def test_training_is_the_same_bit_for_bit(variant, tmp_path):
    kind = VARIANTS[variant]
    epochs = 2 if variant == "eager" else 4
    plain, before = learn(None, kind, epochs, validation_split=0.25)
    after_plain = drawn()
    # A method that draws noise must not draw it from what training draws from.
    method = "smooth_grad_cam_pp" if variant == "plain" else "grad_cam"
    look = looking(tmp_path, method=method)
    watched, after = learn(look, kind, epochs, validation_split=0.25)
    assert drawn() == after_plain
    for name, values in before.items():
        assert after[name] == values
    for one, other in zip(plain.variables, watched.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(plain.optimizer.variables, watched.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(list((tmp_path / "maps").iterdir())) == epochs


@pytest.mark.slow
def test_training_in_mixed_precision_is_the_same(tmp_path):
    before = keras.mixed_precision.dtype_policy()
    try:
        keras.mixed_precision.set_dtype_policy("mixed_float16")
        plain, _ = learn(None)
        watched, _ = learn(looking(tmp_path))
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    for one, other in zip(plain.variables, watched.variables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_maps_are_those_of_the_epoch(tmp_path):
    """Followed from epoch to epoch: what was compiled reads the new weights."""
    images, labels = samples(3, seed=1)
    kept = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            fresh = keras.models.clone_model(self.model)
            fresh.set_weights(self.model.get_weights())
            wanted = tfcam.explain(fresh, images, "features", target=labels.tolist())
            kept.append((look.explanations, wanted, dict(logs)))

    look = looking(tmp_path, target=labels)
    learn([look, Keep()], epochs=4)
    assert len({found.heatmaps.tobytes() for found, _, _ in kept}) == 4
    for found, wanted, logs in kept:
        np.testing.assert_allclose(found.heatmaps, wanted.heatmaps, atol=1e-4)
        assert [each.target for each in found] == labels.tolist()
        pairs = [(e.heatmap, b) for e, b in zip(found, BOXES, strict=True) if b is not None]
        assert logs["explain_box_iou"] == pytest.approx(np.mean([box_iou(*p) for p in pairs]))
        hits = np.mean([pointing_game(*pair) for pair in pairs])
        assert logs["explain_pointing_game"] == pytest.approx(hits)


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_pictures_that_are_changed_afterwards_are_explained_as_they_were(dtype, tmp_path):
    pictures = [(255 * picture).astype(dtype) for picture in samples(2)[0]]
    preprocess = None if dtype == np.float32 else "unit"
    look = ExplainCallback(pictures, "features", folder=tmp_path, preprocess=preprocess)
    for picture in pictures:
        picture[:] = 0
    learn(look, epochs=1)
    assert all(explanation.image.std() > 50 for explanation in look.explanations)


@pytest.mark.slow
def test_other_callbacks_see_the_numbers(tmp_path):
    stop = keras.callbacks.EarlyStopping("explain_box_iou", patience=9, mode="max")
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    _, history = learn([looking(tmp_path), log, stop], epochs=3)
    overlaps = history["explain_box_iou"]
    assert float(stop.best) == max(overlaps)
    rows = csv.DictReader((tmp_path / "log.csv").read_text().splitlines())
    assert [float(row["explain_box_iou"]) for row in rows] == pytest.approx(overlaps)


def summaries(folder):
    """What TensorBoard would read: (step, tag) -> the value."""
    (file,) = folder.glob("events*")
    found = {}
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            found[event.step, value.tag] = tf.make_ndarray(value.tensor)
    return found


@pytest.mark.slow
def test_the_folder_and_tensorboard_hold_the_maps(tmp_path):
    look = looking(tmp_path, every=2)
    _, history = learn(look, epochs=4)
    pictures = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert pictures == ["epoch_001.png", "epoch_003.png", "epoch_004.png"]
    found = summaries(tmp_path / "logs" / "explain")
    maps = [f"explain/image_{number:02d}" for number in (1, 2, 3)]
    tags = (*maps, "explain/box_iou", "explain/pointing_game")
    assert set(found) == {(step, tag) for step in (0, 2, 3) for tag in tags}
    for step in (0, 2, 3):
        overlap = found[step, "explain/box_iou"]
        assert overlap == pytest.approx(history["explain_box_iou"][step])
        for name in maps:
            width, _, png = found[step, name]
            assert 250 < int(width) <= 350  # what TensorBoard shows without making it smaller
            assert np.asarray(tf.io.decode_png(png)).std() > 10
        with Image.open(tmp_path / "maps" / f"epoch_{step + 1:03d}.png") as picture:
            assert picture.width == 900
    # Between two measurements the last numbers stand.
    assert history["explain_box_iou"][1] == history["explain_box_iou"][0]


@pytest.mark.slow
def test_the_figure_says_what_it_shows(tmp_path, monkeypatch):
    sheets = []

    class Spied(cards.ContactSheet):
        def __init__(self, *given):
            sheets.append(given)
            super().__init__(*given)

    monkeypatch.setattr(cards, "ContactSheet", Spied)
    look = looking(tmp_path, labels=["cat", "dog", "owl"], target=["cat", "dog", "owl"])
    learn(look, epochs=2)
    (row,), _, _, headline, foot, *_ = next(each for each in reversed(sheets) if each[3])
    assert headline == "epoch 2 of 2: grad_cam at features"
    assert foot == ["The true boxes are drawn in white."]
    for cell, found, label in zip(row, look.explanations, ("cat", "dog", "owl"), strict=True):
        assert cell.caption == f"{label}, probability {found.probability:.3g}"
    assert row[0].notes[0].startswith("box IoU 0.")
    assert not any("IoU" in note for note in row[1].notes)  # it has no boxes
    assert row[0].picture[2, 2].tolist() == [255] * 3  # the corner of its box


def test_boxes_lie_where_they_are_in_a_picture_that_is_drawn_smaller(tmp_path):
    picture = np.full((1700, 850, 3), 90, np.uint8)
    found = tfcam.explain(tfcam.demo_model(), picture)
    cell = callbacks._cell(found, np.array([[0, 850, 850, 1700.0]]), None)
    assert cell.picture.shape[0] <= 800
    white = np.nonzero((cell.picture == 255).all(axis=(1, 2)))[0]
    assert white.min() / cell.picture.shape[0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.slow
def test_no_figure_is_left_open_and_the_backend_stays(tmp_path):
    backend = plt.get_backend()
    learn(looking(tmp_path), epochs=2)
    assert plt.get_fignums() == []
    assert plt.get_backend() == backend


def forty_epochs(folder):
    """Whether each trace was an eager pass, and by how many bytes memory grew in 30 epochs."""
    traced, resident = [], {}

    def counted(reading):
        traced.append(tf.executing_eagerly())
        return tf.reduce_mean(reading.gradients * reading.activations, axis=-1)

    class Measure(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            gc.collect()
            if epoch in (9, 39):
                resident[epoch] = psutil.Process().memory_info().rss

    learn([looking(folder, method=counted), Measure()], epochs=40)
    return traced, resident[39] - resident[9]


@pytest.mark.product
def test_it_is_compiled_once_and_memory_does_not_grow(tmp_path):
    """One eager pass, one trace; then epoch after epoch the same."""
    ask = (
        "import json, pathlib, sys; from tests.test_callbacks import forty_epochs; "
        "print(json.dumps(forty_epochs(pathlib.Path(sys.argv[1]))))"
    )
    # In a process of its own: what other tests left behind would be counted.
    command = [sys.executable, "-c", ask, str(tmp_path)]
    # What is freed goes back to the system at once: else what malloc keeps is counted, up to 25 MB.
    malloc = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "100000"}
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | malloc
    )
    traced, grown = json.loads(run.stdout.splitlines()[-1])
    assert traced == [True, False]
    # Kept figures would be 2 MB each.
    assert grown < 5e6


def ticking(monkeypatch, seconds):
    """A clock that only the epochs and the explanations move: no test waits for a real one."""
    now = [0.0]
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: now[0])
    explain = ExplainCallback._explain

    def slow(self):
        now[0] += seconds
        return explain(self)

    monkeypatch.setattr(ExplainCallback, "_explain", slow)

    class Epoch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            now[0] += 10.0

    return Epoch()


@pytest.mark.slow
def test_the_cost_is_bounded_and_it_says_so(tmp_path, monkeypatch, capsys):
    """Epochs of 10 s, maps of 1 s, a tenth of the time: by hand.

    The trial and epoch 1 take 2 s; 10 percent of 20 s trained is 2 s, so epoch 2 is made (3 s),
    epoch 3 (30 s) too; and so on: at most a tenth, and the last one.
    """
    epoch = ticking(monkeypatch, 1.0)
    look = looking(tmp_path, max_share=0.1, log_dir=None)
    learn([epoch, look], epochs=6, verbose=2)
    assert (look.skipped, look.seconds) == ([], 7.0)
    look = looking(tmp_path, max_share=0.05, log_dir=None, folder=tmp_path / "fewer")
    learn([epoch, look], epochs=10, verbose=2)
    # Spent 2 s after epoch 1, within 5 % from epoch 4 on; 3 s, from epoch 6; 4 s, from epoch 8.
    assert look.skipped == [1, 2, 4, 6, 8]
    assert look.seconds == 6.0
    said = [line for line in capsys.readouterr().out.splitlines() if "leaves out" in line]
    assert said == [
        "ExplainCallback leaves out epoch 2: with its 2.0 s it has taken more than 5.0% of the "
        "training (max_share). It goes on when that is made up for."
    ]


@pytest.mark.slow
def test_without_a_bound_nothing_is_left_out(tmp_path, monkeypatch):
    look = looking(tmp_path, log_dir=None)
    learn([ticking(monkeypatch, 100.0), look], epochs=4)
    assert (look.skipped, look.seconds) == ([], 500.0)


@pytest.mark.slow
def test_a_skipped_last_epoch_is_made_at_the_end(tmp_path):
    """A callback behind it stops the training at an epoch that was not due."""
    look = looking(tmp_path, every=5)

    class StopAt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 2

    learn([look, StopAt()], epochs=9)
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == [
        "epoch_001.png",
        "epoch_003.png",
    ]


@pytest.mark.slow
def test_a_training_that_diverges_is_not_ended_by_it(tmp_path):
    def broken():
        model = compiled()
        model.layers[-1].kernel.assign(np.full((4, CLASSES), np.nan))
        return model

    look = looking(tmp_path)
    _, history = learn(look, broken, epochs=2)
    assert history["explain_box_iou"] == [0.0, 0.0]
    assert "not_finite" in {each.code for each in look.explanations[0].findings}


@pytest.mark.slow
def test_files_are_read_once(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.full((40, 30, 3), 128, np.uint8)).save(path)
    look = ExplainCallback([path], preprocess="unit", folder=tmp_path / "maps", max_share=None)
    path.unlink()
    learn(look, epochs=2)
    assert look.explanations[0].heatmap.shape == (40, 30)
    assert look.scores == {}


def siamese():
    left, right = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    tower = keras.Sequential([layers.Conv2D(4, 3, name="conv"), layers.GlobalAveragePooling2D()])
    difference = layers.Subtract()([tower(left), tower(right)])
    return keras.Model([left, right], layers.Dense(1, activation="sigmoid")(difference))


@pytest.mark.slow
def test_pictures_come_as_data_sets_and_models_have_them(tmp_path):
    images, labels = samples(4)
    asked = {"folder": tmp_path, "max_share": None, "preprocess": None}
    batch = next(iter(tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)))
    look = ExplainCallback(batch, target=[[int(label)] for label in labels], **asked)
    learn(look, epochs=1)
    assert [one.target for one in look.explanations] == labels.tolist()
    inner = network()
    (first,), (last,), name = inner.inputs, inner.outputs, inner.inputs[0].name
    named = compiled(keras.Model({name: first}, {"kind": last}))
    look = ExplainCallback(
        {name: images}, target={"kind": labels, "age": 0}, output="kind", **asked
    )
    named.fit({name: images}, {"kind": labels}, verbose=0, callbacks=[look])
    assert [one.target for one in look.explanations] == labels.tolist()
    pair, other = compiled(siamese()), samples(4, seed=1)[0]
    pair.compile("sgd", "binary_crossentropy")
    look = ExplainCallback((images, other), input=1, target=[True, False, True, True], **asked)
    pair.fit((images, other), np.zeros(4), verbose=0, callbacks=[look])
    wanted = tfcam.explain(pair, (images, other), input=1, target=[1, 0, 1, 1], preprocess=None)
    for found, one in zip(look.explanations, wanted, strict=True):
        assert (found.target, found.layer) == (one.target, one.layer)
        np.testing.assert_allclose(found.heatmap, one.heatmap, atol=1e-3)


def volume_network(frames=None):
    inputs = keras.Input((frames, SIZE, SIZE, 1))
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(2, 3, activation="relu")(inputs))
    return compiled(keras.Model(inputs, layers.Dense(CLASSES)(x)))


@pytest.mark.parametrize("form", ["array", "without channel", "integers", "of several lengths"])
@pytest.mark.thinned(1)
def test_volumes_are_drawn_as_plot_draws_them(form, tmp_path):
    model, rng = volume_network(), np.random.default_rng(2)
    given = rng.normal(0, 50, (2, 4, SIZE, SIZE, 1)).astype("float32")
    given = {
        "array": given,
        "without channel": given[..., 0],
        "integers": given.astype("int16"),
        "of several lengths": [given[0], given[1, :3]],
    }[form]
    look = ExplainCallback(given, target=[1, 0], folder=tmp_path, log_dir=tmp_path / "logs")
    train = rng.normal(0, 1, (4, 4, SIZE, SIZE, 1)).astype("float32")
    model.fit(train, np.array([0, 1, 2, 0]), epochs=2, verbose=0, callbacks=[look])
    for found, one in zip(look.explanations, given, strict=True):
        wanted = tfcam.explain(model, one, target=found.target)
        assert found.heatmap.shape == (len(one), SIZE, SIZE)
        np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-3, atol=1e-5)
    drawn = np.asarray(Image.open(tmp_path / "epoch_002.png"))[..., :3]
    figures = [Image.open(io.BytesIO(one.render(100))) for one in look.explanations]
    assert drawn.shape[0] == sum(one.height for one in figures) + 30
    top = np.asarray(figures[0])[..., :3]
    np.testing.assert_allclose(drawn[30 : 30 + len(top)], top, atol=2)
    boxed = ExplainCallback(given, boxes=[np.array([[0, 0, 2, 2]])] * 2)
    with pytest.raises(ValueError, match="boxes are for pictures, but the model takes volumes"):
        model.fit(train, np.array([0, 1, 2, 0]), verbose=0, callbacks=[boxed])


def test_what_can_not_be_drawn_is_told_before_the_first_epoch(tmp_path):
    inputs = keras.Input((8, 3))
    x = layers.GlobalAveragePooling1D()(layers.Conv1D(2, 3)(inputs))
    model = compiled(keras.Model(inputs, layers.Dense(CLASSES)(x)))
    series = np.zeros((2, 8, 3), np.float32)
    with pytest.raises(
        ValueError, match=r"draws pictures, videos, volumes and texts, .* takes \(8, 3\)\. Explain"
    ):
        model.fit(
            series, np.array([0, 1]), callbacks=[ExplainCallback(list(series), folder=tmp_path)]
        )


def test_wrong_requests_are_told_at_once(tmp_path):
    image = np.zeros((1, SIZE, SIZE, 3), np.float32)
    with pytest.raises(ValueError, match="Something must come of the maps: give log_dir, folder"):
        ExplainCallback(image)
    with pytest.raises(ValueError, match="at least one image to explain; got none"):
        ExplainCallback([], folder=tmp_path)
    with pytest.raises(TypeError, match="must be a list of pictures, or an array .* got str"):
        ExplainCallback("picture.png", folder=tmp_path)
    with pytest.raises(TypeError, match="must be a list of pictures, or an array"):
        ExplainCallback(image[0], folder=tmp_path)
    with pytest.raises(ValueError, match="or None for one that has none; got 2 for 1 images"):
        ExplainCallback(image, boxes=[None, None])
    with pytest.raises(ValueError, match="max_share must be in .0, 1., or None; got 0"):
        ExplainCallback(image, folder=tmp_path, max_share=0)
    with pytest.raises(ValueError, match="every must be at least 1; got 0"):
        ExplainCallback(image, folder=tmp_path, every=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": "nowhere"}, "nowhere"),
        ({"target": [0, 7, 1]}, "7"),
        ({"boxes": [np.array([[90, 90, 99, 99]])] * 3}, "must hold at least one pixel"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_epoch(options, words, tmp_path):
    class Never(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise AssertionError("an epoch was begun")

    look = ExplainCallback(samples(3)[0], **{"layer": "features", "folder": tmp_path, **options})
    with pytest.raises(ValueError, match=words):
        learn([look, Never()])


PLANTED = ["a lovely film", "a boring film", "the plot is lovely", "the plot is boring"]


def reader():
    """A network of strings, and what it is trained on: two words decide."""
    read = layers.TextVectorization(output_sequence_length=6)
    read.adapt(PLANTED)
    keras.utils.set_random_seed(0)
    strings = keras.Input((1,), dtype="string")
    x = layers.Embedding(read.vocabulary_size(), 8)(read(strings))
    x = layers.Conv1D(8, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.GlobalMaxPooling1D()(x)
    model = keras.Model(strings, layers.Dense(2, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy")
    return model, tf.constant(PLANTED * 8)[:, tf.newaxis], np.array([1, 0, 1, 0] * 8)


@pytest.mark.slow
def test_texts_are_drawn_as_their_words(tmp_path, monkeypatch):
    """Strings as samples: the word that decides is found in the end, and stands in the figure."""
    drawn = []
    draw = cards.TextSheet.draw
    monkeypatch.setattr(
        *(cards.TextSheet, "draw"),
        lambda sheet, figure: drawn.append(sheet) or draw(sheet, figure),
    )
    model, texts, labels = reader()
    look = ExplainCallback(
        ["What a lovely film!", "It is boring."],
        labels=["bad", "good"],
        folder=tmp_path / "maps",
        log_dir=tmp_path / "logs",
        max_share=None,
    )
    model.fit(texts, labels, epochs=8, verbose=0, callbacks=[look])
    words = [each.words[each.raw.argmax()] for each in look.explanations]
    assert words == ["lovely", "boring"]
    for text, found in zip(
        ["What a lovely film!", "It is boring."], look.explanations, strict=True
    ):
        wanted = tfcam.explain(model, text)
        assert (found.method, found.words) == ("integrated_gradients", wanted.words)
        np.testing.assert_allclose(found.raw, wanted.raw, atol=1e-5)
    assert len(list((tmp_path / "maps").iterdir())) == 8
    whole = next(each for each in reversed(drawn) if each.headline)
    assert whole.headline.startswith("epoch 8 of 8: integrated_gradients at embedding")
    assert whole.titles[0].startswith("good, probability 0.")
    assert whole.palette.signed
    found = summaries(tmp_path / "logs" / "explain")
    assert {tag for _, tag in found} == {"explain/text_01", "explain/text_02"}


@pytest.mark.slow
def test_what_strings_are_the_model_says(tmp_path):
    """Texts in an array, and at a layer; of pictures they are files, told before an epoch."""
    model, texts, labels = reader()
    look = ExplainCallback(np.array(["a film"]), "conv", folder=tmp_path / "maps")
    model.fit(texts, labels, epochs=1, verbose=0, callbacks=[look])
    assert (look.explanations[0].words, look.explanations[0].method) == (("a", "film"), "grad_cam")
    look = ExplainCallback(["a film"], boxes=[np.array([[0, 0, 1, 1]])])
    with pytest.raises(ValueError, match="boxes are for pictures, but the model takes texts"):
        model.fit(texts, labels, epochs=1, verbose=0, callbacks=[look])
    with pytest.raises(FileNotFoundError, match="a film"):
        learn(ExplainCallback(["a film"], folder=tmp_path))
