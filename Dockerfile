# One image for every service; the command selects the service. It runs as an unprivileged user, without compiler and package cache.
#
#   docker build -t headrace .
#   docker run --rm headrace worker --help
#
# PYTHON_IMAGE: any Debian with Python 3.11 or later. EXTRAS: optional parts of the package, like "netcdf,parquet". PACKAGES: what your
# tasks import, besides numpy: a function in a module travels by its name, so the image has to have the module.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ARG EXTRAS=""
ARG PACKAGES=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv /opt/headrace
# First the layer that rarely changes: the locked releases of the dependencies, checked by their hashes.
COPY requirements requirements
RUN for group in core $(echo "${EXTRAS}" | tr ',' ' '); do \
        /opt/headrace/bin/python -m pip install --require-hashes -r requirements/$group.txt || exit 1; \
    done
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY libs libs
COPY services services
COPY examples examples
# The project's build requirements stay out of the image.
RUN python3 -m venv /opt/build \
    && /opt/build/bin/python -m pip install --require-hashes -r requirements/build.txt \
    && /opt/build/bin/python -m pip wheel --no-build-isolation --no-deps --wheel-dir /opt/wheels . \
    && /opt/headrace/bin/python -m pip install --no-deps /opt/wheels/*.whl \
    && if [ -n "${PACKAGES}" ]; then /opt/headrace/bin/python -m pip install ${PACKAGES}; fi \
    && /opt/headrace/bin/python -m pip uninstall --yes pip setuptools \
    && find /opt/headrace -depth -type d -name __pycache__ -exec rm -r {} + \
    && /opt/headrace/bin/python3 -m compileall -q /opt/headrace/lib

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/headrace /opt/headrace
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/headrace --shell /usr/sbin/nologin headrace \
    && mkdir /var/lib/headrace /products /modules \
    && chown headrace:headrace /var/lib/headrace /products
ENV PATH=/opt/headrace/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HEADRACE_SPILL_DIR=/var/lib/headrace
USER headrace
WORKDIR /var/lib/headrace
ENTRYPOINT ["headrace"]
CMD ["--help"]
