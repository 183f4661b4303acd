"""The aggregated Jaccard index (Kumar et al. 2017)."""

from __future__ import annotations

import numpy as np

from cytotome.ops.matching import Overlaps


def aggregated_jaccard_index(overlaps: Overlaps) -> float:
    """Aggregated Jaccard index of one image, 0 to 1.

    Each truth is matched to the prediction with the highest IoU (the first of equals); several truths may be matched to
    the same one. The index is the sum of their intersections divided by the sum of their unions plus the pixels of
    unmatched truths and predictions.

    Returns:
        1 if there is neither truth nor prediction.
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
