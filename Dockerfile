# One image for every process; the command line picks which.
FROM python:3.11-slim AS export
# The encoder is exported here, once: torch and the rest of what that takes stay out of the image.
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir torch==2.13.0 && pip install --no-cache-dir '.[retrieval,export]'
ENV XDG_CACHE_HOME=/opt/cache
RUN python -c 'from vectors.encoder import open_encoder; open_encoder()'

FROM python:3.11-slim
WORKDIR /src
COPY . .
# git: what past commits touched is remembered. A mounted clone belongs to somebody else.
RUN apt-get update && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* && git config --system safe.directory '*'
RUN pip install --no-cache-dir torch==2.13.0 \
    && pip install --no-cache-dir '.[retrieval,indexer,learning,rq]' && rm -rf /src/*
COPY --from=export /opt/cache /opt/cache
RUN useradd --create-home --uid 10001 cortex && install -d -o cortex /var/lib/cortex
USER cortex
WORKDIR /var/lib/cortex
ENV XDG_CACHE_HOME=/opt/cache OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["cortex"]
CMD ["worker"]
