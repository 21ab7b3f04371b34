# One static binary, CA roots, time zones, nothing else; runs as user 65532.
#   docker build -t siproam .        docker run --network host -v /etc/siproam:/etc/siproam:ro -v siproam:/var/lib/siproam siproam
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=docker
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/siproam/siproam/cli.Version=${VERSION}" -o /siproam . \
    && install -d -o 65532 -g 65532 -m 700 /var/lib/siproam

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /usr/local/go/lib/time/zoneinfo.zip /zoneinfo.zip
COPY --from=build --chown=65532:65532 /var/lib/siproam /var/lib/siproam
COPY --from=build /siproam /siproam
ENV ZONEINFO=/zoneinfo.zip
USER 65532:65532
VOLUME /var/lib/siproam
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/siproam", "healthcheck"]
ENTRYPOINT ["/siproam"]
CMD ["serve", "-c", "/etc/siproam/office.yaml"]
