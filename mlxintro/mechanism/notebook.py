"""Maps for a notebook, from the same plan and the same measuring as the experiment ``patching``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mlxintro.backends.base import Backend, Site
from mlxintro.mechanism.maps import PatchMap
from mlxintro.mechanism.stored import RANDOM, StoredPatches, whole_run
from mlxintro.paths import data_home
from mlxintro.protocol.study import make_study
from mlxintro.protocol.trials import Unit
from mlxintro.store.vectors import recorded_content
from mlxintro.vectors.cache import VectorCache


def patch_map(
    model: Backend,
    words: Sequence[str],
    *,
    layer: int | float,
    strength: float,
    unit: Unit = "raw",
    sites: Sequence[Site] = ("resid_post", "attn_out", "mlp_out"),
    groups: Sequence[str] = ("window", "question", "last"),
    heads: bool = False,
    random: bool = False,
    preset: str = "patching",
) -> PatchMap:
    """Map which layers, sites and positions carry an injected thought into the answer; see ``mechanism.patching``.

    Args:
        model: from ``load``.
        words: concepts, whose runs the intervals are taken over; any words work.
        layer: where the vectors are injected: an index, or a depth fraction.
        strength: in ``unit``.
        sites: what is patched at every layer.
        groups: positions that are patched together, of ``window``, ``question`` and ``last``.
        heads: patch every attention head by itself as well.
        random: inject random vectors of the same norm instead, the map to compare with.
        preset: whose dialogue, spellings and extraction.

    Returns:
        ``runs`` hold every reading; ``share``, ``shift`` and ``strongest`` sum them up.

    Raises:
        UsageError: a word, layer, site or preset that does not exist.
        InjectionError: a patch is not what was planned.
    """
    from mlxintro.running import launch
    from mlxintro.running.session import Session
    from mlxintro.vectors.extraction import extract

    study = make_study(
        experiment="patching",
        preset=preset,
        model=model.info.model,
        backend=model.info.backend,
        concepts=tuple(words),
        any_word=True,
        layers=(layer,),
        strengths=(strength,),
        unit=unit,
        controls="standard" if random else "none",
        options={"sites": list(sites), "groups": list(groups), "heads": heads, "lens": False},
    )
    checked = launch.check(study)
    plan = launch.plan(checked, model)
    home = data_home()
    vectors = extract(model, plan.recipes.values(), VectorCache(home.vectors, recorded=recorded_content(home.db)))
    specs = {spec.key: spec for spec in plan if spec.arm == (RANDOM if random else "")}
    parts: dict[int, list[StoredPatches]] = defaultdict(list)
    for outcome in checked.experiment.measure(Session(model, plan.prompts, vectors), list(specs.values())):
        spec = specs[outcome.key]
        parts[spec.trial].append(StoredPatches.of(spec.detail["layer"], outcome.measurements))
    return PatchMap(tuple(whole_run(layers) for layers in parts.values()))
