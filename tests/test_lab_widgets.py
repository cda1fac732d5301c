"""The lab's knobs, bars and tokens, each without the app around it."""

from __future__ import annotations

from dataclasses import replace

from rich.cells import cell_len

from mlxintro.lab.messages import Started, Trace
from mlxintro.tui.lab_widgets.cosines import bar_of, drawn
from mlxintro.tui.running.lab_controls import Knobs

STARTED = Started(
    number=1, concept="ocean", layer=5, readout=6, raw=2.0, norm=52.0, resid=1.5, vector_norm=26.0, resid_norm=104 / 3
)


def test_another_unit_keeps_the_dose() -> None:
    knobs = Knobs(layer=5, strength=2.0, layers=8, dose=STARTED)
    norm = knobs.next_unit()
    assert (norm.unit, norm.strength) == ("norm", 52.0)
    share = norm.next_unit()
    assert (share.unit, share.strength) == ("resid", 1.5)
    assert share.next_unit() == knobs
    # At another layer the dose is not known.
    assert knobs.turned_layer(1).next_unit().strength == 10.0


def test_knobs_stay_inside_the_model_and_cross_zero() -> None:
    knobs = Knobs(layer=7, readout=0, strength=0.5, layers=8, dose=STARTED)
    assert knobs.turned_layer(1).layer == 7
    assert knobs.turned_readout(-1).readout == 0
    assert knobs.turned(-1).strength == 0.0
    assert knobs.turned(-2).strength == -0.5
    assert knobs.turned(-1).scaled(2.0).strength == 0.5
    # Half a vector, whose norm is 26, rounded to 10.
    shallower = replace(knobs, layer=5)
    assert [k.turned(1).strength for k in (shallower, shallower.next_unit())] == [1.0, 23.0]


def test_bars_show_low_high_and_between() -> None:
    assert "".join(bar_of(value, 0.0, 1.0) for value in (0.0, 0.5, 1.0)) == "▁▅█"
    assert bar_of(0.3, 0.3, 0.3) == "▁"


def trace_of(control: int, injected: int) -> Trace:
    return Trace(
        number=1,
        layer=3,
        control=(0.0,) * control,
        injected=(1.0,) * injected,
        control_pieces=tuple(f" w{at}" for at in range(control)),
        injected_pieces=tuple(f" token{at}" for at in range(injected)),
    )


def test_tokens_stand_under_their_bars_and_the_cursor_is_in_sight() -> None:
    trace = trace_of(60, 40)
    for cursor in (0, 7, 30, 59):
        bars, words, injected_bars, injected_words = drawn(trace, 70, cursor).plain.split("\n")
        at = words.index(f"·w{cursor} ")
        assert bars[at] == "▁"
        if cursor < 40:
            assert injected_words.index(f"·token{cursor} ") == at
            assert injected_bars[at] == "█"
        assert all(cell_len(line) <= 70 for line in (bars, words, injected_bars, injected_words))
    assert drawn(trace_of(0, 0), 80, 0).plain.startswith("no token")
