"""The console command `aal`: the tools and configs of this package, from any folder."""
