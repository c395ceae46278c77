# syntax=docker/dockerfile:1
FROM rust:1.95-slim-trixie AS build
# librdkafka and OpenSSL are built from their sources: a C and C++ compiler, make and perl.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make perl \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches outlive the layer: a change of the sources builds what changed, not the libraries again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin tillflow \
    && install -D target/release/tillflow /out/tillflow

FROM debian:trixie-slim
# Certificate authorities, for brokers and databases behind TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 tillflow \
    && useradd --system --uid 10001 --gid tillflow --home-dir /var/lib/tillflow --shell /usr/sbin/nologin tillflow \
    && install -d -o tillflow -g tillflow /var/lib/tillflow
COPY --from=build /out/tillflow /usr/local/bin/tillflow
COPY LICENSE /usr/share/doc/tillflow/LICENSE
USER 10001:10001
WORKDIR /var/lib/tillflow
VOLUME /var/lib/tillflow
EXPOSE 8501
ENTRYPOINT ["tillflow"]
CMD ["--help"]
