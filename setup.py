"""Builds the compiled part: every .pyx, and every .py with a sibling .pxd (one truth, typed beside it)."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# A .pxd beside a .pyx declares it; one beside a .py types it.
SOURCES = sorted(
    [
        *Path("poolproxy").rglob("*.pyx"),
        *(p for pxd in Path("poolproxy").rglob("*.pxd") if (p := pxd.with_suffix(".py")).exists()),
    ]
)

CORES = os.cpu_count() or 1

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,
    "auto_pickle": False,
    "embedsignature": True,
    "initializedcheck": False,
}

setup(
    ext_modules=cythonize(
        [
            Extension(
                ".".join(source.with_suffix("").parts),
                [str(source)],
                extra_compile_args=["-O2", "-g0"],
            )
            for source in SOURCES
        ],
        compiler_directives=DIRECTIVES,
        nthreads=CORES,
    ),
    options={"build_ext": {"parallel": CORES}},
)
