# patchbank's commands, for a PostgreSQL of one's own: see docs/server.md.
FROM python:3.12-slim-bookworm

RUN useradd --create-home --uid 10001 --user-group patchbank \
    && install --directory --owner=patchbank --group=patchbank /var/lib/patchbank /work

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# Others by `--build-arg EXTRAS=report,hub,server,mqtt,int8`.
ARG EXTRAS=report,hub,server,mqtt
# The build sees no git, which the version comes from: `--build-arg VERSION=0.1.0` tells it.
ARG VERSION=
# hadolint ignore=DL3013
RUN SETUPTOOLS_SCM_PRETEND_VERSION="${VERSION}" \
    pip install --no-cache-dir ".[${EXTRAS}]" && rm -rf /src/*

USER 10001
WORKDIR /work
# Backbones, compiled graphs and numeric code are kept there; the bank is in PostgreSQL.
ENV PATCHBANK_HOME=/var/lib/patchbank
VOLUME /var/lib/patchbank

HEALTHCHECK --interval=60s --timeout=30s --start-period=30s \
    CMD ["patchbank", "categories", "--json"]

ENTRYPOINT ["patchbank"]
CMD ["--help"]
