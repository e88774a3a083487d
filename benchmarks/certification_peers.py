"""Other people's certifiers, run side by side with ours: one row a method.

Each says which samples it calls certified. It says so in float32 and without a margin
for rounding: its word is counted, not checked. Peers are optional; a missing one says
so.
"""

from __future__ import annotations

from benchmarks import bound_propagation_peer as bound_propagation
from benchmarks import lirpa_peer as lirpa
from benchmarks.peer_task import Peer

PACKAGES = ("bound-propagation", "auto_LiRPA")
"""As they are installed."""

PEERS: dict[str, Peer] = {
    "bound-propagation IBP": Peer(
        bound_propagation.refusal, bound_propagation.interval_certified
    ),
    "bound-propagation CROWN": Peer(
        bound_propagation.refusal, bound_propagation.crown_certified
    ),
    "bound-propagation alpha-CROWN": Peer(
        bound_propagation.refusal, bound_propagation.alpha_crown_certified
    ),
    "auto_LiRPA CROWN": Peer(lirpa.refusal, lirpa.crown_certified),
    "auto_LiRPA alpha-CROWN": Peer(lirpa.refusal, lirpa.alpha_crown_certified),
}
