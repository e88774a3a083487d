# The service, with the children that run models. It listens on loopback alone while it
# has no keys, so run it with the host's network: see docker/compose.yaml.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY robustcert robustcert
COPY api api
RUN python -m venv /opt/robustcert
ENV PATH=/opt/robustcert/bin:$PATH
RUN pip install --no-cache-dir --constraint requirements.lock torch==2.13.0 \
 && pip install --no-cache-dir --no-deps --requirement requirements.lock \
 && pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm AS service
COPY --from=build /opt/robustcert /opt/robustcert
RUN useradd --system --create-home --home-dir /data robustcert
USER robustcert
WORKDIR /data
ENV PATH=/opt/robustcert/bin:$PATH \
    ROBUSTCERT_DATA_DIR=/data
VOLUME /data
HEALTHCHECK CMD ["python", "-c", "import httpx; httpx.get('http://127.0.0.1:8770/healthz').raise_for_status()"]
ENTRYPOINT ["robustcert"]
CMD ["serve"]
