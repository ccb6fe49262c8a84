"""Desired resources -> plan -> applied: the long story of how a configuration becomes true, and untrue again.

**Wanted.** A pipeline kind turns its settings into a tuple of resources (`gpupipe.kinds`): frozen values that name
each other as objects. No call is made for that, so it is tested without AWS, and equal settings give equal resources
on any machine.

**Observed.** `plan` asks for the state of every resource, all at once, about one read each. There is no state file
that could be wrong: AWS is the state. Names are made from the configuration, every thing is tagged from birth with its
stack and key, and what carries another's tag, or none, is a conflict that stops the whole plan before anything is
touched.

**Decided.** `decide` compares field by field and is pure. A resource is kept, created, updated, or replaced where the
changed field cannot be changed; kinds that AWS never lets one change carry a hash of their contents in their name, so
that new and old can stand side by side until everything uses the new. What the inventory knows and the configuration
no longer wants is searched for and deleted, except what holds data: losing that needs its name (`--delete-data`), and
`--yes` never covers it. So an older gpupipe.toml in a colleague's checkout can switch things off but destroys no
results.

**Applied.** `apply` creates the state bucket if there is none, takes the lock, writes the inventory of all that was
and all that will be (one conditional write, which fails if anybody else changed the stack since the plan was made),
and only then starts. Nor does it start where anybody held the lock since the plan was made: a `down` that was killed
leaves the inventory as it was. Steps run in threads as far as the graph of requirements allows; a failed step stops
only what requires it. Deletions come last, and only where the building of that pipeline went well. A gate stands before
every single call: it refuses changes once the lock is not certainly held, and refuses everything a little after Ctrl-C.
At the end the inventory is written again without what was deleted. Killed anywhere in between, the inventory lists
everything that may exist, every verb can be repeated, and the next `up` observes what there is and does the rest.
Applying a plan without changes makes no call at all.

**Torn down.** `plan_deletion` joins three answers: what the configuration names, what the inventory knows, and what a
search of the account for every kind finds; so a fresh checkout, an edited file or a lost inventory leave nothing
behind. `tear_down` goes by `Phase`: what triggers functions first and functions next, or a running function would
launch a machine again; then what machines are launched from; then machines, found by tag and searched for again once
the first are gone; network, roles, logs after what writes them, data, and the state bucket only when a last search has
found nothing else. The search is the proof: its empty result is in the receipt.

`execute` runs a graph, `work` does one step, `steps` holds the values. Nothing in this package prints.
"""

from gpupipe.plan.apply import apply
from gpupipe.plan.decide import check_names, decide, decide_deletion, differences, plan, plan_deletion, search
from gpupipe.plan.steps import Action, Change, Conflict, Event, Failure, Kept, Plan, Receipt, Step
from gpupipe.plan.teardown import tear_down
from gpupipe.plan.work import Listener, silent

__all__ = [
    "Action",
    "Change",
    "Conflict",
    "Event",
    "Failure",
    "Kept",
    "Listener",
    "Plan",
    "Receipt",
    "Step",
    "apply",
    "check_names",
    "decide",
    "decide_deletion",
    "differences",
    "plan",
    "plan_deletion",
    "search",
    "silent",
    "tear_down",
]
