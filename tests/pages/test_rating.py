"""Blind comparisons without a browser: the plan, what is shown, what is kept, going on."""

import dataclasses
import itertools
from collections import Counter

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tfcam.cli.commands import app
from tfcam.evaluation.ratings import check_ratings, read_ratings, strengths, write_ratings
from tfcam.evaluation.ratings_page import ratings_page, sentences
from tfcam.methods import method as register
from tfcam.pages.looking import answers, read_picture
from tfcam.pages.networks import embedded
from tfcam.pages.pairs import plan
from tfcam.pages.rate import answer, ask
from tfcam.pages.rating import Rating, check_name

METHODS = ("grad_cam", "layer_cam", "saliency")


@pytest.fixture(scope="module")
def network():
    return embedded()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number, kind in enumerate(("star", "heart", "circle")):
        scene = tfcam.scenes.draw_scene(number, kinds=[kind])
        Image.fromarray(scene.image).save(folder / f"{number}.png")
    return tuple(sorted(folder.iterdir()))


def test_every_two_methods_meet_on_every_picture_and_the_same_seed_says_the_same():
    pairs = plan("ada", 6, 3, seed=4)
    assert pairs == plan("ada", 6, 3, seed=4)
    assert pairs != plan("bob", 6, 3, seed=4)
    assert pairs != plan("ada", 6, 3, seed=5)
    once = [pair for pair in pairs if not pair.repeated]
    met = Counter((pair.picture, *sorted(pair[1:3])) for pair in once)
    assert met == Counter(
        (picture, *duel) for picture in range(6) for duel in itertools.combinations(range(3), 2)
    )
    assert len(pairs) - len(once) == 2


def test_repeated_pairs_come_after_they_were_seen_and_sides_are_drawn():
    pairs = plan("ada", 200, 2, seed=0, repeats=0.4)
    seen = set()
    for number, pair in enumerate(pairs):
        key = (pair.picture, *sorted(pair[1:3]))
        assert pair.repeated == (key in seen)
        assert not pair.repeated or number > 100
        seen.add(key)
    assert sum(pair.repeated for pair in pairs) == 80
    # They do not stand together, which would tell.
    last = [pair.repeated for pair in pairs[-60:]]
    assert 10 < sum(last) < 50
    assert 110 < sum(pair.left == 0 for pair in pairs) < 170
    # Nothing tells from the first time which side it will be.
    first = {pair.picture: pair.left for pair in pairs if not pair.repeated}
    same = [first[pair.picture] == pair.left for pair in pairs if pair.repeated]
    assert 20 < sum(same) < 60


def test_fewer_answers_are_of_all_methods_alike():
    pairs = plan("ada", 50, 4, seed=0, most=24, repeats=0)
    met = Counter(tuple(sorted(pair[1:3])) for pair in pairs)
    assert set(met.values()) == {4}
    assert len(met) == 6
    for words, changes in (("at least two", {"methods": 1}), ("in .0, 1.", {"repeats": 2})):
        with pytest.raises(ValueError, match=words):
            plan("ada", **{"pictures": 2, "methods": 2, "seed": 0, **changes})


@pytest.mark.slow
def test_answers_are_kept_as_ratings_and_it_goes_on_after_a_stop(network, pictures, tmp_path):
    def begun():
        return Rating(network, pictures, METHODS, tmp_path / "ratings", seed=1)

    rating, pairs = begun(), begun().pairs("Ada")
    names = {"grad_cam": "grad_cam at features", "layer_cam": "layer_cam at features"}
    for number, said in enumerate(("left", "tie", "right", "neither")):
        if number == 2:
            rating = begun()  # another process
        assert rating.question("Ada").number == number
        rating.answer("Ada", number, said)
        rating.answer("Ada", number, "left")  # pressed twice
    table = check_ratings(read_ratings(tmp_path / "ratings"))
    assert table["answer"].tolist() == ["left", "tie", "right", "neither"]
    for (_, row), pair in zip(table.iterrows(), pairs, strict=False):
        assert row["picture"] == f"{pair.picture}.png"
        expected = [names.get(METHODS[side], METHODS[side]) for side in pair[1:3]]
        assert row[["left", "right"]].tolist() == expected
    with pytest.raises(ValueError, match="with other settings .seed: 1 there, 2 now"):
        Rating(network, pictures, METHODS, tmp_path / "ratings", seed=2)


