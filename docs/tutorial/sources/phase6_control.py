# %% [markdown]
# # Phase 6: think of it, do not think of it
#
# **Model:** simulated. **Done:** copy a sentence while told to think of a word, told not to, and told neither; measure the cosine of
# the stream with the word's vector over the reply.
#
# **Look for:** think > don't think > floor.
#
# **What fooled others:** the instruction itself holds the word, so it raises the cosine wherever the prompt is averaged in. Here only
# the tokens of the reply count, and unrelated words give the floor.
# %%
import os
import tempfile

os.environ["MLXINTRO_HOME"] = tempfile.mkdtemp()  # a store of its own: delete this line to keep your runs
import mlxintro as mi

# %%
settings = dict(concepts=["ocean", "fear", "bread", "music", "silence"], trials=2)
mi.run("intentional-control", model="detector", backend="fake", name="control", **settings)
found = mi.results("control")
print(found.verdict.kind, "-", found.verdict.headline)
mi.figure("control", kind="curves", figures=["cosine_centred"], width="page")

# %% [markdown]
# **Expected in the blueprint:** think > don't think > control. **Seen:** the three lines stand in that order at every layer of the
# simulated subject, which was built so; the many other arms (rewards, moods) lie on the floor.
#
# **Exercise.** Why is "don't think" above the floor?
#
# **Answer.** Its prompt names the word as well: an effect of mention. The finding is think *minus* don't think.
