"""Loading pictures from wherever they are.

Files, addresses on the web, bytes, PIL images and arrays become arrays of pixels.
Downloads have limits of size, time and place.
"""

from tfcam.images.kinds import ImageError
from tfcam.images.loading import FORMATS, load_image, resize_image
from tfcam.images.window import Window

__all__ = ["FORMATS", "ImageError", "Window", "load_image", "resize_image"]
