"""`python -m aal_plugin.data`: export the embedded images."""

from .shapes_export import main

raise SystemExit(main())
