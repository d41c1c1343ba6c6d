"""`python -m advdpnp.cli` is `advdpnp`."""

from advdpnp.cli import main

main()
