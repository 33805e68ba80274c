"""`--lattice generate`: cells drawn by the score model, and random ones given to a model that could draw them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from torch import Tensor
from workflow_rows import read_rows
from workflow_toys import TOY_SETTINGS, SiteOptions, toy_registry

from chggen_diffcsp.checkpoint import build_checkpoint
from chggen_diffcsp.hparams import Settings
from chggen_diffcsp.model import DiffCSPScoreModel
from chggen_diffcsp.network import CSPNet, CSPNetConfig
from chggen_diffcsp.schedules import cosine_schedule, exact_sigmas_norm, exponential_sigmas
from chggen_kit import hookimpl
from chggen_kit.errors import InputError
from chggen_kit.interfaces import ScoreModel, Step
from chggen_kit.plugins.hookspecs import Register
from chggen_kit.state import Fields
from chggen_kit.workflow.config import GenerateConfig, InpaintConfig, build_config
from chggen_kit.workflow.pipeline import run_generate, run_inpaint
from chggen_kit.workflow.records import StructureData
from chggen_kit.workflow.result import RunResult

STEPS = 30
CELL = torch.tensor([[4.1, 0.0, 0.3], [0.0, 4.4, 0.2], [0.1, 0.0, 5.0]])


class Certain(DiffCSPScoreModel):
    """A DiffCSP model that is certain: every cell is `CELL`, and atom i sits at site i of a fixed sequence."""

    def predict(self, fields: Fields, t: Tensor) -> Fields:
        index = fields.context.crystal_index
        first = torch.nn.functional.pad(fields.context.num_atoms.cumsum(0), (1, 0))[index]
        number = (torch.arange(index.shape[0]) - first + 1).float()
        sites = number[:, None] * torch.tensor([0.8191725134, 0.6710436067, 0.5497004779])
        clean = {"frac_coords": sites % 1, "lattice": CELL.repeat(fields.context.n_crystals, 1, 1)}
        step = Step((float(t[0]), 0.0), 0, 1, fields)
        outputs = {}
        for name in self.capabilities.diffused:
            target = self.processes[name].denoising_target(clean[name], fields[name], step)
            assert target is not None
            outputs[name] = target
        return Fields(outputs, fields.context)


def build(options: SiteOptions) -> ScoreModel:
    del options
    config = CSPNetConfig(hidden_dim=4, latent_dim=4, num_layers=1, num_freqs=1)
    betas, sigmas = cosine_schedule(STEPS), exponential_sigmas(STEPS, 0.005, 0.5)
    tensors = {f"decoder.{name}": tensor for name, tensor in CSPNet(config).state_dict().items()}
    tensors |= {
        f"beta_scheduler.{name}": getattr(betas, name) for name in ("betas", "alphas", "alphas_cumprod", "sigmas")
    }
    tensors |= {"sigma_scheduler.sigmas": sigmas, "sigma_scheduler.sigmas_norm": exact_sigmas_norm(sigmas)}
    return Certain(build_checkpoint(Settings(config, STEPS, 0.005, 0.5, 1.0, 1.0), tensors, Path("toy.safetensors")))


@hookimpl
def chggen_kit_register_score_models(register: Register) -> None:
    register("certain", build, options=SiteOptions, summary="toy")


REGISTRY = toy_registry([sys.modules[__name__]])
SAMPLERS: dict[str, Any] = {
    "sampler": {"name": "repaint", "options": {"jump_length": 5, "passes": 2}},
    "unconditional_sampler": {"name": "predictor-corrector"},
}


def generate(out: Path, **values: Any) -> RunResult:
    settings = {**TOY_SETTINGS, **SAMPLERS, "backend": "certain", "formula": "NaCl", "guests": "Na", "n": 3, **values}
    return run_generate(build_config(GenerateConfig, settings, REGISTRY), out, registry=REGISTRY)


def test_cells_are_generated_by_default_where_the_model_can(tmp_path: Path) -> None:
    out = tmp_path / "o"
    result = generate(out)
    starts = [record for record in result.records if record.stage == "unconditional"]
    assert len(starts) == 3
    lengths, angles = Lattice(CELL.double().numpy()).abc, Lattice(CELL.double().numpy()).angles
    for record in starts:
        assert record.lattice_source == "generate"
        assert record.lattice_family is None
        assert record.generated is not None
        lattice = record.generated.structure().lattice
        assert np.linalg.det(lattice.matrix) > 0
        assert np.allclose(lattice.abc, lengths, atol=0.02)
        assert np.allclose(lattice.angles, angles, atol=0.5)
    # Hosts and their guests go on as ever: the host's own cell is kept.
    filled = [record for record in result.records if record.stage == "inpainted"]
    hosts = {host.id: host for host in result.hosts}
    assert filled
    for record in filled:
        host = hosts[record.host_id or ""].host
        assert record.generated is not None
        assert host is not None
        assert record.generated.lattice == host.lattice
    stored = json.loads((out / "run.json").read_text())
    assert stored["identity"]["resolved"]["lattice"] == "generate"
    assert stored["notes"]["lattice"] == "generate"
    rows = [row for row in read_rows(out / "results.db") if row["stage"] == "unconditional"]
    assert {row["lattice_source"] for row in rows} == {"generate"}


def test_random_cells_are_imposed_on_a_model_that_could_draw_them(tmp_path: Path) -> None:
    result = generate(tmp_path / "o", lattice="search", inpaintings=0)
    for record in result.records:
        assert record.lattice_source == "search"
        assert record.lattice_family is not None
        assert record.generated is not None
        assert record.generated.structure().volume == pytest.approx(36.0)


def test_the_choice_is_part_of_a_run(tmp_path: Path) -> None:
    """A model that keeps cells fixed searches, and says so when it is asked for more."""
    result = generate(tmp_path / "o", backend="sites", n=1, inpaintings=0)
    assert result.records[0].lattice_source == "search"
    with pytest.raises(InputError, match="--lattice search"):
        generate(tmp_path / "p", backend="sites", lattice="generate")
    with pytest.raises(InputError, match="draws coordinates only"):
        generate(tmp_path / "q", lattice="generate", unconditional_sampler="random")
    with pytest.raises(InputError, match="lattice"):
        generate(tmp_path / "r", lattice="invent")


def test_inpainting_keeps_the_host_bit_for_bit(tmp_path: Path) -> None:
    """In a cell that is far from reduced, atoms outside it."""
    host = Structure(Lattice([[4.0, 0.1, 0], [8.0, 4.5, 0.2], [1 / 3, -9.0, 5.0]]), ["Cl"], [[-0.25, 1.5, 0.1]])
    settings = {
        "host": StructureData.of(host),
        "guest_counts": {"Na": 1},
        "n": 2,
        "relax": False,
        "backend": "certain",
        "potential": "pairs",
        "sampler": SAMPLERS["sampler"],
    }
    result = run_inpaint(build_config(InpaintConfig, settings, REGISTRY), tmp_path / "o", registry=REGISTRY)
    for record in result.records:
        assert record.generated is not None
        structure = record.generated.structure()
        assert structure.lattice.matrix.tobytes() == host.lattice.matrix.tobytes()
        assert structure.frac_coords[:1].tobytes() == host.frac_coords.tobytes()
        assert np.isfinite(structure.frac_coords).all()
