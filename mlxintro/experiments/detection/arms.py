"""How the trials of each control arm of injected thoughts are made from the trial they are set against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mlxintro.experiments.detection.planning import DetectionTrials
from mlxintro.protocol import controls
from mlxintro.protocol.controls import Slot
from mlxintro.protocol.trials import TrialSpec

WITNESS_TOKENS = 32
"""Length of the sentence that a witness writes."""
_YES_NO = (*controls.YES, *controls.NO)


def arm_trial(trials: DetectionTrials, slot: Slot) -> TrialSpec:
    """Make a trial of a control arm."""
    return _MAKERS.get(slot.arm, _scored)(trials, slot).changed(arm=slot.arm)


def _own(trials: DetectionTrials, slot: Slot) -> TrialSpec:
    """The injected trial that the slot's is set against."""
    return trials.injected(slot.number, slot.cell or 0)


def _transformed(trials: DetectionTrials, slot: Slot) -> TrialSpec:
    spec = _own(trials, slot)
    return spec.changed(injections=(replace(spec.injections[0], transform=controls.TRANSFORMED[slot.arm]),))


def _other(trials: DetectionTrials, slot: Slot) -> TrialSpec:
    """The next concept's vector; the pair's own concept stays the one that would be right to name."""
    return trials.swapped(_own(trials, slot), trials.word(slot.number + 1))


def _matched(trials: DetectionTrials, slot: Slot) -> TrialSpec:
    """A vector of another kind, at the strength that has the concept's impact."""
    target, random, other = trials.options.impacts[slot.number]
    if slot.arm == controls.MATCHED:
        spec, strength, made = _own(trials, slot), trials.options.matched[slot.number], random
        changed = replace(spec.injections[0], transform="random", strength=strength)
    else:
        spec, strength, made = _other(trials, slot), trials.options.matched_other[slot.number], other
        changed = replace(spec.injections[0], strength=strength)
    return spec.changed(injections=(changed,), detail={"target": target, "impact": made})


def _tampered(trials: DetectionTrials, slot: Slot) -> TrialSpec:
    word = trials.word(slot.number)
    prompt = trials.prompts.tampered(trials.repeat(slot.number) + 1, word)
    return trials.control(slot.number).changed(concept=word, prompt=prompt.key)


def _off(trials: DetectionTrials, slot: Slot) -> TrialSpec:
    """The vector off while the reply is written, or taken out again at later layers."""
    spec = _own(trials, slot)
    own = spec.injections[0]
    if slot.arm == controls.PROMPT_ONLY:
        length = trials.own[trials.repeat(slot.number)].length
        return spec.changed(injections=(replace(own, stop=min(length, own.stop or length), part="reply"),))
    layers = trials.grid.info.layers
    first = layers - 1 if slot.arm == controls.ABLATED_LAST else own.layer + 1
    out = (replace(own, layer=layer, operation="ablate", taken_at=own.layer) for layer in range(first, layers))
    return spec.changed(injections=(own, *out))


def _scored(trials: DetectionTrials, slot: Slot) -> TrialSpec:
    """A question that is answered yes or no by log-probability, injected or not."""
    if slot.question:
        prompt = trials.prompts.at(1, slot.question)
    else:
        at = slot.number % len(trials.own) if slot.cell is None else trials.repeat(slot.number)
        prompt = trials.own[at]
    if slot.cell is None:
        spec = trials.control(slot.number).changed(prompt=prompt.key)
    else:
        spec = trials.injected(slot.number, slot.cell, prompt)
    detail: dict[str, Any] = {"question": slot.question} if slot.question else {}
    if trials.options.spanning:
        detail["entropy"] = True
    if slot.arm == controls.ASKED_OTHER and spec.injections:
        spec = trials.swapped(spec, trials.options.partners.get(spec.concept or "", trials.word(slot.number + 1)))
    return spec.changed(readout="score", options=_YES_NO, detail=detail)


def _witness(trials: DetectionTrials, slot: Slot) -> TrialSpec:
    spec = trials.injected(slot.number, slot.cell or 0, trials.prompts.task())
    _, question = trials.prompts.dialogue.at_trial(1)
    detail = {"task": controls.forms()["task"], "question": f"{question} {controls.forms()['witness']}"}
    if trials.prompts.aside != "off":
        detail["thinking"] = trials.prompts.aside
    return spec.changed(readout="witness", options=_YES_NO, max_tokens=WITNESS_TOKENS, thinking_tokens=0, detail=detail)


def _swapped(trials: DetectionTrials, slot: Slot) -> TrialSpec:
    return _own(trials, slot).changed(readout="swap", options=_YES_NO, max_tokens=1)


def _bank(trials: DetectionTrials, slot: Slot) -> TrialSpec:
    detail = {"layer": trials.grid.cells[slot.cell or 0][0], "vectors": list(trials.grid.recipes)}
    return trials.control(0).changed(readout="bank", detail=detail)


_MAKERS: dict[str, Callable[[DetectionTrials, Slot], TrialSpec]] = {
    **dict.fromkeys(controls.TRANSFORMED, _transformed),
    controls.OTHER: _other,
    **dict.fromkeys((controls.MATCHED, controls.MATCHED_OTHER), _matched),
    controls.TAMPERED: _tampered,
    **dict.fromkeys((controls.PROMPT_ONLY, controls.ABLATED, controls.ABLATED_LAST), _off),
    controls.WITNESS: _witness,
    controls.BANK: _bank,
    controls.SWAPPED: _swapped,
}
"""How the trials of an arm are made; what is not listed is a scored question."""
