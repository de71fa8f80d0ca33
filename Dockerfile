# The project with all that it needs: `docker build -t skinlesions .`, then `docker run --rm skinlesions` for the demo, or
# `docker run --rm -v "$HAM10000_DIR":/images -e HAM10000_DIR=/images skinlesions make report`.
# With a GPU: `docker build --build-arg DEVICE=gpu ...` and `docker run --gpus all ... make report PRESET=gpu`.
FROM python:3.11.14-slim-bookworm

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /skinlesions
COPY . .
ARG DEVICE=cpu
ENV DEVICE=${DEVICE}
RUN make setup

CMD ["make", "demo"]
