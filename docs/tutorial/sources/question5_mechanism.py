# %% [markdown]
# # Question 5: what carries the answer?
#
# **Model:** simulated. **Done:** patch activations of a clean run into the injected one, by layer and place, and see what takes the yes
# away.
#
# **What fooled others:** a patched place that matters for *any* strong disturbance. Random vectors get a map of their own.
# %%
import os
import tempfile

os.environ["MLXINTRO_HOME"] = tempfile.mkdtemp()  # a store of its own: delete this line to keep your runs
import mlxintro as mi

# %%
settings = dict(concepts=["ocean", "fear", "bread", "music", "silence"])
mi.run("patching", model="detector", backend="fake", name="patch", **settings)
found = mi.results("patch")
print(found.verdict.kind, "-", found.verdict.headline)
names = [map_.name for map_ in found.value_maps if map_.name.startswith("log_odds_removed")]
mi.figure("patch", figures=names, width="page")

# %% [markdown]
# **Seen:** the residual stream of the question and of the last token carries it above the injected layer; attention and MLP places do
# nothing in this simulated subject, and the random vectors' map is flat. The verdict stays cautious all the same: five concepts and seventy-two cells leave no cell after correction. Give it twenty concepts.
#
# **Exercise.** Why does every layer above the first one that carries it show the same value?
#
# **Answer.** The stream carries what was written into it up to the end: replacing it anywhere above removes the same thing.
