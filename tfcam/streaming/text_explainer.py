"""Shard after shard of texts explained: what is otherwise than of pictures."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfcam.engine.settings import Settings
from tfcam.metrics.removal_test import UNDECIDED, Removal
from tfcam.metrics.word_orders import word_removal
from tfcam.metrics.word_probe import word_probes
from tfcam.preprocessing.sizes import runs_of_one_length
from tfcam.results.explanation import Explanation
from tfcam.streaming.shard_explainer import Batch, Read, ShardExplainer
from tfcam.streaming.shard_files import SkippedRow, kept_of
from tfcam.streaming.texts import text_of


class TextExplainer(ShardExplainer):
    """Explains shards of texts: the pixels of each read are its string or segments."""

    def _taken(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int] | None]:
        return image, None

    def _prepared(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield from self._of_one_length(batch) if batch.reads else [batch]

    def _of_one_length(self, batch: Batch) -> Iterator[Batch]:
        """Prepare a batch in parts of one length, where a model leaves that open."""
        try:
            read, others = self._split(batch.reads)
        except ValueError:  # which of them is found by reading each alone
            batch = self._without_unreadable(batch)
            if not batch.reads:
                yield batch
                return
            read, others = self._split(batch.reads)
        pipeline, skipped = self.pipeline, batch.skipped
        beside = pipeline.others(others, len(read))
        opened = pipeline.opened
        for run in runs_of_one_length(opened.graph, opened.which, read):
            reads = batch.reads[run]
            full = self._filled(reads)
            rows = np.minimum(np.arange(len(full)), len(reads) - 1) + run.start
            own = [values[rows] for values in beside]
            prepared = pipeline.prepare([read[row] for row in rows], own)
            yield replace(
                batch,
                reads=reads,
                skipped=skipped,
                prepared=replace(prepared, images=prepared.images[: len(reads)]),
                targets=self._targets(full),
                pixels=[each.pixels for each in reads],
            )
            skipped = []

    @functools.cached_property
    def _of_any_size(self) -> bool:
        """Whether texts keep their own lengths, so that few of a batch go together."""
        return bool(self.pipeline.opened.input.shape == (None,))

    def _differs(self, picture: Read, reads: Sequence[Read]) -> bool:
        """Texts are read before it is known how long they are."""
        return False

    def _check_shape(self, key: str, shape: tuple[int, ...]) -> None:
        """Texts have as many values as words, each its own number."""

    def _split(self, reads: Sequence[Read]) -> tuple[Any, list[Any]]:
        """Read the texts of a batch, and what else the model takes."""
        texts = [text_of(read.pixels) for read in reads]
        return self.pipeline.opened.split(texts, self.pipeline.preprocess)

    def _without_unreadable(self, batch: Batch) -> Batch:
        reads, skipped = list[Read](), list(batch.skipped)
        for read in batch.reads:
            try:
                self.pipeline.opened.split([text_of(read.pixels)], self.pipeline.preprocess)
                reads.append(read)
            except ValueError as error:
                row = SkippedRow(read.number, read.key, str(error), *kept_of(read.mark))
                skipped.append(row)
        return replace(batch, reads=reads, skipped=skipped)

    def _tests(
        self, maps: Sequence[Explanation], reads: Sequence[Read], pixels: Sequence[np.ndarray]
    ) -> Sequence[Removal]:
        pipeline = self.pipeline
        settings = Settings(output=pipeline.settings.output, at_once=self.batch_size)
        texts = [*map(text_of, pixels)]
        probes = word_probes(pipeline.model, texts, pipeline.preprocess, None, settings)
        return [
            word_removal(probe, own.raw, int(own.target or 0))
            for probe, own in zip(probes, maps, strict=True)
        ]

    def _marked(self, explanation: Explanation, test: Removal) -> Explanation:
        # Few words leave many a true map undecided: that is no warning.
        return explanation if test.verdict == UNDECIDED else super()._marked(explanation, test)
