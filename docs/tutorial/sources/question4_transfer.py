# %% [markdown]
# # Question 4: do vectors carry over to another model?
#
# **Model:** two simulated subjects of different widths. **Done:** learn a linear map on other words, carry *ocean* over, and look at
# the cosine with the target's own vector.
#
# **What fooled others:** a map learned on the same words, or judged without a permuted map beside it, always looks good.
# %%
import os
import tempfile

os.environ["MLXINTRO_HOME"] = tempfile.mkdtemp()  # a store of its own: delete this line to keep your runs
import mlxintro as mi

# %%
from mlxintro.rendering.text import cell_text

source = mi.load("detector?width=128", backend="fake")
target = mi.load("detector?width=192", backend="fake")
found = mi.align(source, target, ["ocean", "fear", "bread"])
for one in found.maps:
    print(
        f"layer {one.source} to layer {one.target}, {one.kind}: cosine on words not learned on {cell_text(one.held_out)}"
    )
for word, vector in found.carried.items():
    own = mi.concept_vector(target, word).direction[5]
    carried = vector.direction[0]
    print(word, "carried against own:", round(float(own @ carried / ((own @ own) * (carried @ carried)) ** 0.5), 2))

# %% [markdown]
# **Seen:** a cosine near 0.7 on words the map never saw. `mlxintro vectors align` and `run transfer` set a permuted map beside it.
#
# **Exercise.** A carried vector has a cosine of 0.6 with the native one. Will it be noticed?
#
# **Answer.** Not known: cosine says it points there, `mlxintro run transfer` says what it does, beside the native vector, a permuted
# map and random ones.
