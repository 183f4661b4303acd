"""The aggregated Jaccard index (Kumar et al. 2017)."""

from __future__ import annotations

import numpy as np

from cytotome.ops.matching import Overlaps


def aggregated_jaccard_index(overlaps: Overlaps) -> float:
    """Aggregated Jaccard index of one image, 0 to 1.

    Each truth takes the prediction of largest IoU (the first of equals); several truths may take the same one. The
    index is the sum of their intersections over the sum of their unions, to which the pixels of truths without any
    prediction and of predictions that nobody took are added.

    Returns:
        1 where there is neither truth nor prediction.
    """
    truths, predictions = len(overlaps.truth_areas), len(overlaps.prediction_areas)
    if truths + predictions == 0:
        return 1.0
    order = np.lexsort((overlaps.prediction, -overlaps.iou, overlaps.truth))
    found, first = np.unique(overlaps.truth[order], return_index=True)
    taken = order[first]
    missed = np.ones(truths, bool)
    missed[found] = False
    unused = np.ones(predictions, bool)
    unused[overlaps.prediction[taken]] = False
    union = overlaps.union[taken].sum() + overlaps.truth_areas[missed].sum() + overlaps.prediction_areas[unused].sum()
    return float(overlaps.intersection[taken].sum() / union) if union else 0.0
