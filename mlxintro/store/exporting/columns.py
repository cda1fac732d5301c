"""The columns of an exported trial, with what each holds: the data dictionary of exports and of ``mi.frame``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """Describes one column of an exported trial."""

    name: str
    kind: str
    """``text``, ``whole``, ``real``, ``yes/no`` or ``nested``: JSON text where a format is flat."""
    meaning: str


TRIAL_COLUMNS = (
    Column("run", "text", "Name of the run."),
    Column("run_id", "text", "Identifier of the run; names can be changed, this cannot."),
    Column("experiment", "text", "Which experiment the run is of."),
    Column("preset", "text", "Which wording and settings it follows."),
    Column("model", "text", "The model as it was asked for, e.g. smollm2 or Qwen/Qwen2.5-7B-Instruct."),
    Column("model_revision", "text", "Commit of a hub model, content hash of a local folder."),
    Column("adapter", "text", "The low-rank adapter as it was asked for; empty without one."),
    Column("architecture", "text", "The model_type of its configuration, e.g. qwen2."),
    Column("backend", "text", "mlx, torch or fake."),
    Column("dtype", "text", "Dtype of the residual stream."),
    Column("quantization", "text", "none, or e.g. 4-bit (group 64)."),
    Column("parameters", "whole", "Numbers in its weights, without an adapter's; missing or 0 where it is not known."),
    Column("layers", "whole", "Number of blocks of the model."),
    Column("width", "whole", "Width of its residual stream."),
    Column("model_key", "text", "Everything of the model that changes a result, in one text."),
    Column("trial_key", "text", "Hash of the trial's whole specification: the same trial has the same key anywhere."),
    Column("ordinal", "whole", "Place in the plan, from 0."),
    Column("status", "text", "done or error."),
    Column("condition", "text", "injected or control (no injection)."),
    Column("arm", "text", "Control arm; empty for the main trials."),
    Column("concept", "text", "The concept whose vector was injected, or that was asked about; empty in controls."),
    Column("category", "text", "Category of the concept in the library; custom for own words."),
    Column("layer", "whole", "Block after which the vector was added, from 0; of the first injection."),
    Column("depth", "real", "layer / layers: comparable between models."),
    Column("strength", "real", "Multiplier as it was asked for, in unit."),
    Column("unit", "text", "raw: multiples of the vector; norm: length; resid: multiples of the stream's mean norm."),
    Column("dose_raw", "real", "The first injection's strength as a multiple of the vector."),
    Column("dose_norm", "real", "Its length."),
    Column("dose_resid", "real", "Its length over the mean norm of the residual stream at that layer."),
    Column("prompt", "text", "Hash of the prompt; `runs show RUN` has the text."),
    Column("trial", "whole", "Number of the repetition within its cell."),
    Column("seed", "whole", "Seed of the sampling."),
    Column("temperature", "real", "Sampling temperature; 0 is greedy."),
    Column("top_p", "real", "Nucleus of the sampling."),
    Column("max_tokens", "whole", "Most tokens of a reply."),
    Column("response", "text", "The reply, whole."),
    Column("finish", "text", "Why it ended: stop or length."),
    Column("thought", "text", "What was thought before the reply; empty where the subject did not think."),
    Column("thought_tokens", "whole", "Tokens of the thought."),
    Column("thought_end", "text", "What ended it: itself; budget or turn, which cut it off."),
    Column("tokens", "whole", "Tokens of the reply."),
    Column("error", "text", "Why the trial failed; empty where it did not."),
    Column("created", "text", "When it was stored, UTC."),
    Column("readout", "text", "text, or what is scored instead of written."),
    Column("detail", "nested", "What the experiment notes about the trial, e.g. which sentence was injected."),
    Column("injections", "nested", "Every injection: layer, positions, vector, transform."),
    Column("doses", "nested", "The dose of every injection in all units."),
    Column("proofs", "nested", "What was measured of every injection: positions touched, change of the stream."),
    Column("measurements", "nested", "What the experiment scored, e.g. log-probabilities."),
)

GRADE_COLUMNS = (
    Column("affirms", "yes/no", "Claims to notice an injected or unusual thought; empty: not decided."),
    Column("identifies", "yes/no", "Names the concept; empty without a concept."),
    Column("named_before_affirming", "yes/no", "The name stands before the claim."),
    Column("coherent", "yes/no", "Readable and not degenerate."),
    Column("refuses", "yes/no", "Declines to take part."),
    Column("thought_affirms", "yes/no", "The thought before the reply claims to notice something."),
    Column("thought_identifies", "yes/no", "The thought names the concept."),
    Column("channels", "text", "The thought's verdict x the reply's, e.g. noticed, not said; thought cut off apart."),
    Column("naming", "text", "exact, close or category: how the concept is named."),
    Column("state", "text", "scored, abstained (read, and cannot tell) or unscored (failed)."),
    Column("reason", "text", "Why, in one sentence."),
    Column("version", "text", "Version of the grader; figures of several versions do not belong together."),
)
"""Columns of each grader's latest verdict, as ``GRADER.affirms``."""
