# %% [markdown]
# # Question 2: does training help or hurt?
#
# **Model:** simulated pair. **Done:** compare two runs concept by concept.
#
# **What fooled others:** a base model without a chat template is asked in another format than its instruct twin. `dialogue="plain"`
# asks both alike.
# %%
import os
import tempfile

os.environ["MLXINTRO_HOME"] = tempfile.mkdtemp()  # a store of its own: delete this line to keep your runs
import mlxintro as mi

# %%
settings = dict(concepts=["set:lindsey-50"], layers=[5], strengths=[2.0], trials=2, controls=40)
base = mi.run("injected-thoughts", model="null", backend="fake", name="base", **settings)
trained = mi.run("injected-thoughts", model="detector?hit=0.6", backend="fake", name="trained", **settings)

# %%
from mlxintro.analysis.across.pairs import pair_table
from mlxintro.analysis.across.tables import compared
from mlxintro.grading.passes import rows_of
from mlxintro.paths import data_home
from mlxintro.rendering.text import table_lines
from mlxintro.store.store import Store

with Store(data_home().db, read_only=True) as store:
    table = pair_table(*compared([(run, rows_of(store, run, "rules")) for run in (base, trained)]))
print(*table_lines(table)[:-1], sep="\n")

# %% [markdown]
# **Seen:** the trained one detects more, its false alarms do not rise, and the net says so in one line.
#
# **Exercise.** Why pair by concept rather than pool the trials?
#
# **Answer.** Some words are easier for any model. Pairing takes that out, and 100 trials of 50 words are 50 observations.
