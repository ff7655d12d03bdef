# A small image of the service: one program, the default configuration, no shell.
#
#   docker build --build-arg RESUMEN_REVISION="$(git rev-parse --short=12 HEAD)" -t resumen .
#   docker run --read-only --cap-drop ALL -p 8080:8080 -v resumen-state:/var/lib/resumen/state resumen
#
# For development, `--build-arg PROFILE=release` builds faster: without link-time optimisation.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# `cargo auditable` writes the list of crates into the program, so that scanners of images find known vulnerabilities.
RUN cargo install --locked --root /usr/local --version 0.7.7 cargo-auditable
ARG PROFILE=dist

# Dependencies are built in a separate layer, with stubs as sources: it is rebuilt only if Cargo.toml or Cargo.lock
# changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches state \
 && for stub in src/main benches/publish benches/filters benches/fanout; do echo 'fn main() {}' >"$stub.rs"; done \
 && touch src/lib.rs \
 && cargo auditable build --profile "$PROFILE" --locked --bin resumen

# `touch`, because the copied files may be older than the stubs, and cargo compares modification times.
COPY config config
RUN config/deploy/notices.sh >third-party-notices.txt
COPY src src
ARG RESUMEN_REVISION=""
RUN touch src/main.rs src/lib.rs \
 && cargo auditable build --profile "$PROFILE" --locked --bin resumen \
 && cp "target/$PROFILE/resumen" resumen

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/resumen /usr/local/bin/resumen
COPY --from=build /build/third-party-notices.txt /usr/local/share/doc/resumen/
COPY LICENSE-APACHE LICENSE-MIT /usr/local/share/doc/resumen/
COPY config/resumen.toml /etc/resumen/resumen.toml
# The only writable folder. A new volume that is mounted here takes its owner from the image.
COPY --from=build --chown=65532:65532 /build/state /var/lib/resumen/state
VOLUME /var/lib/resumen/state
WORKDIR /var/lib/resumen
# A number, because Kubernetes cannot check `runAsNonRoot` for a name.
USER 65532:65532
# glibc returns freed memory only so; else a crowd of clients leaves twice as much behind as docs/limits.md adds up.
ENV MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["resumen", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/resumen"]
ARG RESUMEN_REVISION=""
LABEL org.opencontainers.image.title="resumen" \
      org.opencontainers.image.description="One fast answer from many slow, unreliable APIs" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${RESUMEN_REVISION}"
