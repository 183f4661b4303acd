"""A run of ``cytotome segment``: planning, segmentation and final messages."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cytotome.app.console import (
    Notices,
    interruption,
    printable,
    progress,
    say,
    telling_of_compiling,
    warn_of_failures,
)
from cytotome.app.discover import Found, Source, search, split_clashes, split_unspeakable
from cytotome.app.segment.maps import COLOURS_FILE, MapPictures, map_specs
from cytotome.app.segment.marks import Marks
from cytotome.app.segment.old_marks import complete_marks
from cytotome.app.segment.results import Results, read_run
from cytotome.app.segment.resume import Work, may_replace, plan_work
from cytotome.app.segment.settings import SegmentOptions, differences, effective_settings, versions
from cytotome.app.segment.stream import Segmenting, Tally
from cytotome.ensemble.load import load_model
from cytotome.errors import ConfigError, DataError
from cytotome.inference.segmenter import Segmenter
from cytotome.io.exports import load_export


def run_segment(inputs: Sequence[str], output: Path, options: SegmentOptions) -> int:
    """Segments images to a folder; returns the number of images and tables that could not be written.

    Raises:
        ConfigError: if inputs or options are wrong, or the folder holds results of other settings.
        ModelError: if the model cannot be loaded.
        DataError: if the folder cannot be written.
    """
    found = search(inputs, output)
    sources, failures = _images(found, options)
    exports = {name: load_export(name) for name in options.exports}
    model = load_model(options.model, device=options.device, precision=options.precision)
    before = read_run(output)
    coco = options.coco or bool(before and before.get("coco"))  # an existing COCO file is kept up to date
    maps = [spec.name for spec in map_specs(model)] if options.maps else []
    settings = effective_settings(model, options)
    results = Results(output, settings, overlays=options.overlays, maps=maps, coco=coco, exports=exports)
    if not options.overwrite and (path := results.in_the_way(sources)):
        raise ConfigError(f"{path}: exists and belongs to no run; use --overwrite to replace it, or another folder")
    try:
        complete_marks(output)
        marks = Marks(output)
        sources, clashes = split_clashes(marks.known(sources))
        tally = Tally(len(sources) + len(clashes) + len(failures), failures=failures | clashes)
        others = may_replace(before, settings)
        work = plan_work(results, marks, sources, tally.notices, overwrite=options.overwrite, others=others)
        tally.skipped, tally.cells = work.done, work.cells
        tally.failures |= work.failures
        record = _record(model, results, inputs, options)
        record["overwrite"] = options.overwrite or others
        results.sweep()
        results.write_run(record | {"state": "running"})
        seconds = _run(model, results, work, tally, options, record)
    except OSError as error:
        place = error.filename or output
        raise DataError(
            f"{place}: cannot be written ({error.strerror or error}); fix this, then run the same command to resume"
        ) from error
    _tell(tally, found, seconds, output, options.quiet)
    return len(tally.failures) + len(tally.kept)


def _images(found: Found, options: SegmentOptions) -> tuple[list[Source], dict[str, str]]:
    """Returns the images of a run, and a message for each with an unsupported name."""
    sources, failures = split_unspeakable(found.sources)
    if options.page == "all":
        sources = [page for source in sources for page in source.pages()]
    return sources, failures


def _record(model: Segmenter, results: Results, inputs: Sequence[str], options: SegmentOptions) -> dict[str, Any]:
    """The initial content of ``run.json``."""
    return {
        "cytotome": versions()["cytotome"],
        "settings": results.settings,
        "coco": results.coco,
        "inputs": list(map(printable, inputs)),
        "card": model.card.model_dump(mode="json"),
        "versions": versions(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _run(
    model: Segmenter, results: Results, work: Work, tally: Tally, options: SegmentOptions, record: dict[str, Any]
) -> float:
    """Runs the work and writes the tables, even if it is interrupted. Returns its duration in seconds."""
    start, state = time.perf_counter(), "stopped"
    with telling_of_compiling(quiet=options.quiet), interruption() as stopped:
        try:
            pictures = MapPictures(map_specs(model), results.folder / COLOURS_FILE) if results.maps else None
            with progress(len(work.segment) + len(work.measure), quiet=options.quiet) as bar:
                stream = Segmenting(model, results, options, tally, pictures, bar, stopped)
                stream.segment(work.segment)
                stream.measure(work.measure)
            state = "finished"
        finally:
            others = _other_settings(results, tally.notices)
            tally.kept += [
                f"{path}: was changed after a run wrote it, or written by none, and is kept; "
                "move it elsewhere and run again to have the table of all images"
                for path in results.assemble(overwrite=options.overwrite)
            ]
            seconds = time.perf_counter() - start
            results.write_run(record | {"state": state, **_outcome(tally, seconds), "other_settings": others})
    return seconds


def _other_settings(results: Results, notices: Notices) -> list[dict[str, Any]]:
    """Settings other than this run's with which images of the folder were segmented, with the images' names."""
    others: list[tuple[Mapping[str, Any], list[str]]] = []
    for mark in results.marks():
        if not (changes := differences(mark.settings, results.settings)):
            continue
        notices.add(mark.name, f"in the folder are results of other settings ({'; '.join(changes[:4])})")
        same = next((names for settings, names in others if settings == mark.settings), None)
        if same is None:
            others.append((mark.settings, [mark.name]))
        else:
            same.append(mark.name)
    return [{"settings": dict(settings), "images": names} for settings, names in others]


def _outcome(tally: Tally, seconds: float) -> dict[str, object]:
    return {
        "images": {
            "found": tally.found,
            "segmented": tally.segmented,
            "skipped": tally.skipped,
            "corrected": tally.measured,
            "failed": len(tally.failures),
        },
        "cells_found": tally.cells,
        "seconds": round(seconds, 3),
        "images_per_second": round(tally.segmented / seconds, 3),
        "failures": {name: printable(text) for name, text in sorted(tally.failures.items())},
        "notes": list(map(printable, tally.notices.lines())),
    }


def _tell(tally: Tally, found: Found, seconds: float, output: Path, quiet: bool) -> None:
    before = f", {tally.skipped} done before" if tally.skipped else ""
    before += f", {tally.measured} measured after corrections" if tally.measured else ""
    say(
        f"{tally.segmented} of {tally.found} images segmented{before}; {tally.cells} cells"
        f"{' in all' if before else ''}; {seconds:.1f} s; results in {output}",
        quiet=quiet,
    )
    for line in (*tally.notices.lines(), *found.passed_over_lines()):
        say(f"note: {line}", quiet=quiet)
    warn_of_failures(tally.failures, tally.found, "segmented")
    warn_of_failures({text: text for text in tally.kept}, 0, "")
