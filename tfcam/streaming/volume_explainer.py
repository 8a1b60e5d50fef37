"""Shard after shard of videos or volumes explained: what is otherwise than of pictures."""

from __future__ import annotations

import numpy as np

from tfcam.streaming.shard_explainer import ShardExplainer


class VolumeExplainer(ShardExplainer):
    """Explains shards of videos or volumes, which the network takes as they are given."""

    def _taken(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int] | None]:
        return image, None

    def _check_shape(self, key: str, shape: tuple[int, ...]) -> None:
        """Maps of videos of several lengths have several shapes: each is written with its own."""
