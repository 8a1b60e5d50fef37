"""Packages that only one corner of tfcam needs: extras, imported when that corner is used."""

from importlib import import_module
from types import ModuleType


def import_extra(module: str, extra: str, user: str) -> ModuleType:
    """Import a module of an extra, or say in one line what to install.

    Args:
        module: The module, such as "sklearn.manifold".
        extra: The extra of tfcam that brings it, as pyproject.toml names it.
        user: The function that needs it, as the user knows it.

    Returns:
        The module.

    Raises:
        ImportError: If it can't be imported; the message says what to install.

    Example:
        >>> import_extra("not_there", extra="embed", user="embed")
        Traceback (most recent call last):
            ...
        ImportError: embed needs not_there: python -m pip install 'tfcam[embed]'.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ImportError(
            f"{user} needs {package}: python -m pip install 'tfcam[{extra}]'."
        ) from error


def import_gradio(user: str) -> ModuleType:
    """Import Gradio, or say what to install.

    Args:
        user: Who needs it, as the user knows it.

    Raises:
        ImportError: If it is not installed.
    """
    return import_extra("gradio", extra="app", user=user)
