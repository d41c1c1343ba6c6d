"""`python -m advdpnp` is `advdpnp`."""

from advdpnp.cli import main

if __name__ == "__main__":
    main()
