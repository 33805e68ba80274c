"""MatterGen (Zeni et al., Nature 639, 624, 2025) as a score model of the kit, over the package `mattergen`."""
