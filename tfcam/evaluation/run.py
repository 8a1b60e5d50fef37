"""One evaluation: pictures are read, explained, measured and kept batch by batch."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfcam.data.example import Example, Mark, Skipped, Source, split_by_class
from tfcam.data.marks import check_same, label_text, mark_at, marks
from tfcam.evaluation.aggregate import LeftOut, Tally
from tfcam.evaluation.candidates import Candidates
from tfcam.evaluation.measure import NOT_FINITE, Row, measure_batch
from tfcam.evaluation.question import Case, Question
from tfcam.evaluation.result import Evaluation, conclude
from tfcam.evaluation.store import Store
from tfcam.metrics.measure import ASKING, Measure
from tfcam.metrics.probing import Probe
from tfcam.targets.classes import Difference
from tfcam.targets.two_classes import NUMBER
from tfcam.utils.digest import digest_arrays
from tfcam.utils.digest_parts import digest_parts
from tfcam.utils.files import storable
from tfcam.utils.prefetch import work_ahead
from tfcam.utils.progress import Advance
from tfcam.utils.run_folder import noting
from tfcam.utils.versions import versions

# Why a metric gave nothing, by what it needs.
_WITHOUT = {
    "boxes": "no picture has boxes, which some metrics need: put VOC's XML or COCO's JSON beside "
    "the pictures or name their place by annotations=, or give tfcam.Example(..., boxes=...)",
    "region": "no picture has boxes or a mask with a pixel of the object, which some metrics need",
    "": "every map held NaN or infinity",
}


class EvaluationRun:
    """An evaluation, which can be stopped after each batch and goes on from there.

    Args:
        question: What is asked of the model.
        candidates: The makers of maps that are compared.
        measures: The metrics.
        source: The pictures.
        folder: The folder that keeps what is done; None for none.
        seed: The seed of random maps and of the intervals.
        skip_broken: Whether a picture that can't be used is left out; else it is an error.
        key: What the user's own functions are told apart by; None for their code.

    Raises:
        ValueError: If the folder holds another run.
    """

    def __init__(
        self,
        question: Question,
        candidates: Candidates,
        measures: Sequence[Measure],
        source: Source,
        folder: Path | None,
        seed: int,
        skip_broken: bool,
        key: str | None = None,
    ) -> None:
        self._question, self._candidates, self._measures = question, candidates, measures
        self._source, self._seed, self._skip_broken = source, seed, skip_broken
        self._settings = self._described()
        makers: dict[str, Any] = {"preprocess": question.preprocess, "methods": candidates.makers}
        makers["target"] = question.target
        self._digest = partial(digest_parts, key, **makers)
        self._store = None
        if folder is not None:
            told = {"key": key, **digest_parts(key, model=question.model), **self._digest()}
            self._store = Store(folder, self._settings | told)
        of_sets = {measure.name: measure.make for measure in measures if measure.kind == "set"}
        self._tally = Tally(of_sets, seed)
        self._batches: list[pd.DataFrame] = []
        self._names: set[str] = set()  # of the pictures that were measured
        self._pictures: Generator[Example | Skipped] = work_ahead(())

    @property
    def position(self) -> int:
        """The number of pictures of the source that are done."""
        return self._tally.position

    def resume(self) -> None:
        """Take up what the folder holds, and go to the first picture that is not done.

        Raises:
            ValueError: If the source gives another picture where it stopped.
        """
        if self._store:
            stored = self._store.read(Row._fields)
            self._batches = stored.batches
            if stored.state:
                self._tally.restore(stored.state)
            self._compare(stored.pictures)
        self._names = {name for batch in self._batches for name in batch["image"].unique()}
        ahead = self._question.settings.at_once  # the next batch, while one is measured
        self._pictures = work_ahead(self._source.read(self.position), ahead)

    def close(self) -> None:
        """Read no more."""
        self._pictures.close()

    def _compare(self, pictures: Sequence[tuple[str, Mark]]) -> None:
        """Check that the source gives the pictures that are done.

        Raises:
            ValueError: If one is another.
        """
        now = marks(self._source, range(len(pictures)))
        for number, (name, kept) in enumerate(pictures):
            check_same(number, name, kept, next(now, None), f"{self._source.kind}s")

    def noting(self) -> AbstractContextManager[None]:
        """Note at the end of a block what has changed while it ran."""
        if self._store is None:
            return nullcontext()
        return noting(self._store.folder, self._digest)

    def step(self, advance: Advance) -> bool:
        """Measure the next batch of pictures and keep what comes of it.

        Args:
            advance: Called with the number of pictures that are done since.

        Returns:
            Whether there was one.

        Raises:
            ValueError: If a picture can't be used and none is to be left out.
        """
        size = self._question.settings.at_once
        pictures = list(itertools.islice(self._pictures, size))
        if not pictures:
            return False
        cases = self._explainable(self._usable(pictures))
        rows: list[Row] = []
        for run in self._question.runs(cases):
            for start in range(run.start, run.stop, size):
                rows += self._measure(cases[start : min(start + size, run.stop)], advance)
        start = self.position
        self._tally.position += len(pictures)
        held = [[*map(storable, row)] for row in rows]
        self._batches.append(pd.DataFrame(held, columns=Row._fields).astype({"value": float}))
        if self._store:
            marked = [self._mark(number, one) for number, one in enumerate(pictures, start)]
            number = len(self._batches) - 1
            self._store.write(number, self._batches[-1], self._tally.state(), marked)
        advance(len(pictures) - len(cases))  # those that were left out, or have several classes
        return True

    def _ranges(self, table: pd.DataFrame) -> dict[str, tuple[float, float]]:
        """Find the range of each metric: what the model is asked for may be no probability."""
        target = self._question.target
        likely = not callable(target) and not isinstance(target, Difference)
        likely &= not (table["target"] == NUMBER).any()
        return {one.name: one.within for one in self._measures if likely or one.kind not in ASKING}

    def conclude(self) -> Evaluation:
        """Sum up what was measured.

        Raises:
            ValueError: If nothing could be measured.
        """
        if not self._tally.pictures:
            none = LeftOut(self._source.name, "there is none")
            name, reason = (self._tally.skipped or [none])[0]
            raise ValueError(f"No picture could be measured. The first: {name}: {reason}")
        filled = [batch for batch in self._batches if len(batch)]
        table = pd.concat(filled or self._batches[:1], ignore_index=True)
        missing = self._missing(table)
        if len(missing) == len(self._measures):
            reasons = "; ".join(dict.fromkeys(missing.values()))
            raise ValueError(
                f"No metric gave a number for any of the {self._tally.pictures} pictures: "
                f"{reasons}."
            )
        return conclude(
            table,
            self._tally,
            {measure.name: measure.better for measure in self._measures},
            {candidate.key: candidate.kind for candidate in self._candidates.all},
            {
                **{name: value for name, value in self._settings.items() if value is not None},
                "not_measured": missing | self._silent(table),
                "meanings": {measure.name: measure.meaning for measure in self._measures},
                "versions": versions(),
            },
            self._seed,
            self._ranges(table),
        )

    def _missing(self, table: pd.DataFrame) -> dict[str, str]:
        """Find the metrics that gave nothing, each with the reason."""
        measured = {*table["metric"], *(key.metric for key in self._tally.sets)}
        missing = [measure for measure in self._measures if measure.name not in measured]
        return {measure.name: _WITHOUT[measure.needs] for measure in missing}

    def _silent(self, table: pd.DataFrame) -> dict[str, str]:
        """Find the makers of maps of which no metric gave a number, each with the reason."""
        heard = {*zip(table["method"], table["layer"], strict=True)}
        heard |= {(key.method, key.layer) for key in self._tally.sets}
        silent = [one.name for one in self._candidates.all if one.key not in heard]
        left_out = Counter(reason for _, reason in self._tally.skipped)
        every = [left_out[f"{name}: {NOT_FINITE}"] == self._tally.pictures for name in silent]
        reasons = (_WITHOUT[""] if bad else "no metric gave a number of it" for bad in every)
        return dict(zip(silent, reasons, strict=True))

    def _described(self) -> dict[str, Any]:
        """Describe what the run depends on, as JSON can hold it."""
        model, tiling = self._question.model, self._candidates.tiling
        return {
            "model": model.name,
            "weights_digest": digest_arrays(*(np.asarray(weight) for weight in model.variables)),
            "data": self._source.name,
            "pictures_digest": self._source.key,
            "compared": [candidate.name for candidate in self._candidates.all],
            "methods": self._candidates.described,
            "metrics": [measure.described for measure in self._measures],
            **self._question.described(),
            **({} if self._source.unit is None else {"unit": self._source.unit}),
            **({} if tiling is None else {"tile": [*tiling.tile]}),
            "seed": self._seed,
            "skip_broken": self._skip_broken,
        }

    def _usable(self, pictures: Sequence[Example | Skipped]) -> list[Example]:
        """List what can be read, each by a name of its own; the rest is noted, or refused."""
        usable: list[Example] = []
        for picture in pictures:
            if isinstance(picture, Example):
                usable += split_by_class(picture) if self._question.of_labels else [picture]
            elif self._skip_broken:
                self._tally.skipped.append(LeftOut(picture.id, picture.reason))
            else:
                raise ValueError(f"{picture.id} can not be used: {picture.reason}")
        for place, example in enumerate(usable):
            if example.id in self._names:
                usable[place] = replace(example, id=f"{example.id} ({self.position + place})")
            self._names.add(usable[place].id)
        return usable

    def _explainable(self, examples: Sequence[Example]) -> list[Case]:
        """List the pictures whose class can be explained, with that class."""
        cases = []
        for example in examples:
            try:
                cases.append(self._question.case(example, self._source.label_names))
            except ValueError as error:
                if not self._skip_broken:
                    raise ValueError(f"{example.id} can not be explained: {error}") from None
                self._tally.skipped.append(LeftOut(example.id, str(error)))
        return cases

    def _mark(self, number: int, picture: Example | Skipped) -> tuple[str, Mark]:
        """A picture's name and mark, as JSON can hold them."""
        mark = mark_at(self._source, number, picture)
        return picture.id, mark._replace(label=label_text(mark.label))

    def _mind(self, probe: Probe) -> None:
        """Note what is to be minded of pictures, and of layers that look at them."""
        for of_picture in self._question.findings(probe):
            for found in of_picture:
                self._tally.mind(found.code, found)
        for found in self._candidates.findings(probe.inputs.shape[1:-1]):
            self._tally.mind(found.message, found, len(probe))

    def _measure(self, cases: Sequence[Case], advance: Advance) -> list[Row]:
        """Measure at most as many pictures as the model is asked about at once."""
        probe = self._question.probe(cases)
        rows = measure_batch(
            [case.example for case in cases],
            probe,
            [self._question.label(pair) for pair in probe.pairs],
            self._candidates,
            self._measures,
            self._tally,
            advance,
        )
        self._mind(probe)
        return rows
