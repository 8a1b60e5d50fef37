"""The scripts that make the guides' tables of trust: their arithmetic, and a small run."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.metrics.test_sanity import by_hand
from tfcam.scenes import draw_scene
from training import sanity_table, trust_ranking

SCENES = [draw_scene(seed, shapes=2) for seed in (1, 2)]


def test_agreement_by_hand():
    table = pd.DataFrame(
        {
            "pointing game": [1.0, 2, 3, 4],
            "energy": [4.0, 3, 2, 1],
            "IoU": [1.0, 3, 2, 4],
            "deletion": [1.0, 2, 3, 4],
            "insertion": [1.0, 2, 3, 4],
            "ROAD": [1.0, 2, 3, 4],
            "average drop": [1.0, 2, 3, 4],
        }
    )
    lines = trust_ranking.agreement(table).splitlines()
    # One pair of six is the other way round: rho = 1 - 6 * 2 / 60, tau = (5 - 1) / 6.
    assert lines[2] == "| deletion | +1.00 (+1.00) | -1.00 (-1.00) | +0.80 (+0.67) |"
    assert len(lines) == 6


def test_maps_that_are_one_map_count_once(capsys):
    found = trust_ranking.distinct_maps(SCENES, ["cam", "grad_cam", "saliency"])
    assert list(found) == ["cam", "saliency"]
    assert "grad_cam is cam on this network and is left out" in capsys.readouterr().out


@pytest.mark.slow
def test_more_is_better_everywhere():
    perfect = np.stack([each.masks[0] for each in SCENES]).astype("float32")
    table = trust_ranking.measured(SCENES, {"truth": perfect, "nothing of it": 1 - perfect})
    assert list(table.columns) == [*trust_ranking.TRUTH, *trust_ranking.FAITHFULNESS]
    truth, rest = table.loc["truth"], table.loc["nothing of it"]
    assert (truth[["pointing game", "energy", "IoU"]] == 1).all()
    assert (rest[["pointing game", "energy"]] == 0).all()
    assert (truth[list(trust_ranking.FAITHFULNESS)] > rest[list(trust_ranking.FAITHFULNESS)]).all()


def test_the_sanity_table_by_hand():
    head, _, row = sanity_table.as_markdown(by_hand()).splitlines()
    assert head.startswith("| method | the logits | the upper half | everything | mean over")
    assert row == "| `cam` | 0.60 ± 0.10 | 0.60 ± 0.10 | 0.20 ± 0.10 | 0.40 |  | reacts |"
    alone = dataclasses.replace(by_hand(), mode="independent")
    assert "| step 1 alone | step 2 alone |" in sanity_table.as_markdown(alone)


@pytest.mark.parametrize("script", [sanity_table, trust_ranking])
def test_scripts_say_what_they_are(script, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["script", "--help"])
    with pytest.raises(SystemExit, match="0"):
        script.main()
    assert "--output" in capsys.readouterr().out
