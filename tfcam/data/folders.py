"""The pictures of a folder, with the annotations beside them.

A picture that can't be used is handed on as ``Skipped``, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from tfcam.data.annotations import Annotation, AnnotationError, read_coco, read_voc, turn_upright
from tfcam.data.example import Example, Mark, Skipped, Source
from tfcam.images.kinds import ImageError
from tfcam.images.loading import FORMATS, load_image, read_stored_form
from tfcam.images.window import Limits
from tfcam.utils.digest import digest_file, digest_names
from tfcam.utils.digest_value import digest_value
from tfcam.utils.files import as_text

# Where Pascal VOC and COCO keep what belongs to their pictures.
_PICTURES, _ANNOTATIONS = "JPEGImages", ("Annotations", "annotations")

# Why a picture is left out.
NO_TEXT = "The name of its file is no UTF-8: give the file another."


def open_folder(folder: Path, annotations: Path | None, window: Limits = None) -> Source:
    """Open the pictures of a folder and of those inside it, in the order of their names.

    Args:
        folder: Where they are, or the folder JPEGImages that holds them.
        annotations: A folder of XML files or a JSON file; None looks beside the pictures.
        window: The values that become black and white, as ``load_image`` takes them.

    Raises:
        ValueError: If there are no pictures, or annotations are not of these.
        FileNotFoundError: If there are no such annotations.
    """
    Image.init()
    endings = {e for e, kind in Image.registered_extensions().items() if kind in FORMATS}
    home = folder / _PICTURES if (folder / _PICTURES).is_dir() else folder
    files = sorted(file for file in home.rglob("*") if file.suffix.lower() in endings)
    if not files:
        raise ValueError(f"The folder {str(folder)!r} must hold pictures; it holds none.")
    names = [file.relative_to(home).as_posix() for file in files]
    find = _finder(folder, home, annotations, names)

    def item(number: int) -> Example | Skipped:
        path, name = files[number], names[number]
        if name != as_text(name):
            return Skipped(as_text(name), NO_TEXT)
        try:
            return _from_file(path, name, find(path, name), window)
        except (ImageError, AnnotationError, OSError) as error:
            return Skipped(name, str(error))

    def read(start: int) -> Iterator[Example | Skipped]:
        return map(item, range(start, len(files)))

    def mark(number: int) -> Mark:
        path, name = files[number], names[number]
        try:
            annotation = find(path, name)
            label = _label(name, annotation)
            truth = digest_value(
                annotation and (annotation.boxes, annotation.names, annotation.size)
            )
        except AnnotationError as error:
            label, truth = None, digest_names([str(error)])
        try:
            return Mark(digest_file(path), label, truth)
        except OSError:
            return Mark("", label, truth)

    key = digest_names([f"{name} {_size(path)}" for name, path in zip(names, files, strict=True)])
    place = {
        "data": str(folder.absolute()),
        "annotations": None if annotations is None else str(annotations.absolute()),
    }
    title = f"{len(files)} pictures of {folder.name or folder}"
    return Source(title, read, len(files), key, item=item, place=place, mark=mark)


def _size(path: Path) -> int | None:
    """The size of a file in bytes; None of a link that leads nowhere."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def _finder(
    folder: Path, home: Path, annotations: Path | None, names: Sequence[str]
) -> Callable[[Path, str], Annotation | None]:
    """What gives a picture's annotation: None where it has none."""
    if annotations is not None and not annotations.exists():
        raise FileNotFoundError(f"No annotations at {str(annotations)!r}.")
    listed = [annotations] if annotations is not None else sorted(folder.glob("*.json"))
    if len(listed) > 1:
        raise ValueError(
            f"The folder {str(folder)!r} must have one JSON file of COCO's form; it has "
            f"{', '.join(file.name for file in listed)}. Name one: annotations=..."
        )
    if listed and listed[0].is_file():
        known = read_coco(listed[0])
        if not set(known) & set(names):
            raise ValueError(
                f"{listed[0]} must name pictures of {str(home)!r}; it names "
                f"{next(iter(known), 'none')!r}, there is {names[0]!r}."
            )
        return lambda path, name: known.get(name)
    roots = [parent / name for parent in (folder, home.parent) for name in _ANNOTATIONS]
    roots = listed or [root for root in roots if root.is_dir()]

    def find(path: Path, name: str) -> Annotation | None:
        inner = Path(name).with_suffix(".xml")
        places = [path.with_suffix(".xml")]
        places += [root / part for root in roots for part in (inner, inner.name)]
        file = next((place for place in places if place.is_file()), None)
        return None if file is None else read_voc(file)

    return find


def _from_file(path: Path, name: str, annotation: Annotation | None, window: Limits) -> Example:
    """Read a picture of a folder."""
    image, label = load_image(path, window=window), _label(name, annotation)
    if annotation is None:
        return Example(name, image, label=label)
    annotation = turn_upright(annotation, *read_stored_form(path))
    if not len(annotation.boxes):
        return Example(name, image, label=label)
    return Example(name, image, annotation.boxes, label, annotation.names)


def _label(name: str, annotation: Annotation | None) -> str | None:
    """The class of a picture: that of all its boxes, or else the folder that it is in."""
    if annotation is None or not len(annotation.boxes):
        return Path(name).parent.name or None
    kinds = set(annotation.names)
    return next(iter(kinds)) if len(kinds) == 1 else None
