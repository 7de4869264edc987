# One static program and the system's root certificates, as user 65532, read-only, nothing else.
#   deploy/images/build autoscaler
FROM docker.io/library/rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN host=$(rustc -vV | sed -n 's/^host: //p') \
 && cargo build --release --locked --target "$host" -p penstock-autoscaler \
 && cp "target/$host/release/autoscaler" /autoscaler

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /autoscaler /autoscaler
USER 65532:65532
ENTRYPOINT ["/autoscaler"]
