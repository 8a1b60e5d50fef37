"""The guide to speed, made from what was measured.

``python -m tests.benchmarks.readme DIR`` takes DIR/results.json, keeps it as ``results.json``
beside this file, and writes the guide; without DIR it writes it from what is kept.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.benchmarks import tables
from tests.project import GUIDES

PAGE = GUIDES / "speed.md"
KEPT = Path(__file__).parent / "results.json"
TEXT = """# Speed

What explaining costs, as a ratio to the compiled forward pass of the same network in the same
process (`tf.function(lambda x: model(x, training=False))`, its input ready as a tensor). All
contestants are called in turn, round by round in shuffled order, after three calls to warm up; a
number is the median of the ratios of at least {rounds} rounds. Of `Explainer` all is measured from
the array to the results: preparation, heatmaps in the size of the picture, findings. The networks
are those of `keras.applications` with random weights, for 224 x 224 pixels. Measured on
{machine}.

```bash
python -m tests.benchmarks.run --output speed && python -m tests.benchmarks.readme speed
```

What it should cost at most, and what it does (`score_cam` of all channels and its forward passes
are timed in three rounds; memory is measured once):

{bounds}
What was tried where it is not met:

- First call in a new process: the default layer is read from Keras's graph instead of a trace,
  labels and logits are found in milliseconds. What is left is TensorFlow's first use of some thirty
  kernels.
- Memory above what was held before: batches of 16 and more are compiled at once, as an eager pass
  keeps what every layer gives. What is left is a copy of the batch, the pictures to show and the
  heatmaps.
- ROAD: each of its 18 pictures is filled in by a linear system, which multigrid solves in some 14
  cycles of NumPy and OpenCV, on all cores; MobileNetV2 itself takes less. Compiled by XLA the same
  cycles took twice as long. Separable filters, arrays that are kept, a second step of smoothing and
  heavier corrections gained nothing; coarse grids that follow a hole's border more closely, or
  that correct twice, need fewer cycles, but fail where what is removed is scattered, or a strip.
- Faster since the table was measured, in 7 rounds of their own: DeepLIFT of 8 pictures takes 2.72
  [2.53, 2.89] of the bare gradient, as the baseline goes through the network once; ROAD 1.86
  [1.73, 1.89] of its forward passes for one picture and 2.19 [2.15, 2.27] for 8. Integrated
  gradients, SmoothGrad and expected gradients compute up to 8 gradients of a single picture at
  once: in 8 steps, of MobileNetV2, they took 16 to 17 of its forward passes, and take 9 to 13.
- Freezing, and insertion and deletion, which freeze: what folding batch normalisation saves differs
  between processors; on an Intel Xeon it was 0.64 to 0.78.

Pictures larger than the network takes at once, with `tile=`: on two busy cores MobileNetV2 took
14 s for 4,000 x 3,000 pixels in 910 tiles of 224 x 224, 4 s in 48 tiles of 896 x 896, and 10 s for
`saliency` of these; with 32 tiles at once the process grew by 0.7 to 1.7 GB.

Large work, in seconds on this machine, idle: the compiled forward pass of one picture, the first
call, the second, which compiles, the calls after it, and by how much the process grew
(`python -m tests.benchmarks.large`). Many classes are computed 32 at a time.

| what | forward, s | first call, s | second, s | then, s | memory, MB |
| --- | --- | --- | --- | --- | --- |
| Grad-CAM for 10 classes, MobileNetV2 | 0.02 | 0.46 | 1.06 | 0.02 | 47 |
| Grad-CAM for 100 classes | 0.01 | 2.14 | 0.61 | 0.09 | 86 |
| Grad-CAM for all 1,000 classes | 0.01 | 2.94 | 1.24 | 0.75 | 272 |
| saliency for 100 classes | 0.01 | 7.07 | 0.72 | 0.71 | 293 |
| Grad-CAM at all 155 convolutions of ResNet152 | 0.08 | 1.61 | 5.26 | 0.21 | 601 |
| Grad-CAM of a volume of 128 x 128 x 128, three Conv3D | 0.02 | 0.41 | 0.10 | 0.03 | 181 |
| saliency of that volume | 0.02 | 0.54 | 0.09 | 0.09 | 146 |
| Grad-CAM of ViT-B/16 at 384 x 384 | 0.30 | 3.54 | 1.18 | 0.33 | 500 |
| saliency of ViT-B/16 at 384 x 384 | 0.30 | 2.95 | 0.75 | 0.73 | 666 |

At most 128 functions are kept compiled in a process, those used last, each of about 1 MB, of large
networks some MB. A question (method, layer, own target, shape) that was let go of is compiled again
when it is next asked: where there are more than 128, ask one of all pictures, then the next.

The tables below were measured before, on an Intel Xeon with 2 cores.

Every method that does not loop, by network and batch size, in forward passes. F is a forward, B a
backward pass; of CAM methods B is only from the score to the layer.

{one_pass}
Methods that ask the network again and again, by network and batch size: in forward passes, and for
each pass that they need, forward or backward.

{looping}
Other packages on the same work are [on a page of their own](peers.md).
"""


def page(results: tables.Results) -> str:
    """The whole page."""
    counts = [len(next(iter(g["seconds"].values()))) for g in results["rounds"] if "seconds" in g]
    return TEXT.format(
        rounds=min(each for each in counts if each > 3),  # what is slow has three
        machine=tables.machine(results).strip(),
        bounds=tables.bounds(results),
        one_pass=tables.one_pass(results),
        looping=tables.looping(results),
    )


def main() -> None:
    """Keep the results and write the page."""
    if sys.argv[1:]:
        KEPT.write_text((Path(sys.argv[1]) / "results.json").read_text())
    PAGE.write_text(page(json.loads(KEPT.read_text())))


if __name__ == "__main__":
    main()
