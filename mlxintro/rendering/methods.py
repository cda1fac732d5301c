"""The methods paragraph of a run: everything a paper must state so that others can repeat it, in whole sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from mlxintro import experiments
from mlxintro.analysis.run import frozen_facts, study_of
from mlxintro.backends.base import ModelInfo
from mlxintro.protocol import presets
from mlxintro.protocol.hashing import tagged_hash
from mlxintro.protocol.study import Study
from mlxintro.store.records import Run
from mlxintro.store.store import Store

_LIBRARIES = ("torch", "transformers", "mlx", "mlx-lm", "tokenizers", "bitsandbytes", "gguf", "numpy")


def methods(store: Store, run: Run, grader: str) -> str:
    """Say how a run was made: model, vectors, trials, sampling, grading, statistics, versions, seed and hashes.

    Args:
        store: where the run is.
        run: the run.
        grader: whose verdicts are reported.
    """
    said = [_model(run), _trials(run), _sampling(run), _vectors(run)]
    if experiments.find(run.experiment).graded:
        versions = sorted(store.grades.versions(run.id, grader))
        version = f" (version {', '.join(versions)})" if versions else ""
        said.append(f"Replies were graded by {grader}{version}, blind to the condition.")
    said.append("Intervals are 95 %: Wilson's for rates, Newcombe's for their differences, Student's for means.")
    said += [f"Preregistration: {text}." for _, text in frozen_facts(store, run)]
    said.append(_versions(run))
    return " ".join(filter(None, said))


def all_methods(store: Store, runs: Sequence[Run], grader: str) -> str:
    """Write a paragraph for every run, each under its name where there are several."""
    if len(runs) == 1:
        return methods(store, runs[0], grader)
    return "\n\n".join(f"{run.name}: {methods(store, run, grader)}" for run in runs)


def _model(run: Run) -> str:
    model = run.model
    said = f"The subject was {model.get('model')} (revision {model.get('revision')}"
    said += f", {model.get('layers')} layers, width {model.get('width')})"
    if model.get("adapter"):
        said += f" with the adapter {model['adapter']} ({model.get('adapter_revision')})"
    quantised = model.get("quantization", "none")
    weights = "weights not quantised" if quantised == "none" else f"weights quantised to {quantised}"
    said += f", run on {model.get('backend')} ({model.get('device')}) in {model.get('dtype')}, {weights}"
    dialogue = "its chat template" if model.get("chat_template") else "a plain dialogue format"
    return f"{said}; dialogues were rendered by {dialogue} ({model.get('template_hash')})."


def _trials(run: Run) -> str:
    study = study_of(run)
    where = f"layers {_list(_layers(run, study.layers))}" if study.layers else ""
    doses = f"strengths {_list(study.strengths)} ({study.unit})" if study.strengths else ""
    spots = " and ".join(filter(None, (where, doses)))
    per = f", {study.trials} trial{'s' if study.trials != 1 else ''} of each" if study.trials else ""
    failed = f"; {run.errors} trials failed" if run.errors else ""
    ships = study.preset in presets.names() and not study.preset_data
    source = f", after {presets.load(str(study.preset)).source}" if ships else ""
    at = f", at {spots}" if spots else ""
    return (
        f"The experiment was {run.experiment} with the preset {study.preset}{source}, on the concepts "
        f"{_list(study.concepts)}{_own(study)}{at}{per}, window {study.window}, controls {_list(study.controls)}: "
        f"{run.done:,} of {run.planned:,} planned trials are finished{failed}."
    )


def _own(study: Study) -> str:
    if study.own_concepts is None:
        return ""
    count = sum(map(len, study.own_concepts.concepts.values()))
    mark = tagged_hash(study.own_concepts.model_dump(mode="json"))
    return f" (with {count} concept{'s' if count != 1 else ''} of our own, listed in the run's settings, {mark})"


def _layers(run: Run, layers: Sequence[int | float]) -> list[int | float]:
    """Return layers as indices of the run's model, however the study named them."""
    known = {field.name for field in fields(ModelInfo)}
    info = ModelInfo(**{name: value for name, value in run.model.items() if name in known})
    return sorted({info.layer(layer) for layer in layers})


def _sampling(run: Run) -> str:
    study = study_of(run)
    temperature = "greedily" if study.temperature == 0 else f"at temperature {study.temperature:g}"
    top = "" if study.top_p in (None, 1.0) or study.temperature == 0 else f", top-p {study.top_p:g}"
    return f"Replies of at most {study.max_tokens} tokens were sampled {temperature}{top}, with seed {study.seed}."


def _vectors(run: Run) -> str:
    study = study_of(run)
    own = f", with {study.extraction}" if study.extraction else ""
    if study.vectors:
        return f"Vectors were imported: {', '.join(sorted(study.vectors))}."
    if study.preset_data or study.preset not in presets.names():
        return f"Vectors were extracted as the preset {study.preset} says{own}."
    extraction: dict[str, Any] = presets.load(str(study.preset)).extraction.model_dump(exclude_defaults=True)
    method = extraction.pop("method", "word-minus-baseline")
    facts = ", ".join(f"{name.replace('_', ' ')} {value!r}" for name, value in extraction.items())
    return f"Concept vectors were extracted by {method}, with {facts}{own}."


def _versions(run: Run) -> str:
    found = run.environment
    packages = found.get("packages", {})
    libraries = ", ".join(f"{name} {packages[name]}" for name in _LIBRARIES if name in packages)
    commit = (found.get("git") or {}).get("commit")
    dirty = ", with changes" if (found.get("git") or {}).get("dirty") else ""
    at = f" (commit {commit[:12]}{dirty})" if commit else ""
    study = tagged_hash(run.study)
    return (
        f"Everything was run with mlxintro {packages.get('mlxintro', '?')}{at} on Python {found.get('python', '?')}, "
        f"{found.get('platform', '?')}, with {libraries}; run {run.id}, settings {study}, begun {run.created[:16]} UTC."
    )


def _list(values: Any) -> str:
    if isinstance(values, str | int | float):
        return str(values)
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values or ())
