"""Potentials and score models in other environments: see docs/isolated-plugins.md.

`create_isolated` (in `create`) starts a `Worker` (in `process`) in another interpreter, where `bootstrap` and then
`worker` run; `frames` is the protocol between them. Nothing is imported here: `bootstrap` runs before anything else.
"""
