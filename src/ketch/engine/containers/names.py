"""Names of containers: the rule for given ones, and made-up nautical ones."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from ketch.errors import InvalidParameter

_VALID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")

_ADJECTIVES = str.split(
    "able amber anchored azure becalmed bold bonny brave breezy bright brisk briny buoyant "
    "calm cheery copper coral crested daring deft drifting eager fair fleet foaming foggy free "
    "gallant gentle gilded glassy golden grand gusty hale handy happy hardy hearty hoisted humble "
    "jaunty jolly keen lively lofty lucky lunar mellow merry mighty misty moored nimble noble "
    "patient plucky polar proud quick quiet rapid rested roaming roving rugged salty sandy "
    "serene silver sleek snug sober solid spry stark steady steely stormy stout sturdy sunny swift "
    "tidal tidy tranquil trim true trusty valiant vast wandering wavy weathered windy wise yare"
)

_NOUNS = str.split(
    "albatross anchor atoll auk ballast barge bark barnacle barque beacon bay bight binnacle boom "
    "bosun bow bowline bowsprit brig bulkhead buoy cape capstan caravel catamaran cay clipper "
    "cockle compass coracle cormorant corvette crab crest current cutter davit deck dhow dinghy "
    "dock dolphin dory estuary fathom ferry fjord fluke fleet frigate galleon galley gannet gull "
    "gunwale halyard harbour haven hawser heron hull inlet islet jetty jib junk kayak keel ketch "
    "knot lagoon lanyard lateen lighthouse limpet lugger mainsail marlin mast mizzen mooring "
    "narwhal nautilus orca osprey otter pelican petrel pier pilot pinnace porpoise porthole prow "
    "puffin quay raft reef rigging rudder sail sampan schooner scow seal sextant shoal skerry "
    "skiff sloop sound spar spinnaker squall starboard stern strait tern tide tiller transom "
    "trawler tug walrus wave whaler wharf windlass xebec yacht yard yawl zephyr"
)


def check(name: str) -> str:
    """The name without a leading slash; raises ``InvalidParameter`` as Docker words it."""
    bare = name.removeprefix("/")
    if not _VALID.match(bare):
        raise InvalidParameter(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return bare


def generate(taken: Callable[[str], bool]) -> str:
    """A free ``adjective_noun``; a number is added when luck runs out."""
    for attempt in range(1, 1 << 20):
        name = f"{random.choice(_ADJECTIVES)}_{random.choice(_NOUNS)}"
        if attempt > 8:
            name += str(random.randrange(attempt * 10))
        if not taken(name):
            return name
    raise AssertionError("more than a million names are taken")
