# %% [markdown]
# # Phase 5: a thought told from a text
#
# **Model:** simulated. **Done:** show a sentence, inject a concept over it, ask for both in separate trials.
#
# **Look for:** the sentence repeated correctly *while* the thought is reported.
#
# **What fooled others:** repeating a text is easy and naming under steering is easy; only both *in the same place*, compared
# with an exchanged pairing, is the finding.
# %%
import os
import tempfile

os.environ["MLXINTRO_HOME"] = tempfile.mkdtemp()  # a store of its own: delete this line to keep your runs
import mlxintro as mi

# %%
settings = dict(concepts=["set:blueprint"], layers=[5], strengths=[2.0, 4.0], trials=4)
mi.run("thought-vs-text", model="detector", backend="fake", name="both", **settings)
from mlxintro.rendering.text import figure_lines

found = mi.results("both")
print(found.verdict.kind, "-", found.verdict.headline)
print(*figure_lines(found.figures), sep="\n")

# %%
mi.figure("both", width="page")

# %% [markdown]
# **Expected in the blueprint:** text and thought reported apart. **Seen:** both right in 38 % of the injected trials and in none of the
# uninjected ones. The verdict names the strongest cell after correction, and what was not tested: that the vector merely makes the word come out.
#
# **Exercise.** The text is repeated in nearly every trial. Is that evidence of introspection?
#
# **Answer.** No: reading a sentence needs none. It shows that the injection did not destroy reading, without which a missing
# thought would mean nothing.
