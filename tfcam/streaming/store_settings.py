"""The settings that a store is read by, which somebody else may have written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from tfcam.data.example import OF_VOLUMES
from tfcam.images.window import check_window
from tfcam.maps.scaling import Shown
from tfcam.utils.validation import shown

# What a store is read by, and of which kinds it is.
_SETTINGS: dict[str, tuple[type, ...]] = {
    "shard_size": (int,),
    "layer": (str, type(None)),
    "method": (str,),
    "shown": (str,),
    "data": (str,),
    "place": (dict, type(None)),
    "pictures_digest": (str,),
}
_PLACE = ("data", "split", "data_dir", "annotations")


def check_settings(settings: dict[str, Any], file: Path) -> dict[str, Any]:
    """Check the settings of a store.

    Raises:
        ImageError: If its window is none.
        ValueError: If one is missing, or of another kind.
    """
    for name, kinds in _SETTINGS.items():
        value = settings.get(name, ...)
        odd = type(value) not in kinds or (name == "shard_size" and value < 1)
        if odd or (name == "shown" and value not in get_args(Shown)):
            raise ValueError(
                f"{str(file)!r} is no settings of a store that this version of tfcam reads: "
                f"{name} is {'missing' if value is ... else shown(value)}."
            )
    for name, value in (settings["place"] or {}).items():
        if name not in _PLACE or not isinstance(value, str | None):
            raise ValueError(f"{str(file)!r} names no place of pictures: {name} is {shown(value)}.")
    if settings.get("unit") in OF_VOLUMES and not _is_form(settings.get("volume")):
        raise ValueError(
            f"{str(file)!r} does not say which videos or volumes it is of: volume is "
            f"{shown(settings.get('volume'))}."
        )
    if settings.get("picture_window") is not None:
        check_window(settings["picture_window"])
    return settings


def _is_form(told: Any) -> bool:
    """Whether something is the form of volumes, as ``VolumeForm.described`` tells it."""
    if not isinstance(told, dict) or set(told) != {"shapes", "channels_first"}:
        return False
    shapes = told["shapes"]
    if not isinstance(shapes, list) or not shapes or not isinstance(told["channels_first"], bool):
        return False
    sizes = [shape for shape in shapes if isinstance(shape, list) and len(shape) in (3, 4)]
    whole = all(type(size) in (int, type(None)) for shape in sizes for size in shape)
    return whole and len(sizes) == len(shapes)
