"""Conversion of optical phase to the grey levels of a phase-contrast microscope."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from cytotome.types import FloatArray

BACKGROUND = 128.0
HALO = ((1.25, 0.92), (4.0, 0.08))


def phase_contrast(phase: FloatArray, gain: float, focus: float) -> FloatArray:
    """Computes grey levels without noise.

    The image of a thin object is the phase minus the phase blurred by the ring of the objective (Yin, Kanade and Chen,
    Medical Image Analysis 2012): dark objects within bright halos, while extended areas of constant phase fade to the
    background. The sine makes thick round objects bright in the middle.

    Args:
        phase: ``(H, W)`` float32, radians.
        gain: grey levels per radian.
        focus: standard deviation of the blur, in pixels.
    """
    retarded = np.sin(np.minimum(phase, 2.8))
    contrast = retarded.copy()
    for deviation, weight in HALO:
        contrast -= np.float32(weight) * cv2.GaussianBlur(retarded, (0, 0), deviation)
    blurred = cv2.GaussianBlur(contrast, (0, 0), focus)
    return np.asarray(BACKGROUND - gain * blurred, np.float32)


def record(levels: FloatArray, noise: float, shade: float, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """``(H, W)`` uint8 as recorded by a camera, with uneven light and noise of this standard deviation, in grey
    levels.
    """
    seen = levels + np.float32(noise) * random.standard_normal(levels.shape, np.float32)
    seen += np.float32(shade) * smooth_field(levels.shape, 3, random)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


def smooth_field(shape: tuple[int, ...], knots: int, random: np.random.Generator) -> FloatArray:
    """``(H, W)`` float32, standard normal values on a grid of ``knots``, interpolated smoothly."""
    grid = random.standard_normal((knots, knots), np.float32)
    return np.asarray(cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def granules(shape: tuple[int, int], random: np.random.Generator) -> FloatArray:
    """``(H, W)`` float32 texture of unit variance with grains of about two pixels, few of them strong."""
    white = random.standard_normal(shape, np.float32)
    grains = cv2.GaussianBlur(white, (0, 0), 0.8) - cv2.GaussianBlur(white, (0, 0), 2.0)
    grains *= np.abs(grains)
    return np.asarray(grains / max(float(grains.std()), 1e-6), np.float32)
