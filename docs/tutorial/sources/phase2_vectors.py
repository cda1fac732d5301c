# %% [markdown]
# # Phase 2: concept vectors, and whether they steer
#
# **Model:** the embedded one. **Done:** extract the vector of *ocean* (its activation minus the mean of baseline words) and test
# that it steers.
#
# **Look for:** the word, or its kin, becoming more likely than under random vectors of the same norm.
#
# **What fooled others:** a steered text full of waves proves little by eye: any large push changes a text. The test compares
# with random directions of the same norm.
# %%
import os
import tempfile

os.environ["MLXINTRO_HOME"] = tempfile.mkdtemp()  # a store of its own: delete this line to keep your runs
import mlxintro as mi

# %%
from mlxintro.protocol.concepts import library

model = mi.load("smollm2", backend="torch", device="cpu")
ocean = mi.concept_vector(model, "ocean")
(concept,) = library().resolve(["ocean"], allow_unknown=False)
found = mi.validate(model, ocean, concept, layer=20, strength=4.0, unit="raw", randoms=9)
for one in found.prompts:
    random = sum(one.random) / len(one.random)
    print(f"{one.prompt.prefill:32} plain {one.plain:6.1f}   steered {one.steered:6.1f}   random vectors {random:6.1f}")
print(
    f"more than random vectors: {found.effect:+.2f} nats ({found.low:+.2f} to {found.high:+.2f}), p = {found.p_value}"
)

# %%
asked = [{"role": "user", "content": "Tell me about your day."}]
steered = mi.steer(model, ocean, asked, layer=20, strength=4.0, unit="raw")
print("plain:  ", steered.plain[:100])
print("steered:", steered.steered[:100])
print(f"dose: {steered.dose.resid:.0%} of the stream's norm, added to {steered.proof.positions} tokens")
model.close()

# %% [markdown]
# **Expected in the blueprint:** steering with *ocean* makes outputs more ocean-related. **Seen:** on some beginnings clearly, on others not at all; on average ocean is a nat or two more likely than under random vectors. With nine of them p cannot be below 0.1: `mlxintro steer` takes nineteen. The steered text changes its mood and repeats itself, and never says ocean: by eye one would see nothing.
#
# **Exercise.** The vector of *sea* steers towards *ocean* as well. Does that make the two one concept?
#
# **Answer.** No: it makes the test unable to tell them apart. Naming is only believed where the named word is compared with words
# whose vectors were *not* injected (phase 3).
