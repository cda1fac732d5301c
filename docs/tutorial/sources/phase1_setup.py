# %% [markdown]
# # Phase 1: a model that runs, speaks, and can be read
#
# **Model:** the embedded one (SmolLM2-135M), on PyTorch. **Done:** load it, ask it something, read its residual stream.
#
# **Look for:** a coherent answer; one vector per layer and token, of the model's width; memory that fits.
#
# **What fooled others:** `hidden_states[0]` of transformers is the embedding, so its index is one more than the block's, and
# its last entry is behind the final norm. Here layer L is the residual stream after block L, before that norm.
# %%
import os
import tempfile

os.environ["MLXINTRO_HOME"] = tempfile.mkdtemp()  # a store of its own: delete this line to keep your runs
import mlxintro as mi

# %%
model = mi.load("smollm2", backend="torch", device="cpu")
print(model.info.layers, "layers of width", model.info.width, "in", model.info.dtype)
chat = model.tokenizer.render([{"role": "user", "content": "What is the capital of France? One word."}])
(reply,) = model.generate([mi.Request(mi.Prompt(chat.tokens), mi.Sampling(max_tokens=8))])
print(repr(reply.text))

# %%
stream = model.capture([mi.Prompt(chat.tokens)], layers=[0, 10, 20])[0]["resid_post"]
print("layers, tokens, width:", stream.shape)
print("norm of the last token's stream by layer:", [round(float((row[-1] ** 2).sum() ** 0.5)) for row in stream])
print(f"{model.memory().used / 1e9:.1f} GB used, {model.memory().free / 1e9:.0f} GB free")
model.close()

# %% [markdown]
# **Exercise.** Why must a strength be stated with its unit when layers are compared?
#
# **Answer.** The norm of the stream grows with depth (see the line above), so a vector of one length is a loud thought early and a
# whisper late. `unit="resid"` states the dose as a fraction of the stream's own norm.
