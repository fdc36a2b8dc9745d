"""`python -m aal_plugin` is `aal`; `torchrun -m aal_plugin timm-train …` starts several ranks."""

from aal_plugin.cli import main

if __name__ == "__main__":
    main()
