# %% [markdown]
# # Phase 4: where, and how strongly
#
# **Model:** a simulated subject that notices in a band of its depth: what is planted is known, so the sweep can be judged.
# **Done:** six layers by three strengths over 50 concepts.
#
# **Look for:** little at early layers, a band with detection, and the best cell *on concepts that did not choose it*.
#
# **What fooled others:** the highest of many cells is high partly by luck. The best cell is chosen on half of the concepts and
# reported on the other half.
# %%
import os
import tempfile

os.environ["MLXINTRO_HOME"] = tempfile.mkdtemp()  # a store of its own: delete this line to keep your runs
import mlxintro as mi

# %%
grid = dict(concepts=["set:lindsey-50"], layers=[0, 2, 3, 5, 6, 7], strengths=[1.0, 2.0, 4.0], trials=1)
mi.run("injected-thoughts", model="detector", backend="fake", name="sweep", **grid)
mi.figure("sweep", figures=["detection"], width="page")

# %%
mi.figure("sweep", kind="heat-maps", figures=["detection", "coherence"], width="page")

# %%
from mlxintro.rendering.text import table_lines

best = next(table for table in mi.results("sweep").tables if table.name == "best_cell")
print(*table_lines(best), sep="\n")

# %% [markdown]
# **Expected in the blueprint:** early layers little effect; about two thirds best; late layers garbled. **Seen:** nothing before
# half of the depth, detection from 0.6 on at strengths 2 and 4, as was planted. Replies stay readable at the last layer:
# this subject is garbled by strength (above 5 times the stream), not by depth. On the embedded model late layers do garble:
# try `mlxintro run sweep -m smollm2`.
#
# **Exercise.** Read the rate of the best cell off the figure and compare it with the table. Which is to be reported?
#
# **Answer.** The table's: its concepts had no say in the choice.
