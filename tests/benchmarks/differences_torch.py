"""Maps of captum and zennit of one small network, in a process of their own.

In an environment of its own::

    pip install torch torchvision captum zennit

``python -m tests.benchmarks.differences_torch weights.npz maps.npz`` reads the weights and the
picture that ``differences`` writes, and writes maps by name. Nothing here imports tfcam.
"""

from __future__ import annotations

import sys
from typing import Any

import captum.attr
import numpy as np
import torch
from torch import nn
from zennit import composites
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.rules import Epsilon

CHANNELS = (8, 12)


class Network(nn.Module):
    """The network of ``differences.build``."""

    def __init__(self) -> None:
        super().__init__()
        first, second = CHANNELS
        self.maps = nn.Sequential(
            nn.Conv2d(3, first, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3),
            nn.BatchNorm2d(second, eps=1e-3),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Linear(36 * second, 16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) -> scores (B, 5), flattened in the order of Keras."""
        return self.head(self.maps(x).permute(0, 2, 3, 1).flatten(1))


def build(given: Any) -> Network:
    """The network with the weights that are given."""
    model, state = Network(), {}
    values = iter([given[f"w{number}"] for number in range(12)])
    for name, old in model.state_dict().items():
        value = old if "num_batches" in name else torch.tensor(next(values))
        value = value.permute(3, 2, 0, 1) if value.ndim == 4 else value
        state[name] = value.T if value.ndim == 2 else value
    model.load_state_dict(state)
    return model.eval()


def maps(given: Any) -> dict[str, np.ndarray]:
    """Maps (H, W, C) by name."""
    image = torch.tensor(given["image"]).permute(2, 0, 1)[None]
    chosen, parts = int(given["target"]), torch.tensor(given["parts"])[None, None]
    low, high = torch.full_like(image, image.min()), torch.full_like(image, image.max())
    found: dict[str, torch.Tensor] = {"score": build(given)(image)[:, chosen].detach()}

    merged = {"canonizers": [SequentialMergeBatchNorm()]}
    rule = Epsilon(epsilon=1e-6)
    made = {
        "epsilon": composites.LayerMapComposite([((nn.Linear, nn.Conv2d), rule)], **merged),
        "epsilon_plus": composites.EpsilonPlus(**merged),
        "epsilon_plus_flat": composites.EpsilonPlusFlat(**merged),
        "epsilon_gamma_box": composites.EpsilonGammaBox(low, high, **merged),
        "alpha2_beta1": composites.EpsilonAlpha2Beta1(**merged),
    }
    for name, composite in made.items():
        asked = image.clone().requires_grad_()
        with composite.context(build(given)) as model:
            score = model(asked)[:, chosen]
            # Zennit hands on the number that is put in: the score, as it is here.
            (found[f"zennit {name}"],) = torch.autograd.grad(score, asked, score.detach())

    attr, ask = captum.attr, build(given)
    found["captum LRP"] = attr.LRP(build(given)).attribute(image, target=chosen)
    found["captum DeepLift"] = attr.DeepLift(build(given)).attribute(image, target=chosen)
    found["captum Occlusion"] = attr.Occlusion(ask).attribute(
        image, (3, 4, 4), (3, 2, 2), target=chosen
    )
    for samples in (500, 8000):
        torch.manual_seed(0)
        found[f"captum KernelShap {samples}"] = attr.KernelShap(ask).attribute(
            image,
            target=chosen,
            feature_mask=parts,
            n_samples=samples,
            perturbations_per_eval=50,
        )
    return {
        name: (value[0].permute(1, 2, 0) if value.ndim == 4 else value).detach().numpy()
        for name, value in found.items()
    }


if __name__ == "__main__":
    with np.load(sys.argv[1]) as given:
        np.savez(sys.argv[2], **maps(dict(given)))
