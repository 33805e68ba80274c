"""Small MatterGen models in the layout of the released ones, made by the package itself."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

NOT_INSTALLED = (
    "the package mattergen is not installed (pip install -e '.[mattergen]' && pip install --no-deps mattergen==1.0.3)"
)
Kind = Literal["base", "csp", "chemical_system"]
_WIDTH = 16


def require_mattergen() -> None:
    """Skip where the package is missing."""
    for distribution in ("mattergen", "omegaconf", "torch-geometric"):
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(NOT_INSTALLED)


def configuration(kind: Kind, *, calm: bool = False, width: int = _WIDTH, released: bool = False) -> dict[str, Any]:
    """Content of `config.yaml`; `released` has the sizes of the released models."""
    gemnet: dict[str, Any] = {
        "_target_": "mattergen.common.gemnet.gemnet.GemNetT",
        "atom_embedding": {
            "_target_": "mattergen.common.gemnet.layers.embedding_block.AtomEmbedding",
            "emb_size": width,
            "with_mask_type": kind != "csp",
        },
        "cutoff": 7.0 if released else 4.0,
        "emb_size_atom": width,
        "emb_size_edge": width,
        "latent_dim": width,
        "max_cell_images_per_dim": 5,
        # Far above the 15 within the cutoff: where the list of neighbours is cut, inside a shell of equally near
        # images, the last bit of a distance decides what is a neighbour.
        "max_neighbors": 50 if released else 80,
        "num_blocks": 4 if released else 1,
        "num_targets": 1,
        "otf_graph": True,
        "regress_stress": True,
        "scale_file": "/nowhere/gemnet-dT.json",
    }
    if not released:
        small = ("emb_size_bil_trip", "emb_size_cbf", "emb_size_rbf", "emb_size_trip")
        gemnet |= dict.fromkeys(small, 8) | {"num_after_skip": 1, "num_atom": 1, "num_radial": 16, "num_spherical": 4}
    model: dict[str, Any] = {
        "_target_": "mattergen.denoiser.GemNetTDenoiser",
        "atom_type_diffusion": "mask",
        "denoise_atom_types": kind != "csp",
        "gemnet": gemnet,
        "hidden_dim": width,
        "property_embeddings": {},
        "property_embeddings_adapt": {},
    }
    if kind == "chemical_system":
        model["_target_"] = "mattergen.adapter.GemNetTAdapter"
        gemnet["_target_"] = "mattergen.common.gemnet.gemnet_ctrl.GemNetTCtrl"
        gemnet["condition_on_adapt"] = ["chemical_system", "energy_above_hull"]
        embedding = "mattergen.property_embeddings."
        model["property_embeddings_adapt"] = {
            "chemical_system": {
                "_target_": f"{embedding}PropertyEmbedding",
                "name": "chemical_system",
                "conditional_embedding_module": {
                    "_target_": f"{embedding}ChemicalSystemMultiHotEmbedding",
                    "hidden_dim": width,
                },
                "unconditional_embedding_module": {"_target_": f"{embedding}EmbeddingVector", "hidden_dim": width},
                "scaler": {"_target_": "torch.nn.Identity"},
            },
            "energy_above_hull": {
                "_target_": f"{embedding}PropertyEmbedding",
                "name": "energy_above_hull",
                "conditional_embedding_module": {
                    "_target_": "mattergen.diffusion.model_utils.NoiseLevelEncoding",
                    "d_model": width,
                },
                "unconditional_embedding_module": {"_target_": f"{embedding}EmbeddingVector", "hidden_dim": width},
                "scaler": {"_target_": "mattergen.common.utils.data_utils.StandardScalerTorch"},
            },
        }
    corruption: dict[str, Any] = {
        "_target_": "mattergen.diffusion.corruption.multi_corruption.MultiCorruption",
        "sdes": {
            "cell": {
                "_target_": "mattergen.common.diffusion.corruption.LatticeVPSDE.from_vpsde_config",
                "vpsde_config": {
                    "beta_max": 1.0 if calm else 20.0,
                    "beta_min": 0.1,
                    "limit_density": 0.05771451654022283,
                    "limit_var_scaling_constant": 0.01 if calm else 0.25,
                },
            },
            "pos": {
                "_target_": "mattergen.common.diffusion.corruption.NumAtomsVarianceAdjustedWrappedVESDE",
                "limit_info_key": "num_atoms",
                "sigma_max": 5.0,
                "wrapping_boundary": 1.0,
            },
        },
    }
    if kind != "csp":
        corruption["discrete_corruptions"] = {
            "atomic_numbers": {
                "_target_": "mattergen.diffusion.corruption.d3pm_corruption.D3PMCorruption",
                "d3pm": {
                    "_target_": "mattergen.diffusion.d3pm.d3pm.MaskDiffusion",
                    "dim": 101,
                    "schedule": {
                        "_target_": "mattergen.diffusion.d3pm.d3pm.create_discrete_diffusion_schedule",
                        "kind": "standard",
                        "num_steps": 1000,
                    },
                },
                "offset": 1,
            }
        }
    types = {} if kind == "csp" else {"atomic_numbers": 1.0}
    return {
        "checkpoint_path": None,
        "lightning_module": {
            "_target_": "mattergen.diffusion.lightning_module.DiffusionLightningModule",
            "diffusion_module": {
                "_target_": "mattergen.diffusion.diffusion_module.DiffusionModule",
                "corruption": corruption,
                "loss_fn": {
                    "_target_": "mattergen.common.loss.MaterialsLoss",
                    "d3pm_hybrid_lambda": 0.01,
                    "include_atomic_numbers": kind != "csp",
                    "include_cell": True,
                    "include_pos": True,
                    "reduce": "sum",
                    "weights": {"cell": 1.0, "pos": 0.1, **types},
                },
                "model": model,
                "pre_corruption_fn": {
                    "_target_": "mattergen.property_embeddings.SetEmbeddingType",
                    "dropout_fields_iid": False,
                    "p_unconditional": 0.2,
                },
            },
            "optimizer_partial": {"_partial_": True, "_target_": "torch.optim.Adam", "lr": 1e-4},
            "scheduler_partials": [
                {"scheduler": {"_partial_": True, "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau"}}
            ],
        },
        "trainer": {"_target_": "pytorch_lightning.Trainer"},
    }


def make_checkpoint(folder: Path, kind: Kind = "base", *, calm: bool = False, released: bool = False) -> Path:
    """A model with random weights below `folder`, and its path.

    `calm` ones can diffuse the cell freely: the heads are scaled to outputs of about 1 and the lattice's noise is kept
    low, because an uninformative score is multiplied by 150 at the noisiest level of the published schedule.
    """
    import yaml

    from chggen_mattergen.config import build_diffusion_module

    name = "full" if released else ("calm_" if calm else "") + kind
    path = folder / name
    (path / "checkpoints").mkdir(parents=True)
    config = configuration(kind, calm=calm, width=512 if released else _WIDTH, released=released)
    (path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    module: Any = build_diffusion_module(config["lightning_module"]["diffusion_module"], path)
    generator = torch.Generator().manual_seed(7)
    state = {}
    for key, value in module.state_dict().items():
        if "scale_factor" in key or key.endswith("stds"):
            state[key] = torch.ones_like(value)
        elif key.endswith(("bias", "means")):
            state[key] = torch.zeros_like(value)
        elif value.ndim < 2:
            state[key] = value  # frequencies and centres of basis functions
        else:
            # A variance of one over the number of inputs, as MatterGen begins its training.
            inputs = 1 if "embedding" in key else value[0].numel() if value.ndim == 2 else value[..., 0].numel()
            state[key] = torch.randn(value.shape, generator=generator) / inputs**0.5
    module.load_state_dict(state)
    if calm:
        _calm(module, state)
        module.load_state_dict(state)
    # Some weights have two names: those of the network are consistent.
    state = module.state_dict()
    content = {
        "state_dict": {f"diffusion_module.{key}": value for key, value in state.items()},
        "epoch": 0,
        "pytorch-lightning_version": "2.0.6",
        "optimizer_states": [],
        "config": config,
    }
    torch.save(content, path / "checkpoints" / "last.ckpt")
    return path


def _calm(module: Any, state: dict[str, torch.Tensor]) -> None:
    """Scale the heads of positions and cell so that their outputs have a root mean square of 1."""
    from chggen_mattergen.package import load_package

    modules: Any = load_package()
    graphs = [
        modules["mattergen.common.data.chemgraph"].ChemGraph(
            atomic_numbers=torch.tensor([11, 17, 8, 26]),
            pos=torch.rand(4, 3, generator=torch.Generator().manual_seed(n)),
            cell=torch.eye(3)[None] * 4.1,
            num_atoms=torch.tensor([4]),
        )
        for n in range(4)
    ]
    batch = modules["mattergen.common.data.collate"].collate(graphs)
    module.eval()
    with torch.no_grad():
        out = module.model(batch, torch.tensor([0.2, 0.4, 0.6, 0.8]))
    for key, value in state.items():
        if ".out_blocks." in key and ".out_forces." in key:
            state[key] = value / out["pos"].mul(4.1).square().mean().sqrt()
        elif ".lattice_out_blocks." in key and ".out_forces." in key:
            state[key] = value / out["cell"].square().mean().sqrt()
