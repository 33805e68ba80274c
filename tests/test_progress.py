from __future__ import annotations

import io
import json

import pytest

from chggen_kit.errors import InputError
from chggen_kit.progress import JsonProgress, NullProgress, PlainProgress, RichProgress, choose_mode, make_progress


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_are_few_but_show_that_a_slow_stage_lives() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress("run", stream, clock)
    with progress.stage("relax", total=1000) as advance:
        for done in range(1, 111):  # fast, 20 ms each: a line every tenth, but never twice in a second
            clock.now += 0.02
            advance.update(done, 1000)
        for done in (111, 112, 113, 114):  # slow, 3 s each: a line every five seconds at least
            clock.now += 3.0
            advance.update(done, 1000, "stubborn")
    assert stream.getvalue().splitlines() == [
        "relax: started, 1000 to do",
        "relax: 100/1000 (10%)",
        "relax: 112/1000 (11%) stubborn",
        "relax: 114/1000 (11%) stubborn",
        "relax: done after 14.2 s",
    ]


def test_a_stage_that_raises_ends_as_stopped() -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream=stream, clock=Clock())
    with pytest.raises(ZeroDivisionError), progress.stage("relax"):
        raise ZeroDivisionError
    assert stream.getvalue().splitlines()[-1] == "relax: stopped after 0.0 s"


def test_json_lines_nest_and_always_hold_the_last_advance() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = JsonProgress("run", stream, clock)
    with progress.stage("outer", total=1) as outer:
        with outer.stage("inner", total=50) as inner:
            for done in range(1, 51):
                clock.now += 0.01
                inner.update(done, 50)
        outer.update(1, 1, "é")
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {e["run"] for e in events} == {"run"}
    inner_events = [e for e in events if e["stage"] == "inner"]
    assert inner_events[0] == {"event": "begin", "run": "run", "stage": "inner", "elapsed_s": 0.0, "total": 50}
    advances = [e["done"] for e in inner_events if e["event"] == "advance"]
    assert len(advances) <= 5
    assert advances[-1] == 50
    assert inner_events[-1]["completed"] is True
    assert [e["message"] for e in events if e["stage"] == "outer" and e["event"] == "advance"] == ["é"]


def test_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode, kind in (
        ("rich", RichProgress),
        ("plain", PlainProgress),
        ("json", JsonProgress),
        ("none", NullProgress),
    ):
        with make_progress(mode, "run") as progress:
            assert isinstance(progress, kind)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert choose_mode("auto") == "plain"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert choose_mode("auto") == "rich"
    monkeypatch.setenv("TERM", "dumb")
    assert choose_mode("auto") == "plain"
    with pytest.raises(InputError, match="Did you mean 'plain'"):
        choose_mode("plian")


def test_rich_bars_come_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with make_progress("rich", "run") as progress:
        with progress.stage("relax 1/2", total=4) as advance:
            advance.update(4, 4, "all")
        progress.update(1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "relax 1/2" in captured.err
    assert "4/4" in captured.err
