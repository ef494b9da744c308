# The container image of poolproxy.
#
#   docker build -t poolproxy .
#   docker build -t poolproxy --build-arg BASE=debian:bookworm-slim .
#
# BASE is any Debian-like image with apt-get. One that brings its own Python (>= 3.11), such as python:3.13-slim,
# keeps it; one without gets Debian's. Both stages start from the same BASE, so that the virtual environment built in
# the first finds the interpreter it was built with in the second.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
RUN set -eu; \
    packages="gcc libc6-dev"; \
    command -v python3 >/dev/null || packages="$packages python3-dev python3-venv"; \
    apt-get update -q; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages; \
    rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN set -eu; \
    python3 -m venv /opt/poolproxy; \
    /opt/poolproxy/bin/python -m pip install --no-cache-dir '.[aws]'; \
    /opt/poolproxy/bin/python -m pip uninstall -q -y setuptools pip

FROM ${BASE}
RUN set -eu; \
    if ! command -v python3 >/dev/null; then \
        apt-get update -q; \
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3; \
        rm -rf /var/lib/apt/lists/*; \
    fi; \
    groupadd --gid 10001 poolproxy; \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin poolproxy
COPY --from=build /opt/poolproxy /opt/poolproxy

# Nothing is written to disk, so the root file system may be read-only.
ENV PATH=/opt/poolproxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# By number, so that Kubernetes can see that it is not root.
USER 10001:10001

# 6432: PostgreSQL clients. 9127: /metrics, /health and /ready.
EXPOSE 6432 9127
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/opt/poolproxy/bin/poolproxy", "healthcheck"]

# In exec form: poolproxy is process 1 and gets SIGTERM itself.
ENTRYPOINT ["/opt/poolproxy/bin/poolproxy"]
CMD ["run"]

LABEL org.opencontainers.image.title="poolproxy" \
      org.opencontainers.image.description="A PostgreSQL wire-protocol proxy: thousands of short-lived clients on a small, bounded set of server connections" \
      org.opencontainers.image.licenses="Apache-2.0"
