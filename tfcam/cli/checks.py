"""What can be refused before TensorFlow is loaded, which takes long: mistaken names and files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfcam.cli.names import (
    method_options,
    metric_facts,
    network_names,
    preset_names,
    recipe_options,
)
from tfcam.cli.terminal import silence
from tfcam.engine.option import Option
from tfcam.engine.trust_options import check_verified
from tfcam.images.array_files import is_array_file, read_array
from tfcam.utils.files import check_no_input
from tfcam.utils.foreign_models import hint_for, is_sealed
from tfcam.utils.suggestions import did_you_mean, find_similar
from tfcam.utils.validation import check_choice


def check_typed(typed: Mapping[str, Any], options: Iterable[Option]) -> None:
    """Check what is typed, as far as it can be without a model.

    Args:
        typed: The options of a command by their names, as the library takes them.
        options: Those that the library declares.

    Raises:
        ValueError: If there is no such name.
        FileNotFoundError: If there is no such file.
    """
    for option in options:
        option.check(typed[option.name])
    check_verified(bool(typed.get("verify")), typed.get("tile"))
    for name, check in _CHECKS.items():
        value = typed.get(name)
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                check(item, typed.get("window")) if name == "image" else check(item)
    if isinstance(typed.get("data"), str):
        check_data(typed["data"], typed.get("data_dir"))


def check_network(name: str) -> None:
    """Check that a model is a file, or a network that can be built.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is no such network.
    """
    if name.endswith((".keras", ".h5", ".hdf5")):
        if not Path(name).is_file():
            raise FileNotFoundError(f"No model file {name!r}.{beside(name)}")
        if not name.endswith(".weights.h5"):
            return
    if is_sealed(name):
        return
    known = network_names()
    if name == "shapes" or _plain(name) in map(_plain, known):
        return
    hint = hint_for(name)
    if hint or Path(name).exists():
        what = hint or "Save it as model.save('model.keras') and give that file."
        raise ValueError(f"{name!r} is no file of a whole Keras model. {what}")
    if not known:
        return
    if _plain(name) not in map(_plain, known):
        near = find_similar(name, known)
        raise ValueError(
            f"No network {name!r} in keras.applications; it has "
            f"{', '.join(near or known)}{' and others' if near else ''}."
        )


def check_image(source: str, window: tuple[float, float] | None = None) -> None:
    """Check that a file is a picture; what is behind a URL is seen when it is read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no picture.
    """
    from tfcam.images.loading import is_url, load_image

    if is_array_file(source) and Path(source).exists():
        read_array(source)
    elif not is_url(source):
        try:
            with silence():  # libtiff complains there of what is then refused
                load_image(source, window=window)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}{beside(source)}") from None


def check_data(name: str, data_dir: str | os.PathLike[str] | None = None) -> None:
    """Check that data are a folder, or may be a data set of tensorflow_datasets.

    Raises:
        ValueError: If they are neither.
    """
    places = [data_dir, os.environ.get("TFDS_DATA_DIR"), Path.home() / "tensorflow_datasets"]
    folders = [str(place) for place in places if place is not None]
    if Path(name).exists() or any("://" in place for place in (name, *folders)):
        return
    if not any(Path(folder, name.split("/")[0]).is_dir() for folder in folders):
        raise ValueError(
            f"data={name!r} must be a folder, or a data set of tensorflow_datasets on this "
            f"machine; there is neither.{beside(name)}"
        )


def check_new(
    files: Sequence[Path | None], overwrite: bool, read: Iterable[str | Path | None] = ()
) -> None:
    """Refuse to write over files, and over what is read whatever is said.

    Args:
        files: What is written.
        overwrite: Whether files may be written over.
        read: What is read: files, the pictures and annotations of folders, names of other things.

    Raises:
        ValueError: If one of them is read, or two are the same.
        FileExistsError: If one is there already.
    """
    places = [file.resolve() for file in files if file is not None]
    if double := next((place for place in places if places.count(place) > 1), None):
        raise ValueError(f"Each file must be another one; {str(double)!r} is named twice.")
    there = [str(file) for file in files if file is not None and file.is_file()]
    named = [Path(one) for one in read if one is not None] if there else []
    inputs = [file for one in named for file in _read_in(one)]
    for name in there:
        check_no_input(Path(name), inputs)
    if there and not overwrite:
        others = f" and {len(there) - 1} more are" if len(there) > 1 else " is"
        raise FileExistsError(
            f"{there[0]!r}{others} there already: write over with --overwrite, or give another "
            "place."
        )


def _read_in(path: Path) -> list[Path]:
    """List what is read of a folder; a file as it is."""
    if not path.is_dir():
        return [path]
    return [file for file in path.rglob("*") if file.suffix.lower() not in (".html", ".parquet")]


def check_method_options(method: str, changes: Iterable[str], others: Iterable[str]) -> None:
    """Check the names of a method's options.

    Args:
        method: The method.
        changes: The names.
        others: Those that a mistaken one may be meant for besides.

    Raises:
        ValueError: If it has no such option.
    """
    _check_options(f"The method {method!r}", method_options()[method], changes, others)


def check_recipe(preset: str, changes: Iterable[str], others: Iterable[str]) -> None:
    """Check the names of a preset of ``dream`` and of what is changed in it.

    Args:
        preset: The preset.
        changes: The names of what is changed.
        others: Those that a mistaken one may be meant for besides.

    Raises:
        ValueError: If there is no such preset, or it has no such option.
    """
    check_choice("preset", preset, preset_names())
    _check_options("dream", recipe_options(), changes, others)


def _check_options(
    owner: str, known: Sequence[str], names: Iterable[str], others: Iterable[str]
) -> None:
    for name in names:
        if name not in known:
            raise ValueError(
                f"{owner} has no option {name!r}; it has {', '.join(known) or 'none'}."
                f"{did_you_mean(name, [*known, *others])}"
            )


def _check_method(name: str) -> None:
    known = method_options()
    if name not in known:
        raise ValueError(
            f"method must be one of {', '.join(known)}; got {name!r}.{did_you_mean(name, known)}"
        )


def _check_metric(name: str) -> None:
    known = list(metric_facts())
    if name not in known:
        raise ValueError(
            f"metrics must be of {', '.join(known)}; got {name!r}.{did_you_mean(name, known)}"
        )


def _check_folder(path: str | os.PathLike[str]) -> None:
    if Path(path).is_file():
        raise ValueError(f"to must be a folder; {str(path)!r} is a file.")


def _check_parent(path: Path) -> None:
    if path.suffix and not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"The folder of {str(path)!r} does not exist; make it first.")


def _check_file(path: str | os.PathLike[str]) -> None:
    if not Path(path).exists() and "://" not in str(path):
        raise FileNotFoundError(f"There is no file or folder {str(path)!r}.{beside(str(path))}")


def beside(name: str) -> str:
    """Suggest what lies where a mistaken path leads: a sentence, or "" where nothing is like it."""
    folder = Path(name).parent
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return did_you_mean(Path(name).name, names)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_CHECKS: dict[str, Callable[..., None]] = {
    "model": check_network,
    "image": check_image,
    "method": _check_method,
    "methods": _check_method,
    "metrics": _check_metric,
    "annotations": _check_file,
    "data_dir": _check_file,
    "to": _check_folder,
    "imports": _check_file,
    "file": _check_parent,
}
