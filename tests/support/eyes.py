"""How far apart colours are for people's eyes, and how well text of a colour is read."""

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb

__all__ = ["SIGHTS", "Floats", "apart_1976", "apart_2000", "contrast", "lab"]

Floats = npt.NDArray[np.float64]

# Linear RGB as it is seen with one kind of cones missing: Machado, Oliveira and Fernandes 2009, severity 1.0.
_MACHADO = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
SIGHTS: dict[str, Floats] = {"normal": np.eye(3), **{name: np.array(rows) for name, rows in _MACHADO.items()}}
# sRGB to CIE XYZ, and the white D65 (IEC 61966-2-1).
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = np.array([0.95047, 1.0, 1.08883])
_FAR = 25.0**7


def lab(colour: str, sight: Floats) -> Floats:
    """Return a colour as CIE L*, a* and b*."""
    x, y, z = _XYZ @ np.clip(sight @ _linear(colour), 0, 1) / _WHITE
    fx, fy, fz = (v ** (1 / 3) if v > (6 / 29) ** 3 else v / (3 * (6 / 29) ** 2) + 4 / 29 for v in (x, y, z))
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


def apart_1976(one: Floats, other: Floats) -> float:
    """Return the colour difference ΔE*ab of CIE 1976."""
    return float(np.linalg.norm(one - other))


def apart_2000(one: Floats, other: Floats) -> float:
    """Return the colour difference CIEDE2000 (ISO/CIE 11664-6)."""
    mean = (np.hypot(*one[1:]) + np.hypot(*other[1:])) / 2
    stretch = 1 + 0.5 * (1 - np.sqrt(mean**7 / (mean**7 + _FAR)))
    chroma = [float(np.hypot(stretch * each[1], each[2])) for each in (one, other)]
    hue = [float(np.degrees(np.arctan2(each[2], stretch * each[1])) % 360) for each in (one, other)]
    turn = (hue[1] - hue[0] + 180) % 360 - 180 if all(chroma) else 0.0
    light, full = (one[0] + other[0]) / 2, sum(chroma) / 2
    middle = (hue[0] + turn / 2) % 360 if all(chroma) else sum(hue)
    waves = ((0.17, 1, -30), (-0.24, 2, 0), (-0.32, 3, 6), (0.20, 4, -63))
    tint = 1 - sum(size * np.cos(np.radians(times * middle + by)) for size, times, by in waves)
    rotation = np.radians(60 * np.exp(-(((middle - 275) / 25) ** 2)))
    parts = (
        (other[0] - one[0]) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)),
        (chroma[1] - chroma[0]) / (1 + 0.045 * full),
        2 * np.sqrt(chroma[0] * chroma[1]) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * full * tint),
    )
    across = -2 * np.sqrt(full**7 / (full**7 + _FAR)) * np.sin(rotation)
    return float(np.sqrt(sum(part**2 for part in parts) + across * parts[1] * parts[2]))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours by WCAG 2.2, from 1 to 21."""
    dark, light = sorted(float(_XYZ[1] @ _linear(each)) for each in (one, other))
    return (light + 0.05) / (dark + 0.05)


def _linear(colour: str) -> Floats:
    encoded = np.array(to_rgb(colour))
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
