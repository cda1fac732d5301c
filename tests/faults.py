"""Deliberate faults: each is put into a copy of the tree, alone, and the tests that should see it are run.

    python -m tests.faults                 all of them, about half an hour on one core
    python -m tests.faults guard           those of ``tests/guard_faults.py``
    python -m tests.faults rounding holm   those whose name holds one of these words

Prints one line per fault. Exit code 1 if any survives. Nothing outside a temporary folder is written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.guard_faults import GUARDS

ROOT = Path(__file__).parents[1]
STORE = "tests/test_store.py tests/test_store_verdicts.py tests/test_store_files.py tests/test_store_exchange.py"
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "*_cache", "__pycache__", "dist")


LONGEST = 900
"""Seconds that the tests of one fault may take."""


class Fault(NamedTuple):
    name: str
    file: str
    right: str
    """Text that stands in the file once."""
    wrong: str
    tests: str
    """Arguments of pytest."""


FAULTS = (
    # The backends
    Fault(
        "proofs: the last position is not compared",
        "backends/checks.py",
        " or proof.last != last:",
        ":",
        "tests/test_guards.py",
    ),
    Fault(
        "proofs: a missing proof is accepted",
        "backends/checks.py",
        "if len(proofs) != len(prompt.injections):",
        "if False:",
        "tests/test_guards.py",
    ),
    Fault(
        "proofs: an unchanged stream is accepted",
        "backends/checks.py",
        "if count and effective and not proof.change > 0:",
        "if False:",
        "tests/test_guards.py",
    ),
    Fault(
        "injections: windows are closed instead of half open (PyTorch)",
        "backends/pytorch/lanes.py",
        "inside = (where >= starts) & (where < stops)",
        "inside = (where >= starts) & (where <= stops)",
        "tests/test_backend_contract.py -k 'touches_exactly and torch-llama'",
    ),
    Fault(
        "injections: windows begin one token late (MLX)",
        "backends/mlxlm/patch.py",
        "(positions >= self._starts)",
        "(positions > self._starts)",
        "tests/test_mlx_patch.py -k lanes",
    ),
    Fault(
        "injections: ablation takes the vector's length for a unit",
        "backends/lanes.py",
        'if injection.operation == "ablate":',
        "if False:",
        "tests/test_mlx_patch.py -k lanes",
    ),
    Fault(
        "sampling: every row draws the same numbers",
        "backends/sampling.py",
        "np.random.Philox(seed)",
        "np.random.Philox(0)",
        "tests/test_guards.py",
    ),
    Fault(
        "sampling: top-p keeps one token too few",
        "backends/pytorch/sampling.py",
        "ordered.cumsum(-1) - ordered >= limits",
        "ordered.cumsum(-1) >= limits",
        "tests/test_torch_hooks.py -k choices",
    ),
    Fault(
        "prefix: a prompt uses a beginning that reaches into its injection",
        "backends/prefix.py",
        "*(injection.start for injection in prompt.injections[common:])",
        "*(injection.start + 1 for injection in prompt.injections[common:])",
        "tests/test_shared_beginnings.py",
    ),
    Fault(
        "engine: a reply may be one token too long",
        "backends/engine.py",
        "full = len(row.tokens) == sampling.max_tokens",
        "full = len(row.tokens) == sampling.max_tokens + 1",
        "tests/test_backend_edges.py -k 'fake or batch'",
    ),
    Fault(
        "memory: exhausted memory is told while the memory is still held",
        "backends/base.py",
        "            if not self._exhausted(error):\n                raise\n",
        "            if self._exhausted(error):\n                raise self._freed() from error\n            raise\n",
        "tests/test_guards.py",
    ),
    Fault(
        "memory: 4-bit weights of bitsandbytes include the vocabulary",
        "backends/machine/memory.py",
        'if backend == "torch" else 0\n',
        "if False else 0\n",
        "tests/test_devices.py",
    ),
    Fault(
        "devices: a GPU that torch cannot use is left aside in silence",
        "backends/pytorch/devices.py",
        "    if version is not None:",
        "    if False:",
        "tests/test_devices.py",
    ),
    Fault(
        "devices: replies are handed out before the device has confirmed them (MLX)",
        "backends/mlxlm/decode.py",
        "        if not self._settled:",
        "        if False:",
        "tests/test_mlx_batches.py -k 'confirmed or together_wait'",
    ),
    # Vectors and windows
    Fault(
        "vectors: a strength in norms is taken for a multiple",
        "mlxintro/vectors/vector.py",
        '"norm": strength / norm',
        '"norm": strength',
        "tests/test_vectors.py tests/test_vector_cache.py",
    ),
    Fault(
        "vectors: the random direction is the same at every layer",
        "mlxintro/vectors/vector.py",
        'f"{self.recipe.key}:{layer}:{seed}"',
        'f"{self.recipe.key}:{seed}"',
        "tests/test_vectors.py tests/test_vector_cache.py",
    ),
    Fault(
        "windows: the question's window begins with the question",
        "mlxintro/protocol/windows.py",
        "anchor = len(rendered.text[:at].rstrip())",
        "anchor = at",
        "tests/test_windows.py",
    ),
    # The runner and the store
    Fault(
        "runner: a block that was cut short is measured only where something is missing",
        "mlxintro/running/runner.py",
        "            yield from self._measured(specs, ordinals)\n            return",
        "            yield from self._measured({key: specs[key] for key in missing}, ordinals)\n            return",
        "tests/test_runner.py tests/test_runner_control.py",
    ),
    Fault(
        "runner: after memory ran out the size is not remembered",
        "mlxintro/running/runner.py",
        "        self.store.runs.set_batch_size(self.run.id, self.size)\n",
        "",
        "tests/test_runner.py tests/test_runner_control.py",
    ),
    Fault(
        "runner: a wrong proof fails one trial instead of the run",
        "mlxintro/running/runner.py",
        "        except (InjectionError, NothingMeasures):\n            raise\n",
        "",
        "tests/test_runner.py tests/test_runner_control.py",
    ),
    Fault(
        "runner: a killed run goes on with as many rows",
        "mlxintro/running/launch.py",
        "and store.runs.was_killed(run.id)",
        "and False",
        "tests/test_batch_size.py",
    ),
    Fault(
        "resume: another chat template is no reason to refuse",
        "mlxintro/running/session.py",
        ' "template_hash", "adapter_revision")',
        ' "adapter_revision")',
        "tests/test_resume_identity.py",
    ),
    Fault(
        "store: failed trials count as finished",
        "mlxintro/store/trials.py",
        "AND key IN (SELECT value FROM json_each(?)) AND status = 'done'\"",
        'AND key IN (SELECT value FROM json_each(?))"',
        f"{STORE} tests/test_runner.py tests/test_runner_control.py",
    ),
    Fault(
        "store: the oldest verdict counts instead of the latest",
        "mlxintro/store/latest.py",
        "AND (h.created, h.id) > (g.created, g.id))",
        "AND (h.created, h.id) < (g.created, g.id))",
        STORE,
    ),
    Fault(
        "store: two processes may work on one run",
        "mlxintro/store/runs.py",
        "        if alive(row) and not mine:",
        "        if False:",
        f"{STORE} tests/test_runner.py tests/test_runner_control.py",
    ),
    # Statistics
    Fault(
        "statistics: Wilson's interval without its correction of the centre",
        "mlxintro/analysis/stats.py",
        "centre = (share + z * z / (2 * trials)) / scale",
        "centre = share",
        "tests/test_statistics.py",
    ),
    Fault(
        "statistics: p values are not adjusted (Holm)",
        "mlxintro/analysis/stats.py",
        'multipletests(p_values, method="holm")[1]',
        "p_values",
        "tests/test_statistics.py",
    ),
    Fault(
        "statistics: trials are taken for concepts",
        "mlxintro/analysis/contrasts.py",
        "    means = concept_means(pairs)\n",
        "    means = tuple(value for _, value in pairs)\n",
        "tests/test_statistics.py tests/test_experiment_scoring.py tests/test_experiments.py",
    ),
    Fault(
        "statistics: a cell counts by its best contrast instead of its worst",
        "mlxintro/analysis/contrasts.py",
        "worst[cell] = max(",
        "worst[cell] = min(",
        "tests/test_statistics.py tests/test_planted.py tests/test_experiment_scoring.py",
    ),
    Fault(
        "best cell: chosen and reported on the same concepts",
        "mlxintro/ladder/best_cell.py",
        "words[: len(words) // 2], words[len(words) // 2 :]",
        "words, words",
        "tests/test_best_cell.py",
    ),
    Fault(
        "controls: an arm ties every concept to a few cells",
        "mlxintro/protocol/controls.py",
        "(number + number // math.lcm(words, cells)) % cells",
        "number % cells",
        "tests/test_controls.py",
    ),
    # Grading
    Fault(
        "grading: a concept named before the claim counts as identified",
        "mlxintro/grading/base.py",
        "return all_of(self.identifies, in_time)",
        "return self.identifies",
        "tests/test_rules.py tests/test_grade_command.py tests/test_golden.py",
    ),
    Fault(
        "grading: a refusal that affirms is a detection",
        "mlxintro/grading/base.py",
        "all_of(self.coherent, self.affirms, None if self.refuses is None else not self.refuses)",
        "all_of(self.coherent, self.affirms)",
        "tests/test_rules.py tests/test_verdict_card.py tests/test_twins.py",
    ),
    Fault(
        "grading: the correction forgets how often nothing is cleared",
        "mlxintro/grading/correction.py",
        "(raw + sp - 1) / (se + sp - 1)",
        "raw / se",
        "tests/test_correction.py tests/test_corrected_stats.py",
    ),
    Fault(
        "grading: what is under way is not set aside in the budget",
        "mlxintro/grading/claude/budget.py",
        "            self._held += dollars\n",
        "",
        "tests/test_claude.py tests/test_claude_interrupted.py -k budget",
    ),
    Fault(
        "grading: replies that another version has graded are skipped",
        "mlxintro/grading/passes.py",
        "last.version == grader.version and not again",
        "not again",
        "tests/test_guards.py",
    ),
    *(Fault(*guard) for guard in GUARDS),
)


def survives(fault: Fault, tree: Path) -> bool:
    """Whether the tests pass with the fault in the tree, which is as before afterwards."""
    file = tree / fault.file
    text = file.read_text("utf-8")
    if text.count(fault.right) != 1:
        raise SystemExit(f"{fault.name}: its text stands {text.count(fault.right)} times in {fault.file}")
    file.write_text(text.replace(fault.right, fault.wrong), "utf-8")
    try:
        done = subprocess.run(
            f"exec {sys.executable} -m pytest -x -q -p no:cacheprovider {fault.tests}",
            shell=True,
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        # A guard against what never ends: without it the tests do not end either.
        return False
    finally:
        file.write_text(text, "utf-8")
    if done.returncode not in (0, 1):
        raise SystemExit(f"{fault.name}: pytest ended with {done.returncode}: {done.stdout[-500:]}")
    return done.returncode == 0


def main() -> int:
    words = [word.lower() for word in sys.argv[1:]]
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name.lower() for word in words)]
    survivors = 0
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        shutil.copytree(ROOT, tree, symlinks=True, ignore=LEFT_OUT)
        for fault in chosen:
            survived = survives(fault, tree)
            survivors += survived
            print("survived" if survived else "killed  ", fault.name, flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
