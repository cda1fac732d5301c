"""Files that hold vectors: safetensors, GGUF control vectors, npz, and decoders of sparse autoencoders."""
