"""A study's protocol in words: structure, window, units, sampling, grading, and how it differs from its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlxintro.experiments.base import Experiment
from mlxintro.protocol import controls
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.study import Study

if TYPE_CHECKING:
    from mlxintro.running.launch import Checked

_WINDOWS = {
    "all": "every token of prompt and reply",
    "prompt": "every token of the prompt, none of the reply",
    "generation": "the reply's tokens only; its first is still predicted without the vector",
    "question": "from the separator before the trial question through every token of the reply",
    "before-thinking": "from the separator before the trial question up to the mark that opens the thought",
    "thinking": "from the mark that opens the thought to its last token; none of the answer",
    "answer": "from the mark that closes the thought through every token of the answer",
}
_UNITS = {
    "raw": "multiples of the concept vector as extracted, not normalised",
    "norm": "the L2 norm of what is added",
    "resid": "that norm as a fraction of the layer's mean residual norm",
}


def explain(checked: Checked) -> list[str]:
    """Return the protocol of a checked study, in lines."""
    study, preset = checked.study, checked.preset
    said = [
        f"{study.preset}: {preset.title}",
        f"  source      {preset.source}",
        f"  summary     {preset.summary}",
        f"  experiment  {checked.experiment.name}: {checked.experiment.summary}",
        *_texts(preset),
        f"  vectors     {preset.extraction.in_words}",
        f"  window      {_window(study, checked.experiment)}",
        f"  layers      {', '.join(f'{layer:g}' for layer in study.layers or ())} (fractions are depths)",
        f"  strengths   {', '.join(f'{s:g}' for s in study.strengths or ())}: {_UNITS[study.unit or 'raw']}",
        f"  sampling    {_sampling(study)}",
        f"  trials      {study.trials} per concept, layer and strength",
        f"  controls    {_controls(study, checked.experiment)}",
        f"  grading     {_grading(checked.experiment)}",
    ]
    if (own := study.own_concepts) is not None:
        words = ", ".join(f"{len(table)} {name}" for name, table in own.concepts.items())
        said.append(f"  own words   {words or 'none'}; sets: {', '.join(own.sets) or 'none'} (stored with the run)")
    if study.options:
        said.append(f"  options     {', '.join(f'{name} = {value}' for name, value in study.options.items())}")
    said += ["  differences from the source:", *(f"    - {text}" for text in preset.differences)]
    said += [f"    - here {text}" for text in changed(study, preset)]
    if preset.defects:
        said += ["  known defects of the source, kept for comparison:", *(f"    - {text}" for text in preset.defects)]
    return said


def changed(study: Study, preset: Preset) -> list[str]:
    """Return what a study sets otherwise than its preset, i.e. further differences from the source."""
    defaults = preset.defaults.model_dump()
    found = [
        f"{name} is {_text(getattr(study, name))} instead of {_text(value)}"
        for name, value in defaults.items()
        if hasattr(study, name) and getattr(study, name) != value
    ]
    found += [
        f"option {name} is {value!r} instead of {preset.options.get(name)!r}"
        for name, value in study.options.items()
        if name in preset.options and preset.options[name] != value
    ]
    found += [f"{name} of the extraction is {_text(value)}" for name, value in (study.extraction or {}).items()]
    if study.transform != "none":
        found.append(f"the vector is transformed: {study.transform}")
    return found


def _texts(preset: Preset) -> list[str]:
    """Return what the subject reads: the dialogue, and the texts that the experiment makes one from."""
    lines = []
    if preset.dialogue is not None:
        lines = [f"  {message['role']:<11} {_line(message['content'])}" for message in preset.dialogue.messages]
        if preset.dialogue.prefill:
            lines.append(f"  prefill     {preset.dialogue.prefill}")
    wording = list(_flat(preset.wording))
    return [*lines, *(["  wording:"] if wording else []), *(f"    {name}: {text}" for name, text in wording)]


def _flat(wording: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in wording.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield prefix + name, " | ".join(_line(item) for item in value)
        else:
            yield prefix + name, _line(value)


def _line(value: object) -> str:
    return " / ".join(map(str, value)) if isinstance(value, list | tuple) else " ".join(str(value).split()) or "(empty)"


def _window(study: Study, experiment: Experiment) -> str:
    if study.window is not None:
        return _WINDOWS[study.window]
    return "nothing is injected" if experiment.where == "nothing" else f"{experiment.where}, by the experiment's design"


def _sampling(study: Study) -> str:
    way = "greedy" if study.temperature == 0 else f"temperature {study.temperature:g}, top-p {study.top_p:g}"
    said = f"{way}, {study.max_tokens} tokens at most, seed {study.seed}"
    return f"{said}; {_thinking(study)}" if study.thinking else said


def _thinking(study: Study) -> str:
    if study.thinking == "on":
        return (
            f"before that a thought of {study.thinking_tokens} tokens at most, closed by force where it is longer; "
            "yes and no are read at the answer's first token"
        )
    if study.thinking == "empty":
        return "an empty thought is put in the subject's mouth"
    return "thinking is switched off by the chat template"


def _controls(study: Study, experiment: Experiment) -> str:
    if isinstance(study.controls, int):
        return f"{study.controls} uninjected trials, no other arm"
    if study.controls == "none":
        return "none"
    if experiment.compared:
        return f"{study.controls}: {experiment.compared}"
    arms = ", ".join(controls.arms(study))
    return f"{study.controls}: a pool of uninjected trials; {arms}" if arms else f"{study.controls}"


def _grading(experiment: Experiment) -> str:
    if not experiment.graded:
        return experiment.scored or "by the experiment's own measure"
    return (
        "detection: a coherent reply that claims a thought; identification: it also names the concept, not before "
        "claiming; refusals, garble and undecided replies never count as a yes or a no"
    )


def _text(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
