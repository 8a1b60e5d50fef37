"""Boxes that belong to pictures: Pascal VOC's XML, COCO's JSON, and what EXIF turns."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import defusedxml.ElementTree as ElementTree
import numpy as np

from tfcam.utils.files import check_is_file


class AnnotationError(ValueError):
    """An annotation can not be used; the message names the file and says why."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """What is marked on one picture.

    Attributes:
        boxes: (n, 4) float32, half-open [x0, y0, x1, y1) in pixels.
        names: The class of each box.
        size: (height, width) of the picture that the boxes were drawn on, where that is said.
        path: The file that says so.
    """

    boxes: np.ndarray
    names: tuple[str, ...]
    size: tuple[int, int] | None
    path: str


def read_voc(path: Path) -> Annotation:
    """Read one picture's boxes from an XML file as Pascal VOC and ImageNet have it.

    VOC counts pixels from 1 and includes both corners: xmin = 1, xmax = 10 is [0, 10). Objects
    marked as difficult are left out, as in VOC's own evaluation.

    Args:
        path: The XML file.

    Raises:
        AnnotationError: If it is no such XML, or a box is empty or not finite.
    """
    try:
        check_is_file(path)
        root: Any = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, OSError) as error:  # ValueError: forbidden XML
        raise AnnotationError(f"{path} must be XML of Pascal VOC's form: {error}.") from None
    boxes, names = [], []
    for thing in root.iter("object"):
        if (thing.findtext("difficult") or "0").strip() == "1":
            continue
        corners = [thing.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
        try:
            x0, y0, x1, y1 = (float(corner or "") for corner in corners)
        except ValueError:
            raise AnnotationError(
                f"{path}: each object must have a bndbox of xmin, ymin, xmax, ymax; got {corners}."
            ) from None
        boxes.append([max(x0 - 1, 0), max(y0 - 1, 0), x1, y1])
        names.append((thing.findtext("name") or "").strip())
    sides = [root.findtext(f"size/{side}") or "" for side in ("height", "width")]
    known = all(side.strip().isdecimal() and int(side) > 0 for side in sides)
    size = (int(sides[0]), int(sides[1])) if known else None
    return Annotation(check_boxes(boxes, str(path)), tuple(names), size, str(path))


def read_coco(path: Path) -> dict[str, Annotation]:
    """Read the boxes of all pictures from a JSON file as COCO has it; crowds are left out.

    Args:
        path: The JSON file.

    Returns:
        The annotation of each picture by its file name.

    Raises:
        AnnotationError: If it is no such JSON, or a box is empty or not finite.
    """
    try:
        check_is_file(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotationError(f"{path} must be a JSON file of COCO's form: {error}.") from None
    try:
        names = {kind["id"]: str(kind["name"]) for kind in content.get("categories", ())}
        marked: dict[Any, list[Any]] = defaultdict(list)
        for thing in content["annotations"]:
            if not thing.get("iscrowd"):
                x, y, width, height = thing["bbox"]
                label = thing.get("category_id")
                marked[thing["image_id"]].append(
                    ([x, y, x + width, y + height], names.get(label, str(label)))
                )
        return {
            picture["file_name"]: Annotation(
                check_boxes([box for box, _ in marked[picture["id"]]], str(path)),
                tuple(name for _, name in marked[picture["id"]]),
                _size(picture),
                str(path),
            )
            for picture in content["images"]
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(
            f"{path} must have COCO's form: images with id and file_name, annotations with "
            f"image_id and bbox [x, y, width, height]; {type(error).__name__}: {error}."
        ) from None


def _size(picture: Any) -> tuple[int, int] | None:
    height, width = picture.get("height"), picture.get("width")
    return (int(height), int(width)) if height and width else None


def check_boxes(boxes: Any, where: str) -> np.ndarray:
    """Check boxes, (n, 4) float32: each must have an area.

    Args:
        boxes: n of [x0, y0, x1, y1).
        where: Whose they are, for the message.

    Raises:
        AnnotationError: If one is empty or not finite.

    Example:
        >>> check_boxes([[0, 0, 2, 1]], "a.xml")
        array([[0., 0., 2., 1.]], dtype=float32)
    """
    try:
        array = np.asarray(boxes, np.float32)
    except (TypeError, ValueError):
        raise AnnotationError(f"{where}: a box must be four numbers; got {boxes!r}.") from None
    array = array.reshape(-1, 4) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != 4:
        raise AnnotationError(f"{where}: boxes must be (n, 4); got {array.shape}.")
    good = np.isfinite(array).all(axis=1) & (array[:, 2:] > array[:, :2]).all(axis=1)
    if not good.all():
        raise AnnotationError(
            f"{where}: a box must be finite, with x0 < x1 and y0 < y1; got {array[~good][0]}."
        )
    return array


def turn_upright(annotation: Annotation, stored: tuple[int, int], orientation: int) -> Annotation:
    """Turn an annotation as EXIF turns its picture: to the picture as it is seen.

    Boxes refer to the picture as it is stored, as in VOC and COCO, unless the size that the
    annotation states is that of the picture as it is seen alone.

    Args:
        annotation: As read from its file.
        stored: (height, width) of the picture in its file.
        orientation: Its EXIF orientation, 1 (as it is seen) to 8.

    Raises:
        AnnotationError: If the annotation states another size, or a box lies outside.

    Example:
        >>> drawn = Annotation(np.float32([[0, 0, 2, 1]]), ("dog",), (10, 20), "a.xml")
        >>> turn_upright(drawn, (10, 20), 6).boxes  # a quarter to the right: 20 high, 10 wide
        array([[ 9.,  0., 10.,  2.]], dtype=float32)
    """
    turned = orientation >= 5
    seen = stored[::-1] if turned else stored
    if annotation.size not in (None, stored, seen):
        raise AnnotationError(
            f"{annotation.path} must be of the picture's size; it says {_sides(annotation.size)}, "
            f"the picture has {_sides(stored)}."
        )
    boxes = annotation.boxes
    if annotation.size in (None, stored):
        x0, y0, x1, y1 = boxes[:, [1, 0, 3, 2]].T if turned else boxes.T
        height, width = seen
        if orientation in (2, 3, 6, 7):
            x0, x1 = width - x1, width - x0
        if orientation in (3, 4, 7, 8):
            y0, y1 = height - y1, height - y0
        boxes = np.stack([x0, y0, x1, y1], axis=-1).astype(np.float32)
    return replace(annotation, boxes=clip_boxes(boxes, seen, annotation.path), size=seen)


def clip_boxes(boxes: np.ndarray, size: tuple[int, int], where: str) -> np.ndarray:
    """Clip boxes to the picture.

    Args:
        boxes: (n, 4) [x0, y0, x1, y1).
        size: (height, width) of the picture.
        where: Whose they are, for the message.

    Raises:
        AnnotationError: If one lies wholly outside.
    """
    height, width = size
    cut = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    outside = (cut[:, 2:] <= cut[:, :2]).any(axis=1)
    if outside.any():
        raise AnnotationError(
            f"{where}: a box must lie on the picture, {_sides(size)}; got {boxes[outside][0]}."
        )
    return cut


def _sides(size: tuple[int, int] | None) -> str:
    return "any size" if size is None else f"{size[1]} x {size[0]}"
