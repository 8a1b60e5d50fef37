"""How values become colours: of a map from zero up, or of a signed map for and against."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize

# Perceptually even, dark where the map is empty, and readable in black and white.
COLORMAP = "inferno"


# What speaks against is blue, what speaks for is red; white is zero.
SIGNED = "bwr"


# The weight of the colours over a picture, from half of the largest value on.
ALPHA = 0.6


# Contours are drawn at these parts of the largest value.
LEVELS = (0.25, 0.5, 0.75)


OF_MAXIMUM, OF_PERCENTILE = "of the map's maximum", "of the map's 99th percentile"
OF_EACH, OF_ROW = "of each map's maximum", "of the largest value in its row"


@dataclass(frozen=True)
class Palette:
    """The colours of values in [0, 1], or of signed ones in [-1, 1].

    Attributes:
        colormap: The name of a matplotlib colormap; signed values are blue and red instead.
        signed: Whether values are signed.
        contours: Whether a map over a picture is drawn as lines around what is highest, and the
            picture is seen as it is.

    Raises:
        ValueError: If there is no such colormap.
    """

    colormap: str = COLORMAP
    signed: bool = False
    contours: bool = False

    def __post_init__(self) -> None:
        if self.colormap not in matplotlib.colormaps:
            raise ValueError(
                f"No matplotlib colormap {self.colormap!r}; 'inferno' or 'jet' are two."
            )

    @property
    def low(self) -> float:
        """The least value."""
        return -1.0 if self.signed else 0.0

    def colours(self, values: np.ndarray) -> np.ndarray:
        """Colour values of any shape (...): (..., 3) in [0, 1].

        Example:
            >>> Palette("gray").colours(np.array([0.0, 1.0]))
            array([[0., 0., 0.],
                   [1., 1., 1.]])
            >>> Palette(signed=True).colours(np.array([-1.0, 1.0]))
            array([[0., 0., 1.],
                   [1., 0., 0.]])
        """
        places = (values + 1) / 2 if self.signed else values
        return self._colormap(places)[..., :3]

    def lay(self, values: np.ndarray, picture: np.ndarray, alpha: float = 1.0) -> np.ndarray:
        """Lay coloured values over a picture, which stays as it is where they are zero.

        The weight of the colours grows up to one half of the largest value; of signed ones, which
        are pure blue or red, up to the largest.

        Args:
            values: (...).
            picture: (..., 3) in [0, 1], or one that NumPy broadcasts.
            alpha: The largest weight of the colours.

        Returns:
            (..., 3) in [0, 1].

        Example:
            >>> Palette("gray").lay(np.array([0.0, 0.25, 1.0]), np.array(0.5), 0.5)[:, 0].round(2)
            array([0.5 , 0.44, 0.75])
        """
        sizes = np.abs(values)
        weight = alpha * (sizes if self.signed else np.minimum(2 * sizes, 1.0))[..., np.newaxis]
        return (
            weight * self.colours(np.sign(values) if self.signed else values)
            + (1 - weight) * picture
        )

    def label(self, largest: str) -> str:
        """What a colour bar says, whose ends are ``largest``."""
        return f"{largest}: blue against, red for" if self.signed else largest

    def scale(self, faded: bool = False) -> ScalarMappable:
        """The scale of a colour bar.

        Args:
            faded: Whether colours fade as over a picture, here a white one.
        """
        values = np.linspace(self.low, 1, 255)
        shown = self.lay(values, np.ones(3)) if faded else self.colours(values)
        return ScalarMappable(
            Normalize(self.low, 1), ListedColormap(shown.clip(0, 1), name=self._colormap.name)
        )

    @property
    def ticks(self) -> list[float]:
        """Where a colour bar is numbered."""
        return [self.low, (self.low + 1) / 2, 1.0]

    @property
    def _colormap(self) -> Colormap:
        return matplotlib.colormaps[SIGNED if self.signed else self.colormap]


PLAIN = Palette()
