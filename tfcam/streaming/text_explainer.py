"""Shard after shard of texts explained: what is otherwise than of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfcam.engine.settings import Settings
from tfcam.metrics.removal_test import UNDECIDED, Removal
from tfcam.metrics.word_orders import word_removal
from tfcam.metrics.word_probe import word_probes
from tfcam.results.explanation import Explanation
from tfcam.streaming.shard_explainer import Batch, Read, ShardExplainer
from tfcam.streaming.shard_files import SkippedRow, kept_of
from tfcam.streaming.texts import text_of


class TextExplainer(ShardExplainer):
    """Explains shards of texts: the pixels of each read are its string or segments."""

    def _taken(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int] | None]:
        return image, None

    def _ready(self, batch: Batch) -> Batch:
        pipeline = self.pipeline
        try:
            read, others = self._split(batch.reads)
        except ValueError:  # which of them is found by reading each alone
            batch = self._without_unreadable(batch)
            if not batch.reads:
                return batch
            read, others = self._split(batch.reads)
        full = self._filled(batch.reads)
        prepared = pipeline.prepare(read, pipeline.others(others, len(full)))
        count = len(batch.reads)
        return replace(
            batch,
            prepared=replace(prepared, images=prepared.images[:count]),
            targets=self._targets(full),
            pixels=[each.pixels for each in batch.reads],
        )

    def _check_shape(self, key: str, shape: tuple[int, ...]) -> None:
        """Texts have as many values as words, each its own number."""

    def _split(self, reads: Sequence[Read]) -> tuple[Any, list[Any]]:
        """Read the texts of a full batch, and what else the model takes."""
        texts = [text_of(read.pixels) for read in self._filled(reads)]
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
