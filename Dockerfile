# syntax=docker/dockerfile:1
# The server as a small image: docker build -t sojourn .
# The build command is the one of the README; tests/operations/packaging.rs compares them.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin sojourn

FROM debian:bookworm-slim
# The authorities that PostgreSQL's certificate is checked against.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/sojourn --create-home --shell /usr/sbin/nologin sojourn
COPY --from=build /build/target/release/sojourn /usr/local/bin/sojourn
USER 10001:10001
# Inside a container every address is its own; without a password, protected mode refuses whoever is outside.
ENV STATE_DIRECTORY=/var/lib/sojourn \
    SOJOURN_BIND=0.0.0.0
VOLUME /var/lib/sojourn
EXPOSE 6379 9379
STOPSIGNAL SIGTERM
# Whoever asks for a password answers, too. A server that only waits for its database does not serve yet.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/6379 && printf 'PING\\r\\n' >&3 && read -r -t 2 -u 3 answer && [[ $answer == +PONG* || $answer == -NOAUTH* ]]"]
ENTRYPOINT ["sojourn"]
