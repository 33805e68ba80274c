"""How good a score model is: evaluations that every backend goes through, each resumable and with intervals.

Light to import: the command line lists the evaluations before it runs any.
"""

from __future__ import annotations

EVALUATIONS = {
    "denoising": "chggen_kit.evaluation.suite:denoising",
    "recovery": "chggen_kit.evaluation.suite:recovery",
    "csp": "chggen_kit.evaluation.suite:csp",
}
"""Name and import string of every evaluation, in the order of running: a function of a `Session` that gives a `Report`.

To add one: write `evaluate_NAME(...)` with plain parameters in a module of its own, a function in `suite` that calls it
with the settings of the command, and a line here.
"""
