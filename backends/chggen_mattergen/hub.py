"""Released models: found in the cache or downloaded, by name."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from chggen_kit.errors import CheckpointError, unknown_name
from chggen_mattergen.checkpoint import sha256_of

_LOG = logging.getLogger(__name__)

RELEASED = (
    "mattergen_base",
    "mp_20_base",
    "chemical_system",
    "chemical_system_energy_above_hull",
    "dft_band_gap",
    "dft_mag_density",
    "dft_mag_density_hhi_score",
    "ml_bulk_modulus",
    "space_group",
)
"""Names of the released models."""
_REPOSITORY = "microsoft/mattergen"
_FILES = ("checkpoints/{}/config.yaml", "checkpoints/{}/checkpoints/last.ckpt")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def find_model(name: str) -> Path:
    """Folder of the model `name`: a folder, or the name of a released model.

    Raises:
        CheckpointError: when there is no such folder and no such name, or a released model cannot be had.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name in RELEASED:
        return _download(name)
    if folder.name != name or "." in name:
        raise CheckpointError(f"There is no folder {folder}. Give the folder of a MatterGen model.")
    raise CheckpointError(f"There is no folder {name!r}. " + unknown_name("released model", name, RELEASED))


def _download(name: str) -> Path:
    """Folder of a released model: from the cache of huggingface_hub, else from its hub.

    The hub names the SHA-256 of large files, and the cache files them under it: the file is compared with that.
    """
    try:
        from huggingface_hub import constants, hf_hub_download
    except ImportError as error:
        raise CheckpointError(_advice(name, "huggingface_hub, which downloads it, is not installed")) from error
    files = [file.format(name) for file in _FILES]
    try:
        try:
            config, weights = (hf_hub_download(_REPOSITORY, file, local_files_only=True) for file in files)
        except OSError:
            _LOG.info("Downloading the MatterGen model %s from the repository %s.", name, _REPOSITORY)
            config, weights = (hf_hub_download(_REPOSITORY, file) for file in files)
    except Exception as error:  # those of httpx, by which it downloads, have no base but this one
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if constants.HF_HUB_OFFLINE:
            reason = f"the offline mode of huggingface_hub is on (HF_HUB_OFFLINE is set; {reason})"
        raise CheckpointError(_advice(name, f"it cannot be downloaded: {reason}")) from error
    _verify(Path(weights))
    return Path(config).parent


def _advice(name: str, reason: str) -> str:
    config, weights = (file.format(name) for file in _FILES)
    return (
        f"The released MatterGen model {name!r} is not on this machine, and {reason.rstrip('.')}. On a machine with a "
        f"connection fetch {config} and {weights} from the repository {_REPOSITORY} of Hugging Face, for example with "
        f"`hf download {_REPOSITORY} --include 'checkpoints/{name}/*' --local-dir models`; copy the folder "
        f"models/checkpoints/{name} here, and give its path with --checkpoint."
    )


def _verify(weights: Path) -> None:
    """Compare a downloaded file with the checksum under which the cache keeps it.

    Raises:
        CheckpointError: when they differ.
    """
    expected = weights.resolve().name
    if not _SHA256.fullmatch(expected):
        _LOG.warning("%s carries no checksum to compare it with.", weights)
        return
    if sha256_of(weights) != expected:
        raise CheckpointError(
            f"The downloaded file {weights} does not have the checksum that its hub gives ({expected}). Delete it, and "
            "download it again."
        )
