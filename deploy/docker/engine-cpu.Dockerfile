# vLLM's CPU build with the bundled demo model: the whole path without a GPU, and nothing for production. From the repository's root:
#   docker build -f deploy/docker/engine-cpu.Dockerfile -t sightline-engine-cpu:0.1.0 .
# 2.5 GB; 3 GB of memory. Runs as user 10001 with a read-only root; /tmp and /opt/engine/logs must be writable (a tmpfs).
# With a GPU the engine is vLLM's own image: see deploy/compose.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv --without-pip /opt/sightline
COPY requirements/build.txt requirements/gateway.txt requirements/
RUN pip install --only-binary :all: --require-hashes -r requirements/build.txt \
 && pip --python /opt/sightline/bin/python install --only-binary :all: --require-hashes -r requirements/gateway.txt
COPY pyproject.toml README.md LICENSE ./
COPY server server
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && pip --python /opt/sightline/bin/python install --no-deps dist/*.whl
# An index or a folder with torch's CPU build, where pip's own sources and PyTorch's do not serve.
ARG SIGHTLINE_TORCH_INDEX
ENV SIGHTLINE_HOME=/opt/engine UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
RUN /opt/sightline/bin/sightline engine install --cpu \
 && mkdir -p /opt/engine/logs

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Sightline's demo engine" \
      org.opencontainers.image.description="vLLM's CPU build with a toy model that reads drawn nameplates" \
      org.opencontainers.image.licenses="Apache-2.0"
# DL3008 wants a version; Debian's own fixes of this release are wanted instead.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libnuma1 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 sightline \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin sightline
COPY --from=build /opt/sightline /opt/sightline
COPY --from=build --chown=10001:10001 /opt/engine /opt/engine
ENV PATH=/opt/sightline/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    SIGHTLINE_HOME=/opt/engine
EXPOSE 8000
USER 10001:10001
WORKDIR /
HEALTHCHECK --interval=5s --timeout=3s --start-period=600s --retries=3 \
    CMD ["python", "-I", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 8000, timeout=2); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["sightline", "engine", "run"]
CMD ["--cpu", "--host", "0.0.0.0", "--port", "8000"]
