# An image of each service: docker build --build-arg SERVICE=name --tag greeter/name .
# Needs BuildKit, which Docker before 23 uses only when told: DOCKER_BUILDKIT=1.
#
# Two builds of one commit give the same bytes where the base image and the packages are the
# same: neither is pinned, so that fixes come in by themselves. No label says the commit or the
# time, which would make another image of the same bytes.

# Runs on this machine's architecture and compiles for the image's: nothing is emulated.
FROM --platform=${BUILDPLATFORM:-set_DOCKER_BUILDKIT=1} rust:1.95-slim-bookworm AS build

# As rust-toolchain.toml has it, but without the components that only people need.
ENV RUSTUP_TOOLCHAIN=1.95.0

# For both architectures, whichever this machine has, so that one layer serves both. clang
# and musl's headers are for mimalloc, the one part in C: see .cargo/config.toml.
RUN dpkg --add-architecture amd64 \
 && dpkg --add-architecture arm64 \
 && apt-get update \
 && apt-get install --yes --no-install-recommends clang musl-dev:amd64 musl-dev:arm64 python3 rsync \
 && rm -rf /var/lib/apt/lists/* \
 && rustup component add rust-src \
 && rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl

# /build stays from one build to the next, so that only what changed is compiled. cargo
# goes by times, which say nothing between two clones: rsync compares the contents, and a
# file that differs gets a new time.
WORKDIR /build
ARG TARGETARCH
# Anything new here builds from nothing, to see that the same comes out: .ci/reproducible.
ARG FRESH
RUN --mount=type=bind,target=/context \
    --mount=type=cache,id=greeter-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=greeter-build-$TARGETARCH,target=/build,sharing=locked \
    case $TARGETARCH in \
      amd64) target=x86_64-unknown-linux-musl ;; \
      arm64) target=aarch64-unknown-linux-musl ;; \
      *) echo "no image for '$TARGETARCH': take --platform linux/amd64 or linux/arm64" >&2; exit 1 ;; \
    esac \
 && rsync --recursive --checksum --delete --exclude=/target /context/ . \
 && if [ -n "$FRESH" ]; then rm -rf target; fi \
 && built=$(.cargo/static $target) \
 && .cargo/sbom /out $built

# What is in the services, as CycloneDX: docker build --target sbom --output dist/sbom .
FROM scratch AS sbom
COPY --from=build /out/*.cdx.json /

FROM build AS chosen
ARG SERVICE
RUN cp "/out/$SERVICE" /service \
 || { echo "no service '$SERVICE': docker build --build-arg SERVICE= and one of these: $(ls --ignore='*.json' /out)" >&2; exit 1; }

FROM scratch
ARG SERVICE
COPY --from=chosen /service /service
USER 65532:65532
EXPOSE 3000
HEALTHCHECK --interval=2s --timeout=2s --retries=2 CMD ["/service", "healthcheck"]
ENTRYPOINT ["/service"]
LABEL org.opencontainers.image.title="$SERVICE" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.description="A service of greeter, as one static binary" \
      org.opencontainers.image.licenses="MIT"
