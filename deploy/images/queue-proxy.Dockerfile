# One static program and the system's root certificates, as user 65532, read-only, nothing else.
#   deploy/images/build queue-proxy
FROM docker.io/library/rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN host=$(rustc -vV | sed -n 's/^host: //p') \
 && cargo build --profile sidecar --locked --target "$host" -p penstock-queue-proxy \
 && cp "target/$host/sidecar/queue-proxy" /queue-proxy

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /queue-proxy /queue-proxy
USER 65532:65532
ENTRYPOINT ["/queue-proxy"]
