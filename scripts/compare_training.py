"""Equal-budget comparison of training settings of the in-house score model.

    python scripts/compare_training.py --data structures.jsonl.gz --out runs/settings --budget 300 \
        --setting "base" --setting "wide: hidden=96,48,24" --setting "weighted: weighting=level learning_rate=0.003"

Every setting trains from scratch (or from `init_from=FILE`) for the same CPU time on the same data with a cosine from
its first step to its last, and is measured on the same 512 validation rows. Steps are counted out beforehand from the
time of a few, so that another program on the machine does not shorten anybody's run. Finished settings are kept.
Relative errors are those of `chggen train nequip` (docs/training.md); differences of a per cent or two are noise.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from chggen_kit.errors import InputError
from chggen_kit.state import CrystalBatch
from chggen_kit.training.dataset import CrystalSet
from chggen_kit.training.options import TrainingSettings
from chggen_kit.training.run_data import DataRules, prepare
from chggen_nequip.network import MAX_ATOMIC_NUMBER, Architecture
from chggen_nequip.training import Training, TrainingOptions

_WARM_UP, _TIMED = 10, 60


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Name and values of a setting `name: key=value key=value`."""
    name, _, rest = text.partition(":")
    pairs = [word.partition("=") for word in rest.split()]
    if not name.strip() or any(not equals for _, equals, _ in pairs):
        raise InputError(f"--setting {text!r} is not of the form `name: key=value key=value`.")
    return name.strip(), {key: value for key, _, value in pairs}


def options_of(values: dict[str, str], seed: int) -> tuple[TrainingOptions, dict[str, Any]]:
    """Training options and run settings (`compile_network`, `precision`, `init_from`) of a setting's values."""
    shape, options, run = Architecture(), TrainingOptions(seed=seed), dict[str, Any]()
    for key, value in values.items():
        if key == "hidden":
            shape = replace(shape, hidden=tuple(int(part) for part in value.split(",")))
        elif key == "compile_network":
            run[key] = value == "true"
        elif key in {"precision", "init_from"}:
            run[key] = Path(value) if key == "init_from" else value
        else:
            owner: Any = shape if hasattr(shape, key) else options
            if not hasattr(owner, key):
                raise InputError(f"There is no training option {key!r}.")
            kind = float if getattr(owner, key) is None else type(getattr(owner, key))
            changed = replace(owner, **{key: kind(value)})
            shape, options = (changed, options) if owner is shape else (shape, changed)
    return replace(options, architecture=shape), run


def seconds_per_step(options: TrainingOptions, settings: TrainingSettings, crystals: CrystalSet) -> float:
    """CPU time of a step, preparing the batch included."""
    training = Training(options, settings)
    make = training.batch_maker(crystals)
    for number in range(_WARM_UP + _TIMED):
        if number == _WARM_UP:
            started = time.process_time()
        training.optimise(make(number))
    return (time.process_time() - started) / _TIMED


def run(
    name: str, values: dict[str, str], arguments: argparse.Namespace, crystals: CrystalSet, validation: CrystalBatch
) -> dict[str, Any]:
    """Train one setting and measure it."""
    options, extra = options_of(values, arguments.seed)
    out = arguments.out / name
    out.mkdir(parents=True, exist_ok=True)
    settings = TrainingSettings(out=out, save_every=10**9, validate_every=10**9, **extra)
    pace = seconds_per_step(options, settings, crystals)
    options = replace(options, steps=max(int(arguments.budget / pace), 1))
    training = Training(options, settings)
    started = time.process_time()
    training.run(crystals, validation, report=lambda *_: None)
    return {
        "name": name,
        "values": values,
        "ms_per_step": round(1000 * pace, 1),
        "steps": options.steps,
        "cpu_seconds": round(time.process_time() - started),
        "parameters": sum(p.numel() for p in training.network.parameters()),
        **training.validate(validation),
    }


def line(result: dict[str, Any]) -> str:
    """Row of the table."""
    values = " ".join(f"{key}={value}" for key, value in result["values"].items()) or "the defaults"
    errors = " | ".join(f"{error:.3f}" for error in result["relative_errors"].values())
    size = f"{result['parameters'] / 1e6:.2f} M"
    return f"| {result['name']} | `{values}` | {size} | {result['ms_per_step']} | {result['steps']} | {errors} |"


def main() -> None:
    """Run what has not been run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=300, help="CPU seconds of each setting")
    parser.add_argument("--setting", action="append", required=True, help="`name: key=value key=value`")
    parser.add_argument("--max-atoms", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    place = arguments.out / "data"
    place.mkdir(parents=True, exist_ok=True)
    given = {"split": "train", "validation_split": "val", "validation_data": None, "held_out": None}
    data = prepare(
        arguments.data,
        place,
        {**given, "max_atoms": arguments.max_atoms, "max_above_hull": 0.1},
        DataRules(MAX_ATOMIC_NUMBER),
    )
    if data.validation is None:
        raise InputError("The data have no rows of the split `val` to measure on.")
    print("| setting | options | parameters | ms a step | steps | 0.03 Å | 0.1 | 0.3 | 0.6 | 1.0 | 2.0 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for text in arguments.setting:
        name, values = parse(text)
        target = arguments.out / f"{name}.json"
        if not target.exists():
            target.write_text(json.dumps(run(name, values, arguments, data.crystals, data.validation)))
        print(line(json.loads(target.read_text())), flush=True)


if __name__ == "__main__":
    main()
