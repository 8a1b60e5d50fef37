"""Shard after shard of a data set explained, while the next pictures are read.

Three threads at work: one prepares batches from what several others decode, one runs the network,
and whoever uses the rows makes them of what it gave.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from tfcam.data.example import Example, Mark, Skipped, Source
from tfcam.data.marks import mark_at
from tfcam.engine.runner import Replicated
from tfcam.explainer.checks import of_picture
from tfcam.explainer.pipeline import Pipeline, Run
from tfcam.findings import Finding
from tfcam.images.loading import is_prepared, resize_image
from tfcam.metrics.probing import Probe
from tfcam.metrics.removal_test import Removal, mark_unsupported, removal_tests
from tfcam.model.labels import class_of
from tfcam.model.several import at_once
from tfcam.preprocessing.prepare import Prepared
from tfcam.preprocessing.sizes import keep_their_sizes, size_for
from tfcam.results.explanation import Explanation
from tfcam.streaming.shard_files import TESTED, Row, SkippedRow, kept_of
from tfcam.targets.classes import Target
from tfcam.targets.labels import asks_label, label_of_output
from tfcam.targets.resolve import ResolvedTarget
from tfcam.utils.prefetch import map_in_order, work_ahead

# Pictures that wait are small: no more than the network takes of each.
_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Read:
    """A picture as the network takes it.

    Attributes:
        number: Its place in the data.
        key: Its name.
        pixels: (h, w, C) uint8 in the network's size, or floats that were given prepared.
        size: (height, width) of the picture as given; None of one that was given prepared, and of
            videos and volumes.
        mark: What tells it from others, and its label in the data.
        target: What is explained of it, where each has its own target.
        seen: What to mind of the picture as it was given.
    """

    number: int
    key: str
    pixels: np.ndarray
    size: tuple[int, int] | None
    mark: Mark
    target: int | None = None
    seen: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Pictures of one shard that go through the network together.

    Attributes:
        shard: The shard's number.
        reads: The pictures; empty where there are none left.
        skipped: The pictures before them that could not be used.
        prepared: What the network takes, filled up to the size of a batch.
        targets: What is explained, as an engine takes it.
        pixels: The pictures, where they are asked about once more.
        results: Makes the rows of what the network gave.
    """

    shard: int
    reads: Sequence[Read]
    skipped: Sequence[SkippedRow]
    prepared: Prepared | None = None
    targets: list[ResolvedTarget] = field(default_factory=list)
    pixels: Sequence[np.ndarray] = ()
    results: Callable[[], list[Row]] = list