def test_another_comparison_does_not_go_on_in_the_folder(network, pictures, tmp_path):
    """Whatever the maps depend on, names and settings aside."""
    copies = [tmp_path / "photos" / each.name for each in pictures]
    copies[0].parent.mkdir()
    for old, new in zip(pictures, copies, strict=True):
        new.write_bytes(old.read_bytes())

    def begun(**changes):
        changed = dataclasses.replace(network, **changes)
        return Rating(changed, tuple(copies), METHODS, tmp_path / "kept")

    begun()
    begun(labels=list(network.labels))
    for name, change in {
        "preprocess_digest": {"preprocess": "unit"},
        "labels_digest": {"labels": list("abcdefgh")},
        "output": {"output": 0},
    }.items():
        with pytest.raises(ValueError, match=rf"other settings \({name}: "):
            begun(**change)
    other = keras.models.clone_model(network.model)  # drawn anew: other weights
    with pytest.raises(ValueError, match=r"other settings \(weights_digest: "):
        begun(model=other)
    other.set_weights(network.model.get_weights())
    next(
        layer for layer in other.layers if isinstance(layer, keras.layers.ReLU)
    ).negative_slope = 0.5
    with pytest.raises(ValueError, match=r"other settings \(model_digest: "):
        begun(model=other)
    copies[1].write_bytes(pictures[2].read_bytes())  # another picture of the same name
    with pytest.raises(ValueError, match=r"other settings \(pictures_digest: "):
        begun()


def test_a_method_of_ones_own_that_was_changed_does_not_go_on(network, pictures, tmp_path):
    """Its name is the same: what its maps are made of is not."""

    def begun(times):
        def own(reading):
            return times * tf.reduce_sum(reading.activations, -1)

        own.__doc__ = "Sum up the activations.\n\nSource: nobody."
        try:
            register()(own)
            return Rating(network, pictures, ("own", "cam"), tmp_path / "kept")
        finally:
            tfcam.METHODS.pop("own", None)

    begun(1.0)
    begun(1.0)
    with pytest.raises(ValueError, match=r"other settings \(methods_digest: "):
        begun(-1.0)


def test_a_raters_name_may_have_half_a_letter(network, pictures, tmp_path):
    rating = Rating(network, pictures, METHODS, tmp_path)
    answer(rating, "left", "a\ud800", 0)
    assert set(read_ratings(tmp_path)["rater"]) == {"a?"}


def test_pictures_of_a_window(network, tmp_path):
    scene = tfcam.scenes.draw_scene(3, kinds=["star"]).image
    deep = (scene.mean(-1) * 16).astype(np.uint16)  # 12 bits in a file of 16
    Image.fromarray(deep).save(tmp_path / "deep.png")
    seen = dataclasses.replace(network, preprocess=tfcam.images.Window(0, 4095))
    rating = Rating(seen, (tmp_path / "deep.png",), METHODS[:2], tmp_path / "kept")
    wanted = tfcam.explain(network.model, tfcam.images.load_image(deep, window=(0, 4095)))
    for shown in (rating.question("Ada").left, rating.question("Ada").right):
        assert shown.score == pytest.approx(wanted.score, rel=1e-5)
        np.testing.assert_array_equal(shown.image, wanted.image)
    subject = read_picture(seen, (tmp_path / "deep.png").read_bytes(), "deep.png")
    assert answers(seen, subject)[0].target == wanted.target
    np.testing.assert_array_equal(subject.content, wanted.image)


