# CPU by default, GPU with --build-arg DEVICE=gpu; how to build and run it: docs/operations.md, "Containers".
ARG DEVICE=cpu

FROM python:3.11-slim AS build
ARG DEVICE
# Options of pip for torch alone, for where your index gives another build than you want: an --index-url, say.
ARG TORCH_PIP_ARGS=""
ARG PIP_VERSION=26.1
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /repo
COPY constraints.txt ./
# The secret is your pip.conf, where you have one; it is there for this line and in no layer.
# pip and torch by themselves, as in the Makefile: in one go with the others, pip may take another build of torch.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install "pip==${PIP_VERSION}" \
    && pip install ${TORCH_PIP_ARGS} -c constraints.txt "$(grep '^torch==' constraints.txt)"
RUN built_for="$(python -c 'import torch; print(torch.version.cuda or "CPU")')"; \
    echo "This torch is built for: ${built_for}"; \
    if [ "${DEVICE}" = gpu ] && [ "${built_for}" = CPU ]; then \
        echo "DEVICE=gpu needs a CUDA build of torch: name an index that has one with TORCH_PIP_ARGS" >&2; exit 1; \
    fi
COPY pyproject.toml README.md LICENSE ./
# Installed in place: /repo/src is what runs, the image's own copy or the one that is mounted over it.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    mkdir -p src/unroll && touch src/unroll/__init__.py && pip install -c constraints.txt -e ".[server]" \
    && find /opt/venv \( -name __pycache__ -o -path "*/torch/test" \) -prune -exec rm -r {} +

FROM python:3.11-slim AS runtime
# DVC and the provenance of a run ask git.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*
# The mounted repository may belong to another user than the container's. Any user may need a home to write to.
RUN git config --system --add safe.directory /repo \
    && useradd --create-home --uid 1000 unroll \
    && chmod 1777 /home/unroll \
    && install --directory --owner unroll /home/unroll/artifacts
COPY --from=build /opt/venv /opt/venv
# Bytecode would be a fifth of the installation: each container compiles what it imports, once.
ENV PATH=/opt/venv/bin:$PATH HOME=/home/unroll USER=unroll PYTHONUNBUFFERED=1 PYTHONPYCACHEPREFIX=/home/unroll/.pycache
WORKDIR /repo
COPY . .

FROM runtime AS device-cpu
# An empty list of devices: nothing in this image uses a GPU, whatever build of torch it has.
ENV CUDA_VISIBLE_DEVICES=""

FROM runtime AS device-gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM device-${DEVICE}
USER unroll
CMD ["unroll", "--help"]
