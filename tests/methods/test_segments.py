"""Segments as options: a map of one's own is taken at every door, and told by its shape."""

import numpy as np
import pytest

import tfcam
from tests import networks


@pytest.mark.slow
def test_a_map_of_segments_is_an_option_at_every_door(tmp_path):
    model, picture = networks.flat(), np.random.default_rng(0).integers(0, 255, (12, 12, 3), "u1")
    own = np.arange(144).reshape(12, 12) // 24
    method = ("occlusion", {"segments": own})
    asked = {"target": 1, "preprocess": "unit", "method": "occlusion"}
    wanted = tfcam.explain(model, picture, segments=own, **asked)
    assert wanted.options["segments"] == "array (12, 12)"
    wanted.save(tmp_path / "one.npz")
    assert tfcam.Explanation.load(tmp_path / "one.npz") == wanted
    found = tfcam.compare(model, picture, methods=[method], targets=[1], preprocess="unit")
    assert found.rows == ("occlusion(segments=array (12, 12))",)
    store = tfcam.stream(model, [picture], to=tmp_path / "store", segments=own, **asked)
    np.testing.assert_allclose(store[0].heatmap, wanted.heatmap, atol=1e-3)
    with pytest.raises(ValueError, match="method"):
        tfcam.stream(model, [picture], to=tmp_path / "store", segments=own.T.copy(), **asked)