@pytest.mark.slow
def test_what_is_shown_are_the_maps_of_the_library_and_no_method(network, pictures, tmp_path):
    rating = Rating(network, pictures, METHODS, tmp_path / "kept")
    question, pair = rating.question("Ada"), rating.pairs("Ada")[0]
    for shown, side in ((question.left, pair.left), (question.right, pair.right)):
        expected = tfcam.explain(
            *(network.model, str(pictures[pair.picture])),
            method=METHODS[side],
            labels=network.labels,
        )
        np.testing.assert_allclose(shown.raw, expected.raw, rtol=1e-4, atol=1e-5)
        assert shown.target == expected.target
    assert question.left.name in question.html
    for method in tfcam.METHODS:
        words = question.html.replace(question.left.name, "")
        assert method not in [*words.split(), *words.split('"')], method
    assert "grad" not in "".join(part for part in question.html.split('"') if len(part) < 500)


def test_the_page_asks_and_thanks(network, pictures, tmp_path):
    rating = Rating(network, pictures[:1], METHODS[:2], tmp_path / "kept", repeats=0)
    changes = ask(rating, " Ada ")
    assert (changes["rater"], changes["number"]) == ("Ada", 0)
    assert "1 of 1" in changes["question"]
    done = answer(rating, "tie", "Ada", 0)
    assert "Thank you, Ada: all 1 pairs" in done["question"]
    assert done["answers"] == {"visible": False}
    assert answer(rating, "left", "Ada", -1) == done
    assert read_ratings(tmp_path / "kept")["answer"].tolist() == ["tie"]
    for name in (" ", "a" * 61):
        with pytest.raises(ValueError, match="name of 1 to 60"):
            check_name(name)
    with pytest.raises(ValueError, match="answer must be one of"):
        rating.answer("Ada", 0, "middle")
    # Names that differ in what no file name holds are different raters.
    assert rating.file("A/da").parent == rating.file("A da").parent == tmp_path / "kept"
    assert rating.file("A/da") != rating.file("A da")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pictures": ()}, "at least one picture"),
        ({"methods": ("cam",)}, "at least two methods"),
        ({"methods": ("cam", "cam")}, "'cam' is named twice"),
        ({"most": 0}, "most must be"),
    ],
)
def test_what_can_not_be_compared_is_said(network, pictures, tmp_path, changes, words):
    asked = {"pictures": pictures, "methods": METHODS, "folder": tmp_path / "kept", **changes}
    with pytest.raises(ValueError, match=words):
        Rating(network, **asked)
    assert not (tmp_path / "kept").exists()


def ratings(answers):
    names = ["rater", "picture", "left", "right", "answer", "repeated"]
    rows = [(*row, False) for row in answers]
    return pd.DataFrame(rows, columns=names)


def test_the_page_of_ratings_says_strengths_and_agreement(tmp_path):
    answers = [("a", f"{n}", "cam", "<b>", "left" if n < 30 else "right") for n in range(40)]
    answers += [("b", f"{n}", "<b>", "cam", "right" if n < 30 else "left") for n in range(40)]
    table = ratings(answers)
    table.loc[len(table)] = ("a", "3", "<b>", "cam", "right", True)
    text = ratings_page(table)
    half = strengths(table).set_index("method").loc["cam", "strength"]
    assert half == pytest.approx(np.log(3) / 2)
    assert "<td>0.55</td>" in text
    assert "cam 0.55; &lt;b&gt; -0.55" in text
    assert "<b>" not in text
    assert sentences(table)[0].startswith("81 answers of 2 raters on 40 pictures, 1 of them to")
    assert "by 1.00 (Krippendorff" in sentences(table)[1]
    assert sentences(table)[2].startswith("a answers 100% of 1 repeated pairs as before")
    write_ratings(table, tmp_path / "one.parquet")
    result = CliRunner().invoke(app, ["ratings", str(tmp_path), "--html", str(tmp_path / "r.html")])
    assert result.exit_code == 0, result.stderr
    assert "0.55" in result.stdout
    assert (tmp_path / "r.html").read_text("utf-8") == text
    apart = ratings([("a", "1", "cam", "rise", "left")])
    assert "Collect more answers" in ratings_page(apart)
    assert "not known: no two" in sentences(apart)[1]
