"""The README's section on troubleshooting, made from the table of findings.

``python -m tests.troubleshooting`` writes the section into README.md.
"""

import re
from pathlib import Path

from tfcam.findings import FINDINGS

README = Path(__file__).parent.parent / "README.md"
SECTION = re.compile(r"## Troubleshooting\n.*?(?=^## )", re.DOTALL | re.MULTILINE)
TEXT = """## Troubleshooting

A result's `findings` say what to mind about it; each has a `code`, a `message` with the result's
own numbers, a `cause` and a `remedy`. `tfcam.diagnose` runs the checks alone, and says which layer
is explained by default and why, and whether CAM and guided backpropagation apply:

```python
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


def section() -> str:
    """The whole section, to the next one."""
    rows = (f"| `{code}` | {each.cause} | {each.remedy} |\n" for code, each in FINDINGS.items())
    return TEXT + "".join(rows) + AFTER + "\n"


if __name__ == "__main__":
    README.write_text(SECTION.sub(lambda _: section(), README.read_text(), count=1))
