"""The pictures of a folder, with the annotations beside them.

A picture that can't be used is handed on as ``Skipped``, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from tfcam.data.annotations import Annotation, AnnotationError, read_coco, read_voc, turn_upright
from tfcam.data.example import Example, Skipped, Source
from tfcam.images.loading import FORMATS, ImageError, load_image, read_stored_form
from tfcam.utils.digest import digest_names

# Where Pascal VOC and COCO keep what belongs to their pictures.
_PICTURES, _ANNOTATIONS = "JPEGImages", ("Annotations", "annotations")


def open_folder(folder: Path, annotations: Path | None) -> Source:
    """Open the pictures of a folder and of those inside it, in the order of their names.

    Args:
        folder: Where they are, or the folder JPEGImages that holds them.
        annotations: A folder of XML files or a JSON file; None looks beside the pictures.

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
        try:
            return _from_file(path, name, find(path, name))
        except (ImageError, AnnotationError, OSError) as error:
            return Skipped(name, str(error))

    def read(start: int) -> Iterator[Example | Skipped]:
        return map(item, range(start, len(files)))

    key = digest_names(
        [f"{name} {path.stat().st_size}" for name, path in zip(names, files, strict=True)]
    )
    place = {
        "data": str(folder.absolute()),
        "annotations": None if annotations is None else str(annotations.absolute()),
    }
    title = f"{len(files)} pictures of {folder.name or folder}"
    return Source(title, read, len(files), key, item=item, place=place)


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


def _from_file(path: Path, name: str, annotation: Annotation | None) -> Example:
    """A picture of a folder; the folder that it is in, where there is one, names its class."""
    image = load_image(path)
    inner = Path(name).parent.name
    label = inner or None
    if annotation is None:
        return Example(name, image, label=label)
    annotation = turn_upright(annotation, *read_stored_form(path))
    if not len(annotation.boxes):
        return Example(name, image, label=label)
    kinds = set(annotation.names)
    own = next(iter(kinds)) if len(kinds) == 1 else None
    return Example(name, image, annotation.boxes, own, annotation.names)
