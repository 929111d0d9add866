# The HTTP API alone. Migrating, measuring and notebooks want a checkout: see README.md.
#
#     docker build -t genonaut .
#     docker run --rm -p 8000:8000 -e DATABASE_URL -e GENONAUT_JWT_KEY -e GENONAUT_CURSOR_KEY genonaut

FROM python:3.12-slim-bookworm AS built
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
RUN python -m venv /opt/genonaut
ENV PATH=/opt/genonaut/bin:$PATH
# What the service imports, at the versions everything was tested with; the package itself brings no more.
COPY pyproject.toml requirements.lock ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["service"], sep="\n")' >service.txt && \
    pip install --no-cache-dir --constraint requirements.lock --requirement service.txt
COPY README.md ./
COPY genonaut_lib genonaut_lib
RUN pip install --no-cache-dir --no-deps --constraint requirements.lock .

FROM python:3.12-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin genonaut
COPY --from=built /opt/genonaut /opt/genonaut
WORKDIR /app
# A project is a folder with params/ and notebooks/; here nobody runs a notebook.
COPY params params
RUN mkdir notebooks
ENV PATH=/opt/genonaut/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GENONAUT_ENVIRONMENT=production \
    GENONAUT_SERVICE__HOST=0.0.0.0 \
    GENONAUT_SERVICE__PORT=8000
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
# Exec form, so that the signal that ends a container reaches the service, which finishes what runs.
ENTRYPOINT ["genonaut", "serve"]
