# The image that answers: NVIDIA's tritonserver with what the Python stages import.
# Whoever builds it names the base, since its registry is theirs to choose:
#   docker build -f docker/serve.Dockerfile --build-arg TRITON_IMAGE=REGISTRY/nvidia/tritonserver:26.07-py3 .
ARG TRITON_IMAGE
FROM ${TRITON_IMAGE}

# The base image sets the variable. Earlier releases have known remote vulnerabilities.
RUN dpkg --compare-versions "${NVIDIA_TRITON_SERVER_VERSION:-0}" ge 26.07 || \
    { echo "TRITON_IMAGE is tritonserver ${NVIDIA_TRITON_SERVER_VERSION:-of no release}; name 26.07-py3 or later" >&2 \
    && exit 1; }

WORKDIR /opt/perennial
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY builders builders
COPY client client
COPY perf perf
# Into the system's Python: it is the one that the Python backend's stub runs, whatever PYTHONPATH says.
RUN python3 -m pip install --no-cache-dir --break-system-packages -c constraints.txt ".[serve,postgres]"

COPY model_repository/feedback model_repository/feedback
COPY model_repository/index model_repository/index
COPY model_repository/why model_repository/why
COPY --chmod=755 docker/serve-entrypoint.sh /usr/local/bin/serve-entrypoint
# A new named volume takes its folders and their owner from the image.
RUN install -d -o 1000 -g 1000 /srv/perennial /srv/perennial/model_repository /srv/perennial/var /srv/store

# 1000 is the base image's triton-server.
USER 1000:1000
ENV HOME=/tmp
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
ENTRYPOINT ["/usr/local/bin/serve-entrypoint"]
