# A small image that runs as nobody: one binary, every backend, nothing else.
#
#   docker build -t brama .
#   docker run -p 4180:4180 -v ./brama.toml:/etc/brama/brama.toml:ro -v brama:/var/lib/brama brama

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
# Dependencies first, so that a change of ours does not build them again.
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --locked --profile dist --features full && rm -rf src
COPY src src
COPY config config
RUN touch src/main.rs src/lib.rs && cargo build --locked --profile dist --features full \
    && install -d -m 0700 /out/var/lib/brama

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/dist/brama /usr/local/bin/brama
COPY --from=build --chown=nonroot:nonroot /out/var/lib/brama /var/lib/brama
WORKDIR /var/lib/brama
USER nonroot
EXPOSE 4180
ENTRYPOINT ["/usr/local/bin/brama"]
CMD ["serve", "--config", "/etc/brama/brama.toml"]
