# A small image of the service: one program, the default configuration, no shell.
#
#   docker build --build-arg RESUMEN_REVISION="$(git rev-parse --short=12 HEAD)" -t resumen .
#   docker run --read-only --cap-drop ALL -p 8080:8080 -v resumen-state:/var/lib/resumen/state resumen
#
# For development, `--build-arg CARGO_PROFILE_RELEASE_LTO=off` builds in a third of the time.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
ARG CARGO_PROFILE_RELEASE_LTO

# Dependencies are built in a separate layer, with stubs as sources: it is rebuilt only if Cargo.toml or Cargo.lock
# changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches state \
 && for stub in src/main benches/publish benches/fanout; do echo 'fn main() {}' >"$stub.rs"; done \
 && touch src/lib.rs \
 && cargo build --release --locked --bin resumen

# `touch`, because the copied files may be older than the stubs, and cargo compares modification times.
COPY config config
COPY src src
ARG RESUMEN_REVISION=""
RUN touch src/main.rs src/lib.rs \
 && cargo build --release --locked --bin resumen \
 && strip --strip-debug target/release/resumen

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/resumen /usr/local/bin/resumen
COPY config/resumen.toml /etc/resumen/resumen.toml
# The only writable folder. A new volume that is mounted here takes its owner from the image.
COPY --from=build --chown=65532:65532 /build/state /var/lib/resumen/state
VOLUME /var/lib/resumen/state
WORKDIR /var/lib/resumen
# A number, because Kubernetes cannot check `runAsNonRoot` for a name.
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["resumen", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/resumen"]
ARG RESUMEN_REVISION=""
LABEL org.opencontainers.image.title="resumen" \
      org.opencontainers.image.description="One fast answer from many slow, unreliable APIs" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${RESUMEN_REVISION}"
