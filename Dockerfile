# The service in a small image: one binary, the default configuration, no shell needed.
#   docker build --build-arg RESUMEN_REVISION="$(git rev-parse --short=12 HEAD)" -t resumen .
FROM rust:1-slim-bookworm AS build
WORKDIR /build
COPY . .
ARG RESUMEN_REVISION=""
RUN cargo build --release --locked --bin resumen

FROM debian:bookworm-slim
# State is written below the working directory; a volume mounted there takes over this owner.
RUN mkdir -p /var/lib/resumen/state && chown -R 65532:65532 /var/lib/resumen
COPY --from=build /build/target/release/resumen /usr/local/bin/resumen
COPY config/resumen.toml /etc/resumen/resumen.toml
WORKDIR /var/lib/resumen
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=4s --start-period=5s CMD ["resumen", "healthcheck"]
ENTRYPOINT ["resumen"]
