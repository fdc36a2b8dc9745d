"""Importing this module protects every run of the process, whatever script starts it.

    custom_imports = dict(
        imports=['aal_plugin.mm', 'aal_plugin.mm.runs.protect'], allow_failed_imports=False)

Our launchers need no such line. See docs/reliability.md.
"""

from .protection import protect_every_run

protect_every_run()
