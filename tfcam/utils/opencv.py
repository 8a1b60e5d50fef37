"""OpenCV, or one line that says what to install where the system lacks its libraries."""

try:
    import cv2
except ImportError as error:
    raise ImportError(
        f"OpenCV can't be loaded ({error}). On systems without a screen: "
        "python -m pip uninstall -y opencv-python && python -m pip install opencv-python-headless, "
        "or install the system's libgl1 and libglib2.0-0."
    ) from error

__all__ = ["cv2"]
