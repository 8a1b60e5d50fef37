"""Loading pictures from wherever they are."""

from tfcam.images.loading import FORMATS, ImageError, load_image

__all__ = ["FORMATS", "ImageError", "load_image"]
