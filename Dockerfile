# syntax=docker/dockerfile:1
# The server as a small image: docker build -t tamslake .
# The builder's version follows rust-toolchain.toml. The dist profile optimises across crates and is slow to build.

# DuckDB's library comes inside an npm package, and this image has npm.
FROM node:22-bookworm-slim AS duckdb
COPY scripts/fetch-duckdb /scripts/fetch-duckdb
RUN /scripts/fetch-duckdb /out

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
COPY --from=duckdb /out vendor/duckdb
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --locked --profile dist --bin tamslake \
    && install -D target/dist/tamslake /out/tamslake

FROM debian:bookworm-slim
RUN groupadd --system --gid 10001 tamslake \
    && useradd --system --uid 10001 --gid 10001 --home-dir /data --no-create-home tamslake \
    && install -d -o 10001 -g 10001 -m 0750 /data
# The binary looks for it beside itself and in ../lib.
COPY --from=duckdb /out/libduckdb.so /usr/local/lib/libduckdb.so
COPY --from=build /out/tamslake /usr/local/bin/tamslake
COPY LICENSE /usr/share/doc/tamslake/LICENSE
COPY --from=duckdb /out/LICENSE.duckdb /usr/share/doc/tamslake/LICENSE.duckdb

# In a container the loopback address reaches nobody; who may reach the port is decided where it is published.
ENV TAMSLAKE__HTTP__LISTEN=0.0.0.0:8000 \
    TAMSLAKE__DATA__DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000

# GET / in bash, since the image has no HTTP client. It asks the port above: with another TAMSLAKE__HTTP__LISTEN, give
# your own --health-cmd. The start period covers reading the log back after a crash.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8000 && printf 'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && [[ $(cat <&3) == 'HTTP/1.1 200'* ]]"]

ENTRYPOINT ["tamslake"]
CMD ["serve"]
