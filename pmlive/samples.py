"""The recordings that come with pmlive, and whether a recording is known to be of a simulated venue."""

from pathlib import Path

from pmlive.errors import StoreError
from pmlive.store import read_manifest

__all__ = ["SIMULATED", "is_simulated", "sample", "simulated_tokens"]

# What the labels of simulated markets begin with, so that no picture of one passes for a real one.
SIMULATED = "simulated: "

_PACKAGE = Path(__file__).parent
# In an installed package, and in a source checkout.
_DATA = (_PACKAGE / "_data", _PACKAGE.parent / "data")
_SAMPLES = {"": "sample", "evening": "samples/evening", "updown": "samples/updown"}


def sample(name: str = "") -> Path:
    """Return the folder of a recording that comes with pmlive.

    Args:
        name: by default a minute and a half of four simulated markets, with a disconnection. ``"evening"``: an hour of
            seven simulated markets of three events, with news, fees and gaps. ``"updown"``: eighty minutes of
            five-minute markets on the price of Bitcoin; reference prices and outcomes are real, books simulated.

    Raises:
        ValueError: no sample has this name.
        StoreError: the samples are not installed.
    """
    if name not in _SAMPLES:
        raise ValueError(f"no sample {name!r}; there are {', '.join(map(repr, _SAMPLES))}")
    folders = [data / _SAMPLES[name] for data in _DATA]
    for folder in folders:
        if (folder / "manifest.json").is_file():
            return folder
    raise StoreError(
        f"the sample recording is not installed: neither {str(folders[0])!r} nor {str(folders[1])!r} has it; "
        "install pmlive from its wheel or its repository, or make a recording with: pmlive demo"
    )


def is_simulated(folder: str | Path, token_id: str | None = None) -> bool:
    """Check whether a recording, or a token of it, is known to be of a simulated venue, as the samples are."""
    samples = [data / part for data in _DATA for part in _SAMPLES.values()]
    if Path(folder).resolve() in [each.resolve() for each in samples]:
        return True
    manifest = read_manifest(Path(folder))
    return manifest.simulated or token_id in manifest.simulated_tokens


def simulated_tokens(folder: str | Path) -> list[str]:
    """Return the tokens that are known to be of a simulated venue in a recording that has others, too."""
    return read_manifest(Path(folder)).simulated_tokens
