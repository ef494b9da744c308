"""Builds the compiled part: every .pyx, and every .py that has a sibling .pxd (one readable truth, typed
beside it)."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# Extensions beside plain .pyx sources, and .py sources typed by a .pxd. A .pxd beside a .pyx only declares
# it.
SOURCES = sorted(
    [
        *Path("poolproxy").rglob("*.pyx"),
        *(p for pxd in Path("poolproxy").rglob("*.pxd") if (p := pxd.with_suffix(".py")).exists()),
    ]
)

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,
    "embedsignature": True,
    "initializedcheck": False,
}

setup(
    ext_modules=cythonize(
        [
            Extension(
                ".".join(source.with_suffix("").parts),
                [str(source)],
                extra_compile_args=["-O2"],
            )
            for source in SOURCES
        ],
        compiler_directives=DIRECTIVES,
        nthreads=os.cpu_count() or 1,
    )
)
