"""Maps the folders configs/ and tools/ into the package; the metadata is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["aal_plugin", "aal_plugin.*"]),
        "aal_plugin.configs",
        "aal_plugin.tools",
    ],
    package_dir={"aal_plugin.configs": "configs", "aal_plugin.tools": "tools"},
    package_data={
        "aal_plugin": ["py.typed", "**/*.js", "**/*.css", "**/*.html"],
        "aal_plugin.configs": ["**/*.py", "**/*.yml", "**/*.md"],
        "aal_plugin.tools": ["*.sh", "**/*.py"],
    },
    include_package_data=False,
)
