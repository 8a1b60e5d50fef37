"""Loading pictures from wherever they are.

Files, addresses on the web, bytes, PIL images and arrays become arrays of pixels.
Downloads have limits of size, time and place.
"""

from tfcam.images.kinds import ImageError
from tfcam.images.loading import FORMATS, load_image

__all__ = ["FORMATS", "ImageError", "load_image"]
