# The service in a small image: one program, the default configuration, no shell.
#
#   docker build --build-arg RESUMEN_REVISION="$(git rev-parse --short=12 HEAD)" -t resumen .
#   docker run --read-only --cap-drop ALL -p 8080:8080 -v resumen-state:/var/lib/resumen/state resumen
#
# For an image to try something with, `--build-arg CARGO_PROFILE_RELEASE_LTO=off` takes a third of the time.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
ARG CARGO_PROFILE_RELEASE_LTO

# The dependencies are a layer of their own: they are built again only when Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches state \
 && for stub in src/main benches/publish benches/fanout; do echo 'fn main() {}' >"$stub.rs"; done \
 && touch src/lib.rs \
 && cargo build --release --locked --bin resumen

# What was copied may be older than the stubs, and cargo goes by that.
COPY config config
COPY src src
ARG RESUMEN_REVISION=""
RUN touch src/main.rs src/lib.rs \
 && cargo build --release --locked --bin resumen \
 && strip --strip-debug target/release/resumen

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/resumen /usr/local/bin/resumen
COPY config/resumen.toml /etc/resumen/resumen.toml
# The one place that is written to. A volume that is mounted there for the first time takes over this owner.
COPY --from=build --chown=65532:65532 /build/state /var/lib/resumen/state
VOLUME /var/lib/resumen/state
WORKDIR /var/lib/resumen
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["resumen", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/resumen"]
ARG RESUMEN_REVISION=""
LABEL org.opencontainers.image.title="resumen" \
      org.opencontainers.image.description="One fast, honest answer from many slow, unreliable APIs" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${RESUMEN_REVISION}"
