"""Networks of other libraries, by name; a library is imported when one of its networks is asked for."""

from advdpnp.models.libraries.base import LibraryNetwork, Preprocessing
from advdpnp.models.libraries.robustbench_network import RobustbenchNetwork
from advdpnp.models.libraries.timm_network import TimmNetwork
from advdpnp.models.libraries.torchvision_network import TorchvisionNetwork

LIBRARIES: dict[str, type[LibraryNetwork]] = {
    kind.package: kind for kind in (TimmNetwork, TorchvisionNetwork, RobustbenchNetwork)
}
LIBRARY_FORMS = ", ".join(kind.form for kind in LIBRARIES.values())

__all__ = ["LIBRARIES", "LIBRARY_FORMS", "LibraryNetwork", "Preprocessing", "is_library_name", "network_by_name"]


def is_library_name(reference: str) -> bool:
    """Whether a name is one of another library, such as "timm:resnet18"."""
    package, colon, name = reference.partition(":")
    return bool(colon and name) and package in LIBRARIES


def network_by_name(reference: str, data: str = "") -> LibraryNetwork:
    """The network of a name.

    Args:
        reference: a name for which `is_library_name` holds.
        data: name of the data set, which RobustBench has its networks for.
    Raises:
        ValueError: a name of RobustBench that is none. No library is imported yet.
    """
    package, _, name = reference.partition(":")
    return LIBRARIES[package](reference, name, data)
