"""Corruptions of photographs, in five strengths each, the same for the same seed.

They stand for what a camera meets: noise of a small sensor, defocus, fog, night, strong
compression, overexposure. The strengths are chosen so that a viewer hardly sees the
first and still names the classes at the fifth.
"""

from collections.abc import Callable

import cv2
import numpy as np

STRENGTHS = (1, 2, 3, 4, 5)
Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def noise(frame: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Add normal noise to each value."""
    deviation = (6, 12, 20, 30, 45)[k]
    return frame + random.normal(0, deviation, frame.shape)


def blur(frame: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian whose width is a share of the frame's."""
    sigma = (1, 2, 3.5, 5.5, 8)[k] * frame.shape[1] / 1000
    return cv2.GaussianBlur(frame, (0, 0), sigma)


def fog(frame: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Mix each row with grey, more where a road in that row is farther away.

    The horizon lies at 0.45 of the height; rows above it count as far away.
    Light falls off exponentially with distance (Koschmieder's law).
    """
    height, width = frame.shape[:2]
    row = np.arange(height)[:, None, None] / height
    distance = np.minimum(1, 0.06 / np.maximum(row - 0.45, 0.06))
    patches = cv2.resize(
        random.normal(0, 1, (4, 6)), (width, height), interpolation=cv2.INTER_CUBIC
    )
    density = (0.4, 0.8, 1.3, 2, 3)[k] * (1 + 0.15 * patches[:, :, None])
    passed = np.exp(-density * distance)
    return frame * passed + 205 * (1 - passed)


def night(frame: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Darken, tint blue (the frame is BGR) and add the noise of few photons."""
    gamma, gain = ((1.1, 0.75), (1.3, 0.6), (1.5, 0.45), (1.7, 0.35), (1.9, 0.3))[k]
    light = 255 * gain * (frame / 255) ** gamma * (1.1, 0.95, 0.85)
    return light + random.normal(0, 1, frame.shape) * (1 + np.sqrt(light) / 2)


def jpeg(frame: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Compress and decode again."""
    quality = (40, 25, 15, 9, 5)[k]
    content = cv2.imencode('.jpg', frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(content, cv2.IMREAD_COLOR)


def brightness(frame: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Expose longer, so that bright parts are cut off."""
    return frame * (1.2, 1.5, 1.8, 2.2, 2.7)[k]


CORRUPTIONS: dict[str, Corruption] = {
    one.__name__: one for one in (noise, blur, fog, night, jpeg, brightness)
}


def corrupted(frame: np.ndarray, kind: str, strength: int, seed: int) -> np.ndarray:
    """Return a corrupted frame.

    Args:
        frame: (H, W, 3) uint8, BGR.
        kind: One of `CORRUPTIONS`.
        strength: 1 to 5.
        seed: Seed of what is random in this frame.

    Raises:
        ValueError: The frame has another type or number of channels.
    """
    if frame.dtype != np.uint8 or frame.shape[2:] != (3,):
        raise ValueError(
            f'Corruptions are for images of 3 channels and 8 bits, not of shape '
            f'{frame.shape} and {frame.dtype}.'
        )
    random = np.random.default_rng([seed, strength, list(CORRUPTIONS).index(kind)])
    found = CORRUPTIONS[kind](frame, strength - 1, random)
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)
