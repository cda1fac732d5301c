# %% [markdown]
# # Phase 3: does it notice?
#
# **Model:** the embedded one, then a simulated subject that was built to notice. **Done:** ask whether it detects an injected
# thought, with and without one.
#
# **Look for:** no on control trials, yes on injected ones, the right word, and the claim *before* the word.
#
# **What fooled others:** counting "yes" in injected trials alone. A model that says yes to everything looks like a mind
# reader until the uninjected trials are counted.
# %%
import os
import tempfile

os.environ["MLXINTRO_HOME"] = tempfile.mkdtemp()  # a store of its own: delete this line to keep your runs
import mlxintro as mi

# %%
small = dict(concepts=["ocean", "fear", "music"], layers=[0.66], strengths=[4.0], trials=1, controls=3)
real = mi.run("injected-thoughts", model="smollm2", backend="torch", device="cpu", max_tokens=16, name="real", **small)
trials = mi.frame("real")
print(trials[["condition", "concept", "rules.affirms", "response"]].to_string(index=False, max_colwidth=60))

# %%
many = dict(concepts=["set:lindsey-50"], layers=[5], strengths=[2.0], trials=1, controls="standard")
mi.run("injected-thoughts", model="detector?hit=0.8", backend="fake", name="built to notice", **many)
mi.run("injected-thoughts", model="yes-biased", backend="fake", name="says yes", **many)
for name in ("built to notice", "says yes"):
    found = mi.results(name)
    rates = [found.figure(one).value for one in ("detection", "false_alarms")]
    print(f"{name}: {found.verdict.kind}; claims {rates[0].value:.0%} injected, {rates[1].value:.0%} not")

# %%
mi.figure("built to notice", "says yes", kind="overall", width="page")

# %% [markdown]
# **Expected in the blueprint:** no on controls, yes on injections. **Seen:** the simulated introspector does that; the one that
# says yes has high rates on both, and only the control shows it. Three replies of a 135M model at 16 tokens show how a trial
# looks, and decide nothing.
#
# **Exercise.** How many uninjected trials without a single yes are needed to call the false-alarm rate below 5 %?
#
# **Answer.** The upper end of Wilson's interval for 0 of n falls below 5 % at n = 73; 20 trials leave 16 % possible.
