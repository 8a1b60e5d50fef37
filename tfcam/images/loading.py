"""One picture, however it comes, as RGB pixels: path, URL, bytes, file object, PIL or array."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from tfcam.images.kinds import ImageError
from tfcam.images.window import Limits, check_window, windowed
from tfcam.utils.opencv import cv2

# Pillow opens more, but some of those start other programs (EPS runs Ghostscript) and some hold
# a larger picture than their header says (ICO). HEIF is there for who registered pillow-heif.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


# One letter before the colon is a Windows drive, and a POSIX file may be called "a:b.jpg".
_URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:|file:", re.IGNORECASE)


_quiet_lock = threading.Lock()


_quiet: list[warnings.catch_warnings] = []  # one for each thread that decodes


# What Pillow logs of damaged files would be printed where nobody has set logging up.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def load_image(
    source: Any,
    *,
    window: Limits = None,
    timeout: float = 10.0,
    max_seconds: float = 60.0,
    max_bytes: int = 50 * 2**20,
    max_pixels: int = 100_000_000,
) -> np.ndarray:
    """Read one picture from wherever it is, as fresh RGB pixels.

    The EXIF orientation is honoured, transparency is laid on white, 16-bit grey is scaled to
    8 bits, of an animation the first frame is taken (of a PIL image the current one). Colour
    profiles are not applied.

    A URL may be that of a private address, such as http://localhost, where it is given so; what a
    public server redirects to must be public.

    Args:
        source: A path, an http(s) URL, the bytes of an image file, a binary file object (read
            from where it stands), a PIL image, or an array or tensor of integers 0..255 of shape
            (H, W), (H, W, C) or (1, H, W, C) with C = 1 (grey), 3 (RGB) or 4 (RGB and alpha).
        window: The values that become black and white, (low, high), in the units of the file or
            array; what lies outside is cut off. With it integers and floats of any range are
            taken, such as 12 bits in a file of 16, (0, 4095), or Hounsfield units, (-160, 240).
        timeout: Seconds a server may take to connect, and seconds it may stay silent.
        max_seconds: Seconds a whole download may take.
        max_bytes: Most bytes a URL may deliver.
        max_pixels: Most pixels (H x W) of an encoded or PIL image, checked before decoding.

    Returns:
        (H, W, 3) uint8, C-contiguous; it shares no memory with `source`.

    Raises:
        FileNotFoundError: There is no file at the path.
        ImageError: (a ValueError) It cannot be fetched, is no image, is damaged or too large, or
            the array has a wrong shape, dtype or range, or the window is none.

    >>> load_image(np.array([[0, 255]], np.uint8)).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    >>> load_image(np.array([[-900, 40, 3000]], np.int16), window=(-160, 240))[0, :, 0].tolist()
    [0, 128, 255]
    """
    if window is not None:
        check_window(window)
    if isinstance(source, Image.Image):
        with _pillow("the PIL image"):
            return _from_pillow(source, max_pixels, window)
    if isinstance(source, str) and is_url(source):
        data = _download(source, timeout, max_seconds, max_bytes)
        return _decode(io.BytesIO(data), _short(source), max_pixels, window)
    if isinstance(source, (str, os.PathLike)):
        with _open(source) as file:
            return _decode(file, _short(source), max_pixels, window)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(bytes(source)), "the bytes given", max_pixels, window)
    if hasattr(source, "__array__"):
        return _from_array(source, window)
    if hasattr(source, "read"):
        return _decode(io.BytesIO(_read(source)), "the file object", max_pixels, window)
    holds = getattr(source, "image", None) is not None
    raise ImageError(
        "An image must be a path, an http(s) URL, bytes, a binary file object, a PIL image or an "
        f"array; got {type(source).__name__}. "
        + ("It holds one: pass its .image." if holds else "Give several images one by one.")
    )


def is_url(source: str) -> bool:
    """Tell whether a text is a URL, of whatever kind, and no path."""
    return bool(_URL.match(source))


def read_stored_form(path: str | os.PathLike) -> tuple[tuple[int, int], int]:
    """Tell how a picture lies in its file: what is drawn on it may refer to that.

    Args:
        path: A file that `load_image` reads.

    Returns:
        (height, width) in pixels as stored, and its EXIF orientation, 1 (upright) to 8.
    """
    with _open(path) as file, _pillow(_short(path)), Image.open(file) as image:
        orientation = _orientation(image)
        size = (image.height, image.width)
    return size, orientation if orientation in range(1, 9) else 1


def is_prepared(source: Any) -> bool:
    """Tell whether `source` is an array or tensor of floats, taken as ready model input.

    Args:
        source: Anything.

    Returns:
        True for float dtypes of NumPy, TensorFlow and Keras, bfloat16 among them.

    >>> is_prepared(np.zeros((2, 2, 3), np.float32)), is_prepared(np.zeros((2, 2, 3), np.uint8))
    (True, False)
    """
    dtype = getattr(source, "dtype", None)  # by name: bfloat16 is no np.floating, Keras has strings
    return "float" in str(getattr(dtype, "name", dtype))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Stretch an image to a size, bilinear and not smoothed, as ImageNet networks were trained.

    Smoothing would be a different picture to them: of 204 ImageNet photos MobileNetV2 knew 0.86
    this way, 0.84 smoothed. What is more than twice too large is first averaged down to that, as
    a bilinear sample of a large photo would miss most of it.

    Args:
        image: (H, W, C) uint8, any C.
        size: Height and width wanted, in pixels.

    Returns:
        (h, w, C) uint8, never the array given; an exact copy if the size is that already.

    Raises:
        ImageError: The image is not such an array, or the size not two positive integers.

    >>> resize_image(np.array([[[0], [100]]], np.uint8), (1, 1)).tolist()
    [[[50]]]
    """
    _check_pixels(image)
    if len(size) != 2 or not all(isinstance(n, Integral) and n > 0 for n in size):
        raise ImageError(f"The size must be (height, width), two positive integers; got {size!r}.")
    if tuple(size) == image.shape[:2]:
        return image.copy(order="C")
    (height, width), (h, w) = image.shape[:2], map(int, size)
    if (factor := min(height // (2 * h), width // (2 * w))) > 1:
        reduced = (width // factor, height // factor)
        image = cv2.resize(image, reduced, interpolation=cv2.INTER_AREA)
    resized = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    return resized.reshape(h, w, -1)  # OpenCV drops a single channel


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Give an image the number of channels a model asks for.

    Grey is the luma of ITU-R 601, 0.299 R + 0.587 G + 0.114 B, as in Pillow and Keras.

    Args:
        image: (H, W, 3) uint8 RGB.
        channels: 3 or 1.

    Returns:
        `image` itself for 3, (H, W, 1) uint8 for 1.

    Raises:
        ImageError: The image is no RGB, or another number of channels is asked for.

    >>> to_channels(np.array([[[255, 0, 0]]], np.uint8), 1).tolist()
    [[[76]]]
    """
    _check_pixels(image)
    if image.shape[2] != 3 or channels not in (1, 3):
        raise ImageError(
            f"RGB can stay 3 channels or become 1 (grey); got {image.shape[2]} to become "
            f"{channels}. Give the model its input as an array of floats instead."
        )
    return image if channels == 3 else np.array(Image.fromarray(image).convert("L"))[..., None]


def as_numpy(source: Any) -> np.ndarray:
    """Convert an array or tensor to NumPy.

    Raises:
        ImageError: It has no values, as a symbolic tensor, or is ragged or sparse.

    >>> as_numpy([[1, 2]]).shape
    (1, 2)
    """
    try:
        array = np.asarray(source)
    except Exception as error:  # each kind of tensor has its own
        raise ImageError(f"An image must have values; NumPy gets none: {error}") from None
    if array.dtype == object and is_prepared(source):  # ragged or sparse
        raise ImageError(f"An image must be a dense array; got a {type(source).__name__}.")
    return array


def _check_pixels(image: Any) -> None:
    form = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}"
    if not re.fullmatch(r"uint8 \([1-9]\d*, [1-9]\d*, [1-9]\d*\)", form):
        raise ImageError(f"Pixels must be uint8 (H, W, C); got {form}. Use load_image first.")


def _short(source: Any) -> str:
    # A picture pasted as text must not fill the screen.
    return f"{os.fsdecode(source) if isinstance(source, os.PathLike) else source!r:.300}"


def _open(source: str | os.PathLike) -> BinaryIO:
    path = Path(os.fsdecode(source))
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise OSError("it is a directory or a device")
        return path.open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"A path must name an image file; there is none at {_short(source)} (looked in "
            f"{path.parent.absolute()}). Check the spelling and the working directory."
        ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ImageError(f"A path must name an image file; {_short(source)}: {why}.") from None


def _read(file: Any) -> bytes:
    try:
        return bytes(memoryview(file.read()))
    except Exception as error:  # text instead of bytes, a closed file, or anything: it is theirs
        raise ImageError(f"A file object must give bytes: {error}. Open it in mode 'rb'.") from None


def _download(url: str, timeout: float, max_seconds: float, max_bytes: int) -> bytes:
    from tfcam.images.download import FetchError, fetch  # what it needs takes long to load

    try:
        return fetch(url, timeout=timeout, max_seconds=max_seconds, max_bytes=max_bytes)
    except FetchError as error:
        raise ImageError(
            f"A URL must lead to an image; {_short(url)} does not: {error}. "
            "Check it in a browser, or download the file and give its path."
        ) from None


@contextlib.contextmanager
def _pillow(what: str) -> Iterator[None]:
    """Keep Pillow's many warnings and exceptions inside, and lets one clear error out."""
    # Pillow warns of large pictures (max_pixels decides that here) and of untidy metadata.
    with _no_warnings():
        try:
            yield
        except ImageError as error:
            raise ImageError(f"{what}: {error}") from None
        except Image.DecompressionBombError as error:  # twice PIL.Image.MAX_IMAGE_PIXELS
            raise ImageError(f"{what}: An image must be smaller. {error} Scale it down.") from None
        except Exception as error:  # decoders of damaged data let nearly anything out
            why = f"An image must be whole; this one is damaged or cut off ({error!r})."
            raise ImageError(f"{what}: {why} Get it again.") from None


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """No warnings while any thread is inside.

    The filters of `warnings` belong to the whole process: two threads that change and restore them
    at the same time could leave them changed for good, so the first one in changes them, and the
    last one out restores them.
    """
    with _quiet_lock:
        if not _quiet:
            _quiet.append(warnings.catch_warnings())
            _quiet[0].__enter__()
            warnings.simplefilter("ignore")
        else:
            _quiet.append(_quiet[0])
    try:
        yield
    finally:
        with _quiet_lock:
            filters = _quiet.pop()
            if not _quiet:
                filters.__exit__(None, None, None)


def _decode(file: BinaryIO, what: str, max_pixels: int, window: Limits) -> np.ndarray:
    with _pillow(what):
        head = file.read(12)
        if not head:
            raise ImageError("An image file must not be empty.")
        Image.init()
        try:
            image = Image.open(file, formats=[f for f in FORMATS if f in Image.OPEN])
        except UnidentifiedImageError:
            raise ImageError(
                f"An image file must be one of {', '.join(FORMATS)}; got one that begins with "
                f"{head!r}, which is none of these or damaged. Save it as PNG or JPEG."
            ) from None
        with image:
            return _from_pillow(image, max_pixels, window)


def _from_pillow(image: Image.Image, max_pixels: int, window: Limits) -> np.ndarray:
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"An image must have at most max_pixels = {max_pixels:,} pixels; got {image.width} x "
            f"{image.height}. Scale it down, or raise max_pixels."
        )
    deep = any(";16" in str(tile) for tile in getattr(image, "tile", ()))  # known before it is read
    image.load()
    if window is not None and deep and not image.mode.startswith("I"):
        raise ImageError(
            "A window is for grey of 16 bits; of colours Pillow reads 8. Give them as an array."
        )
    return _orient(_to_rgb(_pixels(image, window)), _orientation(image))


def _pixels(image: Image.Image, window: Limits) -> np.ndarray:
    """(H, W, 1 or 3 or 4) uint8 of any mode of Pillow."""
    if window is not None and image.mode[0] in "IF":
        return windowed(np.asarray(image), window)[..., None]
    # Pillow holds 16-bit PGM in 32-bit integers; nothing else tells the range of these.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        wide = np.asarray(image).astype(np.uint32)
        grey = ((wide + 128) // 257).astype(np.uint8)  # 65535 = 255 * 257, rounded
        grey[wide == image.info.get("transparency", -1)] = 255
        return grey[..., None]
    if image.mode in ("I", "F"):
        raise ImageError(
            f"An image must have 8 or 16 bits a channel; got 32 (mode {image.mode!r}), whose range "
            "nothing tells. Pass preprocess=tfcam.images.Window(low, high), give load_image a "
            "window=(low, high), or scale it to 0..255, and give it as a uint8 array."
        )
    mode = "RGBA" if image.has_transparency_data else "RGB"
    pixels = np.array(image if image.mode == mode else image.convert(mode))
    if window is not None:
        pixels[..., :3] = windowed(pixels[..., :3], window)
    return pixels


def _orientation(image: Image.Image) -> Any:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged metadata; the pixels are good
        return None


def _orient(image: np.ndarray, orientation: Any) -> np.ndarray:
    """The picture upright, by the eight cases of EXIF tag 0x0112."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _from_array(source: Any, window: Limits) -> np.ndarray:
    if window is None and is_prepared(source):
        raise ImageError(
            f"Pixels must be uint8, 0..255; got {source.dtype}. Floats are taken as model input "
            "that is prepared already: explain(..., preprocess=None)."
        )
    array = as_numpy(source)
    if not np.issubdtype(array.dtype, np.integer if window is None else np.number):
        raise ImageError(f"Pixels must be uint8, 0..255; got {array.dtype}. Convert them first.")
    pixels = array[0] if array.ndim == 4 and len(array) == 1 else array
    pixels = pixels[..., None] if array.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise ImageError(
            "An image must have shape (H, W), (H, W, C) or (1, H, W, C) with C = 1, 3 or 4 "
            f"channels, the channels last; got {array.shape}. Give several images one by one."
        )
    if window is not None:
        if pixels.shape[2] == 4:
            raise ImageError("A window is for grey or RGB; got 4 channels. Leave alpha out.")
        return _to_rgb(windowed(pixels, window))
    low, high = (int(pixels.min()), int(pixels.max())) if pixels.size else (0, 0)
    if low < 0 or high > 255:
        raise ImageError(
            f"Pixels must be 0..255; got {low} to {high}. Scale them to uint8, as "
            "tfcam.images.load_image(pixels, window=(low, high)) does."
        )
    return _to_rgb(np.array(pixels, dtype=np.uint8, order="C"))


def _to_rgb(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 1 or 3 or 4) as (H, W, 3): grey repeated, alpha laid on white and rounded."""
    if 0 in pixels.shape:
        raise ImageError(f"An image must have at least one pixel; got shape {pixels.shape}.")
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)  # the sum below is at most 255 * 255 + 127
        return ((pixels[..., :3] * alpha + (255 - alpha) * 255 + 127) // 255).astype(np.uint8)
    return pixels
