# The studio in a container. For a CPU:         docker build -t jaxsr .
# For an NVIDIA GPU (its driver is enough):     docker build -t jaxsr:cuda --build-arg EXTRAS=studio,cuda12 .
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

ARG EXTRAS=studio
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

COPY pyproject.toml README.md LICENSE NOTICE /src/
COPY jaxsr /src/jaxsr
COPY weight_conversion /src/weight_conversion
RUN pip install "/src[${EXTRAS}]" && rm -r /src

# The process is no root, and writes into /cache (compiled programs, downloaded models) and /tmp alone.
RUN useradd --uid 1000 --create-home jaxsr && mkdir /cache && chown jaxsr /cache
USER jaxsr
ENV JAXSR_CACHE_DIR=/cache
VOLUME /cache

EXPOSE 8765
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8765/static/app.js')"]

# Everybody who can reach the port needs the token in JAXSR_STUDIO_TOKEN; without it, the command refuses to start.
ENTRYPOINT ["python", "-m", "jaxsr.studio", "--host", "0.0.0.0", "--port", "8765"]
