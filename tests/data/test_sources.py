"""Pictures with their boxes and labels: folders, VOC, COCO, tf.data, lists; and broken ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfcam.data.annotations import AnnotationError, clip_boxes, read_coco, read_voc
from tfcam.data.example import Example, Skipped, split_by_class
from tfcam.data.sources import open_data
from tfcam.images.loading import load_image
from tfcam.model.labels import class_of, imagenet_labels
from tfcam.targets.labels import read_label

HEIGHT, WIDTH = 20, 40


def save(path, image=None, orientation=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8) if image is None else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(path, exif=exif)


def voc(path, *objects, size=(HEIGHT, WIDTH)):
    """An XML file of objects (name, xmin, ymin, xmax, ymax, difficult)."""
    parts = [
        f"<object><name>{name}</name><difficult>{hard}</difficult><bndbox><xmin>{x0}</xmin>"
        f"<ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, x0, y0, x1, y1, hard in objects
    ]
    said = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>" if size else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation>{said}{''.join(parts)}</annotation>")


def read(data, **options):
    return list(open_data(data, **options).read(0))


# VOC


@pytest.mark.parametrize(
    ("picture", "file"),
    [
        ("a.png", "a.xml"),
        ("a.png", "Annotations/a.xml"),
        ("JPEGImages/a.png", "Annotations/a.xml"),
        ("dogs/a.png", "Annotations/dogs/a.xml"),
    ],
)
def test_boxes_of_voc_are_found_where_it_keeps_them(tmp_path, picture, file):
    save(tmp_path / picture)
    voc(tmp_path / file, ("dog", 1, 1, 10, 5, 0))
    (example,) = read(tmp_path)
    assert example.boxes.tolist() == [[0, 0, 10, 5]]  # from 1, both corners inside
    assert (example.label, example.box_labels) == ("dog", ("dog",))


def test_a_folder_of_voc_can_be_named(tmp_path):
    save(tmp_path / "pictures/a.png")
    voc(tmp_path / "elsewhere/a.xml", ("dog", 3, 4, 10, 5, 0))
    (example,) = read(tmp_path / "pictures", annotations=tmp_path / "elsewhere")
    assert example.boxes.tolist() == [[2, 3, 10, 5]]
    with pytest.raises(FileNotFoundError, match="No annotations at"):
        read(tmp_path / "pictures", annotations=tmp_path / "nowhere")


def test_several_classes_become_an_example_each(tmp_path):
    save(tmp_path / "a.png")
    things = [("cat", 1, 1, 4, 4, 0), ("dog", 5, 5, 8, 8, 0), ("cat", 9, 9, 12, 12, 0)]
    voc(tmp_path / "a.xml", *things, ("cow", 1, 1, 2, 2, 1))
    (example,) = read(tmp_path)
    assert example.label is None
    assert len(example.boxes) == 3  # the cow is difficult
    cats, dogs = split_by_class(example)
    assert (cats.id, cats.label, len(cats.boxes)) == ("a.png#cat", "cat", 2)
    assert (dogs.id, dogs.label, dogs.boxes.tolist()) == ("a.png#dog", "dog", [[4, 4, 8, 8]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("said", [True, False])
def test_boxes_stay_on_the_object_when_exif_turns_the_picture(tmp_path, orientation, said):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[2:7, 5:25] = 255
    save(tmp_path / "a.png", image, orientation)
    voc(tmp_path / "a.xml", ("dog", 6, 3, 25, 7, 0), size=(HEIGHT, WIDTH) if said else None)
    (example,) = read(tmp_path)
    y, x = np.nonzero(load_image(tmp_path / "a.png")[..., 0])
    assert example.boxes.tolist() == [[x.min(), y.min(), x.max() + 1, y.max() + 1]]


def test_boxes_drawn_on_the_upright_picture_are_known_by_its_size(tmp_path):
    save(tmp_path / "a.png", orientation=6)
    voc(tmp_path / "a.xml", ("dog", 1, 1, 5, 30, 0), size=(WIDTH, HEIGHT))
    (example,) = read(tmp_path)
    assert example.image.shape == (WIDTH, HEIGHT, 3)
    assert example.boxes.tolist() == [[0, 0, 5, 30]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation>", "a.xml must be XML of Pascal VOC's form"),
        ("<annotation><object><name>x</name></object></annotation>", "must have a bndbox"),
    ],
)
def test_a_broken_annotation_leaves_its_picture_out_and_says_why(tmp_path, content, message):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    (tmp_path / "a.xml").write_text(content)
    broken, good = read(tmp_path)
    assert isinstance(broken, Skipped)
    assert message in broken.reason
    assert (good.id, good.boxes) == ("b.png", None)


def test_an_xml_bomb_is_refused(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>'
    (tmp_path / "a.xml").write_text(bomb)
    with pytest.raises(AnnotationError, match="a.xml must be XML"):
        read_voc(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("box", "size", "message"),
    [
        ((5, 5, 3, 9), (HEIGHT, WIDTH), "x0 < x1 and y0 < y1"),
        ((1, 1, 5, 5), (300, 400), "it says 400 x 300, the picture has 40 x 20"),
        ((100, 1, 120, 5), (HEIGHT, WIDTH), "a box must lie on the picture, 40 x 20"),
    ],
)
def test_boxes_that_can_not_be_true_are_refused(tmp_path, box, size, message):
    save(tmp_path / "a.png")
    voc(tmp_path / "a.xml", ("dog", *box, 0), size=size)
    (broken,) = read(tmp_path)
    assert message in broken.reason
    assert "a.xml" in broken.reason


def test_boxes_are_cut_to_the_picture():
    assert clip_boxes(np.float32([[-2, 3, 50, 9]]), (20, 40), "a").tolist() == [[0, 3, 40, 9]]


# COCO


def coco(path, **changes):
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": [
            {"image_id": 7, "bbox": [2, 3, 10, 5], "category_id": 1},
            {"image_id": 7, "bbox": [0, 0, 9, 9], "category_id": 1, "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "dog"}],
    }
    path.write_text(json.dumps(content | changes))


def test_boxes_of_coco(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    coco(tmp_path / "instances.json")
    first, second = read(tmp_path)
    assert first.boxes.tolist() == [[2, 3, 12, 8]]
    assert first.label == "dog"
    assert (second.boxes, second.label) == (None, None)


def test_what_is_no_coco_is_refused(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(AnnotationError, match="a.json must be a JSON file of COCO's form"):
        read(tmp_path)
    (tmp_path / "a.json").write_text('{"shapes": []}')
    with pytest.raises(AnnotationError, match="must have COCO's form: images with id"):
        read(tmp_path)
    coco(tmp_path / "a.json", annotations=[{"image_id": 7, "bbox": [1, 1, 0, 5]}])
    with pytest.raises(AnnotationError, match="x0 < x1"):
        read_coco(tmp_path / "a.json")
    coco(tmp_path / "a.json")
    coco(tmp_path / "b.json")
    with pytest.raises(ValueError, match="one JSON file of COCO's form; it has a.json, b.json"):
        read(tmp_path)
    (tmp_path / "a.png").rename(tmp_path / "c.png")
    with pytest.raises(ValueError, match="must name pictures of .*; it names 'a.png'"):
        read(tmp_path, annotations=tmp_path / "a.json")


# Folders


def test_folders_name_classes_and_broken_pictures_are_handed_on(tmp_path):
    save(tmp_path / "cat/a.png")
    save(tmp_path / "dog/b.png")
    (tmp_path / "dog/c.png").write_bytes(b"nothing")
    source = open_data(tmp_path)
    cat, dog, broken = source.read(0)
    assert (cat.id, cat.label, dog.label) == ("cat/a.png", "cat", "dog")
    assert broken.id == "dog/c.png"
    assert "An image file must be one of" in broken.reason
    assert source.count == 3
    assert [each.id for each in source.read(1)] == ["dog/b.png", "dog/c.png"]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold pictures; it holds none"):
        open_data(tmp_path)


# tf.data


PICTURES = np.random.default_rng(0).integers(0, 255, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_elements_of_tf_data():
    plain = tf.data.Dataset.from_tensor_slices(PICTURES)
    first, *_ = read(plain)
    assert (first.id, first.label) == ("000000", None)
    assert (first.image == PICTURES[0]).all()
    labelled = tf.data.Dataset.from_tensor_slices((PICTURES, [4, 5, 6]))
    assert [each.label for each in read(labelled)] == [4, 5, 6]
    assert [each.label for each in open_data(labelled.batch(2)).read(1)] == [5, 6]
    one_hot = tf.data.Dataset.from_tensor_slices((PICTURES, np.eye(3)))
    assert [read_label(each.label, 3) for each in read(one_hot)] == [0, 1, 2]
    assert open_data(labelled).count == 3


def test_boxes_of_tensorflow_datasets_are_normalised_with_y_first():
    boxes = np.float32([[[0.1, 0.25, 0.5, 0.75]]] * 3)
    objects = {"bbox": boxes, "label": [[2]] * 3}
    names = ["x.jpg", "y.jpg", "z.jpg"]
    data = {"image": PICTURES, "image/filename": names, "objects": objects}
    first, *_ = read(tf.data.Dataset.from_tensor_slices(data))
    assert first.boxes == pytest.approx(np.array([[10, 2, 30, 10]]))
    assert (first.id, first.box_labels) == ("x.jpg", (2,))
    with_mask = {"image": PICTURES, "mask": PICTURES[..., 0] > 100, "bbox": boxes, "label": [1] * 3}
    first, *_ = read(tf.data.Dataset.from_tensor_slices(with_mask))
    assert (first.mask == (PICTURES[0, ..., 0] > 100)).all()
    assert (len(first.boxes), first.label) == (1, 1)


def test_pictures_of_floats_are_left_out_with_the_reason():
    (broken, *_) = read(tf.data.Dataset.from_tensor_slices(PICTURES / np.float32(255)))
    assert "Pixels must be uint8" in broken.reason


def test_a_data_set_that_fails_says_where():
    def fail(image):
        with tf.control_dependencies([tf.debugging.assert_less(tf.reduce_max(image), np.uint8(0))]):
            return tf.identity(image)

    with pytest.raises(ValueError, match="it fails at number 0"):
        read(tf.data.Dataset.from_tensor_slices(PICTURES).map(fail))


def test_what_tensorflow_datasets_does_not_have_says_how_to_get_it(tmp_path):
    with pytest.raises(ValueError, match="load\\('mnist', split='test', .*download=True"):
        open_data("mnist", data_dir=tmp_path)


@pytest.mark.slow
def test_stanford_dogs(data):
    source = open_data("stanford_dogs", data_dir=data / "tensorflow_datasets")
    *_, last = source.read(236)
    assert source.count == 238
    assert source.label_names[last.label] == "n02088364-beagle"
    assert class_of(last.label, source.label_names, 1000, imagenet_labels()) == 162  # beagle
    assert (last.boxes[:, 2:] > last.boxes[:, :2]).all()
    assert (last.boxes[:, 2:] <= last.image.shape[1::-1]).all()


# Lists


def test_lists_of_pictures_paths_labels_and_examples(tmp_path):
    save(tmp_path / "a.png")
    mask = np.zeros((HEIGHT, WIDTH), bool)
    given = Example("mine", PICTURES[0], np.float32([[1, 2, 3, 4]]), 5, mask=mask)
    pictures = [tmp_path / "a.png", PICTURES[1], (PICTURES[2], "dog"), given]
    file, array, labelled, example = read(pictures)
    assert file.id == str(tmp_path / "a.png")
    assert (array.id, labelled.label) == ("000001", "dog")
    assert (example.id, example.label, example.boxes.tolist()) == ("mine", 5, [[1, 2, 3, 4]])
    assert len(read(PICTURES)) == 3
    twice = read([tmp_path / "a.png"] * 2)
    assert len({each.id for each in twice}) == 2


def test_an_example_that_contradicts_itself_is_left_out():
    (wrong,) = read([Example("a", PICTURES[0], mask=np.ones((2, 2), bool))])
    assert "its mask must have the picture's size (20, 40); got (2, 2)" in wrong.reason
    boxes = np.float32([[0, 0, 1, 1]])
    (wrong,) = read([Example("a", PICTURES[0], boxes, box_labels=("cat", "dog"))])
    assert "each box must have a label; got 2 for 1 boxes" in wrong.reason
    (nothing,) = read([Path("nowhere.png")])
    assert "there is none at" in nothing.reason


def test_other_data_are_refused():
    with pytest.raises(ValueError, match="at least one picture"):
        open_data([])
    with pytest.raises(TypeError, match="a list of pictures; got generator"):
        open_data(each for each in PICTURES)


def test_columns_of_a_table_are_lists(tmp_path):
    """As frames of paths and labels are read for Keras."""
    pd = pytest.importorskip("pandas")
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        save(path)
    table = pd.DataFrame({"path": list(map(str, paths)), "kind": ["cat", "dog", "cat"]})
    for labels in (table["kind"], pd.Categorical(table["kind"]), pd.Index(table["kind"])):
        found = read((table["path"], labels))
        assert [(each.id, each.label) for each in found] == list(table.itertuples(index=False))
    one_hot = read((PICTURES, pd.DataFrame(np.eye(len(PICTURES)))))
    assert [int(np.argmax(each.label)) for each in one_hot] == list(range(len(PICTURES)))
    assert [each.id for each in read(table["path"])] == list(table["path"])
