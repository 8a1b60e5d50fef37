"""Verifications attached to explanations, with a finding where a map is not supported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfcam.engine.settings import Settings
from tfcam.explainer.explainer import Explainer
from tfcam.images.kinds import ImageLike
from tfcam.metrics.probing import Probe
from tfcam.metrics.removal_test import UNDECIDED, Removal, mark_unsupported
from tfcam.metrics.word_probe import WordProbe, word_probes
from tfcam.model.given import split_batch
from tfcam.results.explanation import Explanation
from tfcam.results.explanations import Explanations
from tfcam.results.verification import Verification
from tfcam.targets.callables import part_of
from tfcam.targets.classes import Top
from tfcam.verification.inquiry import Inquiry, Subject, check_whole
from tfcam.verification.of_words import verify_words


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
    for each in [explained] if isinstance(explained, Explanation) else explained:
        check_whole(each)
    pipeline = explainer.pipeline
    inquiry = Inquiry(pipeline.labels, progress=progress)
    # A method that asks the network again and again is not asked to make its map again.
    maker = None if pipeline.engine.requests[0].method.loops else explainer

    if any(
        each.text for each in ([explained] if isinstance(explained, Explanation) else explained)
    ):
        return _of_texts(explained, explainer, image, inquiry, batch_size)

    def probe(one: Any, picture: Any = image) -> Probe:
        return Probe(
            pipeline.model,
            picture,
            one,
            preprocess=pipeline.preprocess,
            labels=pipeline.labels,
            input=pipeline.opened.which,
            output=pipeline.settings.output,
            batch_size=batch_size,
        )

    def subjects(explanations: Sequence[Explanation]) -> Iterator[Subject | None]:
        """What is asked of each; nothing of a map that is not finite, as its finding says."""
        finite, (given, others) = list(map(_is_finite, explanations)), pipeline.opened.split(image)
        batch = split_batch(given, pipeline.opened.input)
        several = isinstance(target, list | tuple)
        # A probe refuses a batch of which one is not finite.
        shared = batch is not None and (all(finite) or bool(others))
        together = probe(target) if shared else None
        for place, each in enumerate(explanations):
            if isinstance(target, Top):
                own = each.target
            else:
                own = target[place] if several else part_of(target, slice(place, place + 1))
            if together is not None:
                yield Subject(together, place, each, own)
            elif not finite[place]:
                yield None
            else:
                alone = probe(own) if batch is None else probe(own, [batch[place]])
                yield Subject(alone, 0, each, own)

    if isinstance(explained, Explanation):
        subject = Subject(probe(target), 0, explained, target) if _is_finite(explained) else None
        return _attached(explained, subject, inquiry, maker)
    results = [
        _attached(explanation, subject, inquiry, maker)
        for explanation, subject in zip(explained, subjects(explained), strict=True)
    ]
    return Explanations(results)


def _of_texts(
    explained: Explanation | Explanations,
    explainer: Explainer,
    texts: Any,
    inquiry: Inquiry,
    batch_size: int,
) -> Explanation | Explanations:
    """Attach their verification to the explanations of texts."""
    pipeline = explainer.pipeline
    settings = Settings(output=pipeline.settings.output, at_once=batch_size)
    which, preprocess = pipeline.opened.which, pipeline.preprocess
    probes = word_probes(pipeline.model, texts, preprocess, which, settings)

    def one(explanation: Explanation, probe: WordProbe, text: Any) -> Explanation:
        if not _is_finite(explanation):
            return explanation
        again = None if text is None else explainer
        verification = verify_words(inquiry, [probe], text, explanation, again)
        # Few words leave many a true map undecided: that is no warning.
        if verification.verdict == UNDECIDED:
            return replace(explanation, verification=verification)
        return _with(explanation, verification)

    if isinstance(explained, Explanation):
        return one(explained, probes[0], texts)
    # Of texts beside other inputs the map is not made again.
    strings = pipeline.opened.strings(texts, preprocess)
    alone = strings if isinstance(strings, list) else [None] * len(probes)
    return Explanations(list(map(one, explained, probes, alone)))


def _is_finite(explanation: Explanation) -> bool:
    return bool(np.isfinite(explanation.raw).all() and np.isfinite(explanation.score))


def _attached(
    explanation: Explanation, subject: Subject | None, inquiry: Inquiry, maker: Explainer | None
) -> Explanation:
    if subject is None:
        return explanation
    return _with(explanation, inquiry(subject, maker))


def _with(explanation: Explanation, verification: Verification) -> Explanation:
    removal = Removal(verification.verdict, verification.p_value)
    return replace(mark_unsupported(explanation, removal), verification=verification)
