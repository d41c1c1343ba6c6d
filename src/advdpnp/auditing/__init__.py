"""The masking audit: can a robust accuracy be believed?"""

from advdpnp.auditing.attack_checks import Objective
from advdpnp.auditing.findings import Audit, Check
from advdpnp.auditing.run_audit import run_audit

__all__ = ["Audit", "Check", "Objective", "run_audit"]
