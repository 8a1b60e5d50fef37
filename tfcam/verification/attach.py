"""Verifications attached to explanations, with a finding where a map is not supported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tfcam.explainer.explainer import Explainer
from tfcam.images.kinds import ImageLike
from tfcam.metrics.probing import Probe
from tfcam.metrics.removal_test import Removal, mark_unsupported
from tfcam.model.given import split_batch
from tfcam.results.explanation import Explanation
from tfcam.results.explanations import Explanations
from tfcam.targets.callables import part_of
from tfcam.targets.classes import Top
from tfcam.verification.inquiry import Inquiry, Subject


def verified(
    explained: Explanation | Explanations,
    explainer: Explainer,
    image: ImageLike,
    target: Any = None,
    *,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Explanation | Explanations:
    """Attach to each explanation its ``tfcam.verify``.

    Args:
        explained: What the explainer made.
        explainer: The explainer.
        image: The image or batch that it was given.
        target: The target or targets that it was given.
        batch_size: Number of images that are computed at once.
        progress: Whether a bar is shown for each.

    Raises:
        ValueError: If such a map can't be verified, as of a text.
    """
    pipeline = explainer.pipeline
    inquiry = Inquiry(pipeline.labels, progress=progress)
    # A method that asks the network again and again is not asked to make its map again.
    maker = None if pipeline.engine.requests[0].method.loops else explainer

    def probe(one: Any) -> Probe:
        return Probe(
            pipeline.model,
            image,
            one,
            preprocess=pipeline.preprocess,
            labels=pipeline.labels,
            input=pipeline.opened.which,
            output=pipeline.settings.output,
            batch_size=batch_size,
        )

    def subjects() -> Iterator[Subject]:
        if isinstance(explained, Explanation):
            yield Subject(probe(target), 0, explained, target)
        elif split_batch(pipeline.opened.split(image)[0], pipeline.opened.input) is None:
            for place, each in enumerate(explained):
                own = each.target if isinstance(target, Top) else target[place]
                yield Subject(probe(own), 0, each, own)
        else:
            shared = probe(target)
            for place, each in enumerate(explained):
                several = isinstance(target, list | tuple)
                own = target[place] if several else part_of(target, slice(place, place + 1))
                yield Subject(shared, place, each, own)

    results = [_attached(subject, inquiry, maker) for subject in subjects()]
    return results[0] if isinstance(explained, Explanation) else Explanations(results)


def _attached(subject: Subject, inquiry: Inquiry, maker: Explainer | None) -> Explanation:
    explanation = subject.explanation
    assert isinstance(explanation, Explanation)
    verification = inquiry(subject, maker)
    removal = Removal(verification.verdict, verification.p_value)
    return replace(mark_unsupported(explanation, removal), verification=verification)
