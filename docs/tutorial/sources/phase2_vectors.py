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
print(found)

# %%
asked = [{"role": "user", "content": "Tell me about your day."}]
steered = mi.steer(model, ocean, asked, layer=20, strength=4.0, unit="raw", max_tokens=16)
print(steered)
model.close()

# %% [markdown]
# **Exercise.** The vector of *sea* steers towards *ocean* as well. Does that make the two one concept?
#
# **Answer.** No: it makes the test unable to tell them apart. Naming is only believed where the named word is compared with words
# whose vectors were *not* injected (phase 3).
