"""What pyproject.toml says: the one place of versions, extras and addresses; where the data is."""

import os
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings its forerunner
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
GUIDES = ROOT / ".docs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# The folder of real weights and pictures, where there is one.
DATA = os.environ.get("TFCAM_TEST_DATA")


def find_keras_home() -> None:
    """Tell Keras where real weights are; it reads this when it is first imported."""
    if DATA:
        os.environ.setdefault("KERAS_HOME", str(Path(DATA).resolve() / "keras"))
