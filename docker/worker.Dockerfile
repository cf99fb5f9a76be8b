# The image that learns: builds services, runs rebuilds, publishes and promotes.
# For the smaller CPU torch, give TORCH_INDEX the address of PyTorch's index of CPU wheels.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
FROM ${PYTHON_IMAGE}

ARG TORCH_INDEX=
WORKDIR /opt/perennial
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY builders builders
COPY client client
COPY perf perf
# Of two wheels of the pinned version pip takes the one marked +cpu.
RUN python -m pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    -c constraints.txt ".[serve,train,postgres]"

# A new named volume takes its folders and their owner from the image.
RUN install -d -o 1000 -g 1000 /srv/perennial /srv/perennial/model_repository /srv/perennial/var /srv/store

USER 1000:1000
WORKDIR /srv/perennial
ENV HOME=/tmp \
    HF_HOME=/srv/perennial/var/hub
# Well is who holds the worker's lease, or stands by while another worker holds it.
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s --retries=3 \
    CMD perennial status --json | grep -q '"worker": true'
ENTRYPOINT ["perennial"]
CMD ["worker"]