class ShardExplainer:
    """Explains shards of a data set with a model that is prepared once.

    Args:
        pipeline: The pipeline that explains them.
        source: The pictures.
        target: The target of all, or "label" for each picture's own.
        batch_size: Number of pictures that go through the network together.
        shard_size: Number of pictures in a shard.
        verify: Whether each map is tested.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        source: Source,
        target: Target,
        batch_size: int,
        shard_size: int,
        verify: bool = False,
    ) -> None:
        self.verify = verify
        self.pipeline, self.source, self.target = pipeline, source, target
        self.batch_size = at_once(pipeline.opened.graph, batch_size)
        self.shard_size = shard_size
        self._first: tuple[str, tuple[int, ...]] | None = None

    @property
    def _ahead(self) -> int:
        """The number of pictures that wait to be used, at most."""
        return 2 * self.batch_size

    @functools.cached_property
    def _size(self) -> tuple[int, int] | None:
        """The size of all pictures at the network; None where each keeps its own."""
        graph = self.pipeline.opened.graph
        shape = graph.inputs[0].shape
        if None in shape[:2] and graph.family is None:
            return None
        return size_for(graph, shape, [np.zeros((1, 1, 3), np.uint8)])

    @functools.cached_property
    def _of_any_size(self) -> bool:
        """Whether pictures keep their own sizes."""
        return keep_their_sizes(self.pipeline.opened.graph)

    def batches(self, shards: Iterable[int]) -> Generator[Batch]:
        """Compute the batches of shards, in order.

        Args:
            shards: Their numbers, rising; where the data end, so does this.
        """
        return work_ahead(self._computed(work_ahead(self._prepared(self._grouped(shards)))))

    # --- reading ----------------------------------------------------------------------------

    def _read(self, shards: Iterable[int]) -> Iterator[Read | SkippedRow]:
        """Read each picture of the shards, in order; none of those between them."""
        item, depth = self.source.item, self._ahead
        if item is None:
            numbered = self._one_by_one(shards)
            return map_in_order(lambda pair: self._shrunk(*pair), numbered, _THREADS, depth)
        every = (number for shard in shards for number in range(*self._range(shard)))
        numbers = (number for number in every if number < (self.source.count or 0))
        return map_in_order(lambda n: self._shrunk(n, item(n)), numbers, _THREADS, depth)

    def _one_by_one(self, shards: Iterable[int]) -> Iterator[tuple[int, Example | Skipped]]:
        """Number the pictures of data that can be read in order only."""
        reader, at = None, 0
        for shard in shards:
            start, stop = self._range(shard)
            if reader is None or at != start:
                reader = self.source.read(start)
            at = start
            for example in itertools.islice(reader, stop - start):
                yield at, example
                at += 1
            if at < stop:
                return

    def _range(self, shard: int) -> tuple[int, int]:
        return shard * self.shard_size, (shard + 1) * self.shard_size

    def _shrunk(self, number: int, example: Example | Skipped) -> Read | SkippedRow:
        """Shrink a picture to the network's size: the large one is let go of at once."""
        mark = mark_at(self.source, number, example)
        kept = kept_of(mark)
        if isinstance(example, Skipped):
            return SkippedRow(number, example.id, example.reason, *kept)
        try:
            target = self._target_of(example)
        except ValueError as error:
            return SkippedRow(number, example.id, str(error), *kept)
        image = self.pipeline.opened.graph.inputs[0].folded(example.image)
        pixels, size = self._taken(image)
        return Read(number, example.id, pixels, size, mark, target, tuple(of_picture(image)))

    def _taken(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int] | None]:
        """Shrink a picture to the network's size; and the size that it had."""
        graph = self.pipeline.opened.graph
        if is_prepared(image):
            return image, None
        wanted = self._size or size_for(graph, graph.inputs[0].shape, [image])
        return resize_image(image, wanted), (image.shape[0], image.shape[1])

    def _target_of(self, example: Example) -> int | None:
        if not asks_label(self.target):
            return None
        if example.label is None:
            raise ValueError("it has no label, and target='label' explains that.")
        pipeline = self.pipeline
        label = label_of_output(example.label, pipeline.settings.output)
        return class_of(label, self.source.label_names, pipeline.classes, pipeline.labels)

    # --- the network ------------------------------------------------------------------------

    def _grouped(self, shards: Iterable[int]) -> Iterator[Batch]:
        """Group pictures to batches within their shard: how far a run came changes none of them."""
        pictures = self._read(shards)
        for shard, group in itertools.groupby(pictures, lambda p: p.number // self.shard_size):
            reads: list[Read] = []
            skipped: list[SkippedRow] = []
            for picture in group:
                if isinstance(picture, SkippedRow):
                    skipped.append(picture)
                    continue
                if len(reads) == self.batch_size or self._differs(picture, reads):
                    yield Batch(shard, reads, skipped)
                    reads, skipped = [], []
                reads.append(picture)
            yield Batch(shard, reads, skipped)

    def _differs(self, picture: Read, reads: Sequence[Read]) -> bool:
        """Whether a picture can't be in a batch with others, as it keeps a size of its own."""
        several = bool(reads) and self._of_any_size
        return several and picture.pixels.shape != reads[0].pixels.shape

    def _prepared(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        return (self._ready(batch) if batch.reads else batch for batch in batches)

    def _ready(self, batch: Batch) -> Batch:
        """Prepare a batch for the network."""
        full = self._filled(batch.reads)
        prepared = self.pipeline.prepare([read.pixels for read in full], shown=False)
        # Results need no more of the pictures than their sizes.
        images = [
            np.broadcast_to(np.uint8(0), (*(read.size or shown.shape[:-1]), 3))
            for read, shown in zip(batch.reads, prepared.images, strict=False)
        ]
        pixels = [read.pixels for read in batch.reads] if self.verify else []
        return replace(
            batch,
            reads=[replace(read, pixels=np.empty(0)) for read in batch.reads],
            prepared=replace(prepared, images=images, seen=tuple(read.seen for read in full)),
            targets=self._targets(full),
            pixels=pixels,
        )

    def _filled(self, reads: Sequence[Read]) -> list[Read]:
        """Fill a batch up with its last picture: another size would have to be traced anew.

        It is anyway where pictures keep their own.
        """
        if self._of_any_size and not isinstance(self.pipeline.engine.runner, Replicated):
            return list(reads)
        return [*reads, *[reads[-1]] * (self.batch_size - len(reads))]

    def _targets(self, reads: Sequence[Read]) -> list[ResolvedTarget]:
        own = [read.target for read in reads] if asks_label(self.target) else self.target
        return self.pipeline.targets(own, len(reads))

    def _computed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if batch.prepared is None:
                yield batch
                continue
            run = self.pipeline.compute(batch.prepared, batch.targets)
            results = partial(self._rows, batch.reads, run, batch.pixels)
            yield replace(batch, prepared=None, pixels=(), results=results)

    def _rows(self, reads: Sequence[Read], run: Run, pixels: Sequence[np.ndarray]) -> list[Row]:
        explanations = self.pipeline.assemble(run)
        for read, explanation in zip(reads, explanations, strict=True):
            self._check_shape(read.key, explanation.raw.shape)
        rows = [
            Row(read.number, read.key, read.mark, explanation)
            for read, explanation in zip(reads, explanations, strict=True)
        ]
        return self._tested(rows, reads, pixels) if self.verify else rows

    def _check_shape(self, key: str, shape: tuple[int, ...]) -> None:
        """Refuse maps of several shapes, as of pictures of any size."""
        self._first = self._first or (key, shape)
        if shape != self._first[1]:
            raise ValueError(
                f"A store holds maps of one shape, and {self.pipeline.model.name!r} gives them as "
                f"large as pictures are: {self._first[1]} of {self._first[0]!r}, {shape} of "
                f"{key!r}. Give pictures of one size, or explain them by tfcam.Explainer."
            )

    def _tested(
        self, rows: Sequence[Row], reads: Sequence[Read], pixels: Sequence[np.ndarray]
    ) -> list[Row]:
        """Test each map that is finite."""
        codes = [[one.code for one in row.explanation.findings] for row in rows]
        places = [place for place, of_map in enumerate(codes) if "not_finite" not in of_map]
        maps = [rows[place].explanation for place in places]
        chosen = [reads[place] for place in places], [pixels[place] for place in places]
        tests = self._tests(maps, *chosen) if places else []
        tested = [replace(row, tested=dict.fromkeys(TESTED)) for row in rows]
        for place, test in zip(places, tests, strict=True):
            explanation = self._marked(rows[place].explanation, test)
            tested[place] = replace(rows[place], explanation=explanation, tested=test._asdict())
        return tested

    def _marked(self, explanation: Explanation, test: Removal) -> Explanation:
        """Add what the test says to an explanation, where it is a warning."""
        return mark_unsupported(explanation, test)

    def _tests(
        self, maps: Sequence[Explanation], reads: Sequence[Read], pixels: Sequence[np.ndarray]
    ) -> Sequence[Removal]:
        """Test the maps of pictures."""
        pipeline, label = self.pipeline, asks_label(self.target)
        probe = Probe(
            pipeline.model,
            pixels,
            [read.target for read in reads] if label else self.target,
            preprocess=pipeline.preprocess,
            labels=pipeline.labels,
            output=pipeline.settings.output,
            batch_size=self.batch_size,
            freeze=pipeline.settings.freeze,
        )
        return removal_tests(probe, maps)
