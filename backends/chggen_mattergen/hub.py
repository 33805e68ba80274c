"""Released models: found in the cache or downloaded, by name."""

from __future__ import annotations

from pathlib import Path

from chggen_kit.errors import CheckpointError, unknown_name

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
    """Folder of a released model, from the cache of huggingface_hub or from its hub.

    The hub names a SHA-256 for the weights, under which huggingface_hub caches them; it is compared with the file.
    """
    wanted = [f"checkpoints/{name}/config.yaml", f"checkpoints/{name}/checkpoints/last.ckpt"]
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise CheckpointError(_advice(name, wanted, "huggingface_hub, which downloads it, is not installed")) from error
    try:
        config, weights = (Path(hf_hub_download(repo_id=_REPOSITORY, filename=file)) for file in wanted)
    except Exception as error:
        # What a network can do wrong has many names in many libraries; none of them is a fault of ours.
        raise CheckpointError(_advice(name, wanted, f"it cannot be downloaded ({_first_line(error)})")) from error
    _verify(weights)
    return config.parent
