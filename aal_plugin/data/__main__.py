"""`python -m aal_plugin.data`: export the synthetic images."""

from .shapes_export import main

raise SystemExit(main())
