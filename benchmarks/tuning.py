"""Times the tuner: 1,000 settings of a model on cached predictions of all labelled images.

    python benchmarks/tuning.py DATA [--model neurons] [--cache DIR] [--trials 60]

The networks run once per image, which is not timed; the model was trained on the images, so the scores are meaningless.
Processor time is that of this process only, in case the machine does other work. Writes ``results/tuning.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from cytotome.datasets import open_dataset
from cytotome.io.files import atomic_path
from cytotome.tuning.held_out import CachedOutputs, parse_method
from cytotome.tuning.nested import TunableModel
from cytotome.tuning.search import OptunaSearch, Table, greedy

RESULT = Path(__file__).parent / "results" / "tuning.json"
LIMIT = 120


def main() -> None:
    """Measures both searches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="neurons")
    parser.add_argument("--cache", type=Path, default=Path(".cytotome-cache"))
    parser.add_argument("--trials", type=int, default=60, help="of the sampler; each is tried with about 20 limits")
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    places = [place for place, info in enumerate(dataset.infos) if info.is_scored]
    samples = [dataset[place] for place in places]
    predictions = CachedOutputs(parse_method(options.model), options.cache, device="cpu")
    outputs = predictions.outputs(samples, [0] * len(samples))
    model = predictions.model_of(0)
    entry: dict[str, object] = {"model": options.model, "images": len(samples), "limit": LIMIT}
    for name in ("optuna", "greedy"):
        method = TunableModel(model.family, model.file.config, model.parameters, outputs, samples)
        method.candidates(0, method.start)  # compiles
        table = Table(method, [sample.instances for sample in samples])
        start, used = time.perf_counter(), time.process_time()
        if name == "greedy":
            greedy(table, range(len(samples)), method.start)
        else:
            OptunaSearch(trials=options.trials)(table, range(len(samples)), method.start)
        seconds = time.perf_counter() - start
        used = time.process_time() - used
        entry[name] = {"settings": table.tried, "seconds": round(seconds, 1), "cpu_seconds": round(used, 1)}
        print(f"{name}: {table.tried} settings in {seconds:.1f} s, {used:.1f} s of them on the processor", flush=True)
    with atomic_path(RESULT) as temporary:
        temporary.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
