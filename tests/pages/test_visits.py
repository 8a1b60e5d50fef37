"""What each press does, without a browser: whose session changes, and what is told."""

import keras
import numpy as np
import pytest
from PIL import Image

import tfcam
from tests.networks import seeded
from tfcam.cli.pages import open_network
from tfcam.pages.networks import OWN_WAY, Network, embedded, offered
from tfcam.pages.visits import Session, Visits, parts_of, telling

STYLE = ("colours", 0.6)


@pytest.fixture(scope="module")
def visits():
    network = embedded()
    return Visits({"shapes": network, "halved": Network("halved", network.model, preprocess=half)})


def half(images):
    return images / 2


@pytest.fixture
def star(tmp_path):
    file = tmp_path / "star.png"
    Image.fromarray(tfcam.scenes.draw_scene(1, kinds=["star"]).image).save(file)
    return str(file)


@pytest.mark.slow
def test_an_upload_is_explained_and_slid_and_restyled(visits, star):
    begun = visits.upload("shapes", "auto", star, *STYLE)
    session = begun["session"]
    assert session.answers[0].words.startswith("star, 9")
    assert begun["classes"]["value"] == [0]
    assert begun["message"] == '<div role="status">1 map made.</div>'
    assert begun["layer"] == 20
    asked = ("shapes", "auto", [0, 1])
    same = visits.slide(session, *asked, 20, ["grad_cam"], *STYLE)
    assert set(same) == {"layer_name"}
    slid = visits.slide(session, *asked, 14, ["grad_cam"], *STYLE)
    assert {one.layer for one in slid["session"].look.comparison} == {"block3_relu"}
    both = visits.explain(session, *asked, 20, ["grad_cam"], *STYLE)
    (_, second), choices = session.answers[:2], both["which"]["choices"]
    assert [number for _, number in choices] == [0, 1]
    name = second.words.split(",")[0]
    assert choices[1][0].startswith(name)
    verified = visits.verify(both["session"], 1)["verified"]
    assert f"be trusted: {name}" in verified
    # The session that was handed in is as it was.
    assert session.look.comparison[0, 0].layer == "features"
    drawn = visits.restyle(slid["session"], "contours", 0.6)
    assert drawn["maps"] != slid["maps"]
    assert "contours=True" in drawn["lines"]


def test_what_is_not_there_yet_is_asked_for(visits):
    empty = Session()
    assert visits.restyle(empty, *STYLE) == visits.prepare(empty, "shapes", "auto", *STYLE) == {}
    assert visits.upload("shapes", "auto", None, *STYLE) == {}
    for call, words in (
        (
            lambda: visits.explain(empty, "shapes", "auto", [0], 0, ["cam"], *STYLE),
            "Drop a picture",
        ),
        (lambda: visits.verify(empty, 0), "explain first"),
        (lambda: visits.download("PNG", empty, *STYLE), "explain first"),
    ):
        assert words in telling(call)()["message"]
        assert 'role="alert"' in telling(call)()["message"]
    session = visits.draw_example(empty, "shapes", "auto", *STYLE)["session"]
    assert session.subject.name == "scene_1.png"
    assert visits.draw_example(session, "shapes", "auto", *STYLE)["session"].subject.name == (
        "scene_2.png"
    )
    for classes, methods, words in (([], ["cam"], "a class"), ([0], [], "a method")):
        with pytest.raises(ValueError, match=f"Choose {words} first"):
            visits.explain(session, "shapes", "auto", classes, 20, methods, *STYLE)


def test_pictures_are_prepared_as_it_is_said(visits, star):
    scene = np.asarray(Image.open(star), np.float32)[np.newaxis]
    model = visits.networks["shapes"].model
    for name, way, inputs in (
        ("shapes", "auto", scene),
        ("shapes", "unit", scene / 255),
        ("halved", OWN_WAY, scene / 2),
        ("halved", "auto", scene),
    ):
        session = visits.upload(name, way, star, *STYLE)["session"]
        best = model.predict(inputs, verbose=0)[0].max()
        assert session.answers[0].words.endswith(f"{best:.1%}"), (name, way)
    assert (
        "preprocess=&#x27;unit&#x27;" in visits.prepare(session, "shapes", "unit", *STYLE)["lines"]
    )
    assert "preprocess=..." in visits.prepare(session, "halved", OWN_WAY, *STYLE)["lines"]


def test_another_network_begins_anew(visits):
    changes = visits.switch("halved")
    assert changes["session"].subject is None
    assert changes["way"]["choices"][:2] == [OWN_WAY, "auto"]
    assert changes["maps"] == ""
    assert changes["layer"]["value"] == 20
    assert not parts_of(visits.networks["halved"])["text"]["visible"]


@pytest.mark.slow
def test_the_line_of_each_kind_of_network_makes_it(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    tfcam.demo_model().save("mine.keras")
    (tmp_path / "kinds.txt").write_text("\n".join(f"kind {n}" for n in range(8)))
    for name, labels in (("shapes", None), ("mine.keras", None), ("MobileNet_V2", None)):
        network = open_network(name, labels, "auto", None, False, None)
        names = {}
        exec(f"import keras, tfcam\n{network.lines}", names)
        assert names["model"].count_params() == network.model.count_params()
    named = open_network("shapes", tmp_path / "kinds.txt", "raw", None, False, None)
    assert named.told_code == [f"labels={str(tmp_path / 'kinds.txt')!r}", "preprocess='raw'"]
    assert named.labels[7] == "kind 7"


def test_a_number_and_one_of_several_outputs_are_explained(star):
    inputs = keras.Input((128, 128, 3))
    x = keras.layers.Conv2D(4, 9, strides=4, activation="relu")(
        keras.layers.Rescaling(1 / 255)(inputs)
    )
    x = keras.layers.GlobalAveragePooling2D()(x)
    age = keras.layers.Dense(1, name="age")(x)
    kind = keras.layers.Dense(3, activation="softmax", name="kind")(x)
    two = seeded(keras.Model(inputs, [age, kind]))
    visits = Visits({one.name: one for one in (*offered({"kind": two}, output="kind"),)})
    session = visits.upload("kind", "auto", star, *STYLE)["session"]
    picture = np.asarray(Image.open(star), np.float32)[np.newaxis]
    _, expected = two.predict(picture, verbose=0)
    assert session.answers[0].target == expected.argmax()
    assert session.answers[0].words.endswith(f"{expected.max():.1%}")
    number = Visits({"age": offered({"age": keras.Model(inputs, age)})[0]})
    changes = number.upload("age", "auto", star, *STYLE)
    (answer,) = changes["session"].answers
    assert answer.target is None
    value = keras.Model(inputs, age).predict(picture, verbose=0).item()
    assert answer.words.endswith(f"score {value:.3g}")
    assert "targets=" not in changes["lines"]
    with pytest.raises(ValueError, match="'both' has 2 outputs: choose one with output="):
        offered({"both": two})
    with pytest.raises(ValueError, match="classes or one number; 'masks' returns .*Segmentation"):
        offered({"masks": keras.Sequential([inputs, keras.layers.Conv2D(2, 3)])})
