"""How accurate a model is on corrupted images."""

from collections.abc import Callable, Iterator

import numpy as np

from mmseg_fastscnn.datasets.corruptions import CORRUPTIONS, STRENGTHS, corrupted
from mmseg_fastscnn.deploy.backends import Predictor
from mmseg_fastscnn.deploy.labelled_images import LabelledImages, miou_of

CLEAN = 'clean'
Mious = dict[str, list[float]]


def all_mious(
    predictor: Predictor, images: LabelledImages, seed: int, say: Callable[[str], None]
) -> Mious:
    """Return mIoU in percent on clean images and for each corruption and strength.

    Args:
        predictor: The model.
        images: Images with labels.
        seed: Seed of noise and fog.
        say: Takes a line for each corruption.

    Returns:
        `{'clean': [mIoU], 'noise': [mIoU of strength 1, ...], ...}`
    """
    mious = {CLEAN: [miou_of(predictor, images)]}
    say(f'{CLEAN}: {mious[CLEAN][0]:.2f}')
    for kind in CORRUPTIONS:
        mious[kind] = [
            miou_of(predictor, corrupted_images(images, kind, strength, seed))
            for strength in STRENGTHS
        ]
        say(f'{kind}: ' + ', '.join(f'{miou:.2f}' for miou in mious[kind]))
    return mious


def corrupted_images(
    images: LabelledImages, kind: str, strength: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for k, (frame, label) in enumerate(images):
        yield corrupted(frame, kind, strength, seed + k), label


def retained(mious: Mious) -> dict[str, float]:
    """Return each corruption's mean mIoU in percent of the clean one, and the mean."""
    clean = mious[CLEAN][0]
    shares = {
        kind: 100 * float(np.mean(values)) / clean if clean else float('nan')
        for kind, values in mious.items()
        if kind != CLEAN
    }
    return {**shares, 'mean': float(np.mean(list(shares.values())))}
