# The image of all roles: `docker build -t dtf .`, then `docker run dtf serve …`.
#
# Three stages, so that a change of our sources compiles none of the dependencies again: the manifests alone decide
# whether the layer with the compiled dependencies is still good.

FROM rust:1.95-bookworm AS manifests
WORKDIR /src
COPY . .
# What is left of each crate is its manifest and empty sources.
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock -delete \
    && find . -type d -empty -delete \
    && for manifest in */Cargo.toml; do \
        crate=$(dirname "$manifest"); \
        mkdir -p "$crate/src"; \
        echo '//! Empty.' > "$crate/src/lib.rs"; \
        sed -n 's/^path = "\(.*\.rs\)"$/\1/p' "$manifest" | while read -r path; do \
            mkdir -p "$crate/$(dirname "$path")"; \
            printf '//! Empty.\nfn main() {}\n' > "$crate/$path"; \
        done; \
        sed -n 's/^name = "\(.*\)"$/\1/p' "$manifest" | tail -n +2 | while read -r target; do \
            for kind in benches tests src/bin; do \
                mkdir -p "$crate/$kind"; \
                printf '//! Empty.\nfn main() {}\n' > "$crate/$kind/$target.rs"; \
            done; \
        done; \
    done \
    && printf '//! Empty.\nfn main() {}\n' > dtf/src/main.rs

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends protobuf-compiler libprotobuf-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY --from=manifests /src .
RUN cargo build --locked --release -p dtf --features full
COPY . .
# Cargo goes by times: what replaces an empty source has to be newer than what was made from it.
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
    && cargo build --locked --release -p dtf --features full \
    && strip target/release/dtf

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin dtf
COPY --from=build /src/target/release/dtf /usr/local/bin/dtf
# The system's authorities, for servers whose certificates one of them signed.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER dtf
# In a container nobody reaches the loopback interface from outside; which ports are published is the platform's decision.
ENV DTF_HTTP_LISTEN=0.0.0.0:7070
EXPOSE 7070
HEALTHCHECK --interval=5s --timeout=6s --start-period=10s --retries=6 CMD ["dtf", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["dtf"]
CMD ["serve"]
