# %% [markdown]
# # Question 3: which concepts are noticed?
#
# **Model:** simulated, blind to categories. **Done:** emotions, objects and abstract ideas against each other.
#
# **What fooled others:** with many trials of few words any two categories differ "significantly". Here concepts are the units.
# %%
import os
import tempfile

os.environ["MLXINTRO_HOME"] = tempfile.mkdtemp()  # a store of its own: delete this line to keep your runs
import mlxintro as mi

# %%
words = ["category:emotion", "category:objects", "category:abstract"]
mi.run(
    "injected-thoughts",
    model="detector?hit=0.5",
    backend="fake",
    name="kinds",
    concepts=words,
    layers=[5],
    strengths=[2.0],
    trials=2,
)
from mlxintro.rendering.text import table_lines

table = next(one for one in mi.results("kinds").tables if one.name == "categories_compared")
print(*table_lines(table), sep="\n")

# %% [markdown]
# **Seen:** no pair differs, as it should be for a subject that does not know categories.
#
# **Exercise.** How would you find out whether emotions are *named* less because they have more synonyms?
#
# **Answer.** Look at how near the named word was (`rules.naming` in `mi.frame`): exact, close or of the category.
