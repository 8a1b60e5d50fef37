"""The guide to troubleshooting, made from the table of findings.

``python -m tests.troubleshooting`` writes it.
"""

from tests.project import GUIDES
from tfcam.findings import FINDINGS

PAGE = GUIDES / "troubleshooting.md"
TEXT = """# Troubleshooting

A result's `findings` are what the checks found about it; each has a `code`, a `message` with the
result's own numbers, a `cause` and a `remedy`. `tfcam.diagnose` runs the checks alone, and says
which layer is explained by default and why, and whether CAM and guided backpropagation apply:

```python
import keras
import tfcam

model = keras.applications.MobileNetV2(weights="imagenet")
print(tfcam.diagnose(model, "dog_and_cat.png"))
```

```bash
tfcam diagnose dog_and_cat.png --model mobilenet_v2 --layer out_relu --target tabby
```

| code | cause | what to do |
|---|---|---|
"""
AFTER = """
`gradient_absent` where the gradient is not zero but missing, and `nothing_to_gate`, are errors of
`tfcam.explain` and findings of `tfcam.diagnose`.
"""


def page() -> str:
    """The whole page."""
    rows = (f"| `{code}` | {each.cause} | {each.remedy} |\n" for code, each in FINDINGS.items())
    return TEXT + "".join(rows) + AFTER


if __name__ == "__main__":
    PAGE.write_text(page())
