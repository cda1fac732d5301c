# %% [markdown]
# # Question 1: at what size does it begin?
#
# **Model:** three simulated subjects that stand for three sizes; `mlxintro run ladder` is the real study. **Done:** the trend per
# doubling of the parameters, concept by concept.
#
# **What fooled others:** a trend in claims may be a trend in saying yes. The trend of the false alarms stands beside it.
# %%
import os
import tempfile

os.environ["MLXINTRO_HOME"] = tempfile.mkdtemp()  # a store of its own: delete this line to keep your runs
import mlxintro as mi

# %%
from mlxintro.analysis.across.sizes import trend_table
from mlxintro.analysis.across.tables import compared
from mlxintro.grading.passes import rows_of
from mlxintro.paths import data_home
from mlxintro.rendering.text import table_lines
from mlxintro.store.store import Store

settings = dict(concepts=["set:lindsey-50"], layers=[5], strengths=[2.0], trials=2, controls=40)
for name, hit in (("small", 0.1), ("middle", 0.3), ("large", 0.7)):
    mi.run("injected-thoughts", model=f"detector?hit={hit}", backend="fake", name=name, **settings)
with Store(data_home().db, read_only=True) as store:
    runs = [store.runs.find(name) for name in ("small", "middle", "large")]
    table = trend_table(compared([(run, rows_of(store, run, "rules")) for run in runs], (0.135, 0.5, 3.0)))
print(*table_lines(table)[:-1], sep="\n")

# %%
mi.figure("small", "middle", "large", kind="overall", width="page")

# %% [markdown]
# **Seen:** detection rises per doubling, false alarms do not: the planted pattern. At the command line:
# `mlxintro compare small middle large --sizes 0.135,0.5,3`.
#
# **Exercise.** Three models, one trend, p very small: may one say "introspection grows with size"?
#
# **Answer.** Of these models on these concepts, yes. Models were not sampled: family, training and width change with size too.
