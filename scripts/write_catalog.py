"""Write the index of names and descriptions that `advdpnp list` reads: `make catalog`, after a registry was changed."""

from advdpnp.descriptions import write_index

if __name__ == "__main__":
    write_index()
