"""What a user should know about a map: a code, and one sentence that says what to do."""

from __future__ import annotations

from dataclasses import dataclass

FINDINGS = {
    "no_positive_evidence": (
        "Nothing in this map speaks for {target}: all of it is zero or negative, so that the "
        "heatmap is empty. Look at `raw`, another layer, or the class that is predicted."
    ),
    "not_finite": (
        "The map and its score hold {count} values that are NaN or infinite, so that the heatmap "
        "is empty. Look for NaN in the model's weights and in its input."
    ),
    "one_position": (
        "The map of {layer!r} has one position only, so that it can't tell where. Choose a layer "
        "before the pooling; tfcam.layers(model) lists them."
    ),
    "probability_explained": (
        "What goes into the final softmax or sigmoid could not be found, so that the probability "
        "itself is explained. Near 0 or 1 its gradients vanish: return logits where you can."
    ),
    "saturated": (
        "The explained probability is {probability:.6f}: its gradient nearly vanishes. Explain the "
        "logit with score='logit'."
    ),
    "no_labels": "The ImageNet labels could not be loaded, so that classes have numbers only.",
}


@dataclass(frozen=True)
class Finding:
    """One thing to know about a result.

    Attributes:
        code: A key of ``FINDINGS``.
        message: One sentence with this result's own numbers.
    """

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def finding(code: str, **facts: object) -> Finding:
    """A finding with its facts filled in.

    Example:
        >>> finding("no_positive_evidence", target="class 3").code
        'no_positive_evidence'
    """
    return Finding(code, FINDINGS[code].format(**facts))
