"""RePaint's schedule of descents and jumps back (Lugmayr et al., CVPR 2022, arXiv:2201.09865)."""

from __future__ import annotations

from chggen_kit.errors import InputError


def repaint_schedule(num_levels: int, jump_length: int, passes: int, start_level: int = 0) -> list[tuple[int, int]]:
    """Moves (level, target) on a grid of `num_levels` levels: index 0 is the noisiest, the last is clean.

    Counting from the clean level up, the levels 1, 1 + j, 1 + 2j, ... are stations. On reaching a station from above
    the walk jumps back up by j levels, one level at a time, `passes` - 1 times, before it goes on down; a station is
    left out when a jump from it would end above `start_level`. The clean level is entered once, at the end: no jump
    starts there. 200 levels, j = 10 and 3 passes give 579 descents and 380 ascents.

    Args:
        num_levels: levels including the clean one, at least 2.
        jump_length: j, at least 1.
        passes: r, at least 1; 1 means no jumps.
        start_level: index of the level where the walk starts.

    Raises:
        InputError: for counts out of range, and for passes without room for a jump.
    """
    if num_levels < 2 or jump_length < 1 or passes < 1:
        raise InputError(
            f"A schedule needs at least 2 levels, a jump length and passes of at least 1; "
            f"got {num_levels} levels, jump length {jump_length}, {passes} passes."
        )
    top = num_levels - 1 - start_level
    if start_level < 0 or top < 1:
        raise InputError(
            f"Start level {start_level} is not above the clean level of a grid of {num_levels} levels: "
            f"it must be from 0 to {num_levels - 2}."
        )
    if passes > 1 and jump_length >= top:
        raise InputError(
            f"A jump of {jump_length} levels does not fit into {top} steps, so the {passes} passes asked for cannot be "
            "made. Take more steps, a shorter jump_length, or passes=1."
        )
    left = dict.fromkeys(range(1, max(top - jump_length + 1, 1), jump_length), passes - 1)
    moves: list[tuple[int, int]] = []
    height = top
    while height > 0:
        moves.append((height, height - 1))
        height -= 1
        if left.get(height, 0) > 0:
            left[height] -= 1
            moves.extend((h, h + 1) for h in range(height, height + jump_length))
            height += jump_length
    return [(num_levels - 1 - a, num_levels - 1 - b) for a, b in moves]
