"""The clients' commands for what is served, as data: who runs them brings a product, its ids, and a way to log in.

`{...}` are ids and names of the world that a runner gives: `server`, `host` (where it is), `other` (where it is not), `flavor`,
`image`, `word` (a new name), `key` (a file with a public key), `project`, `migration`, `request`, `service`, `user`.
They run in this order; those for a server on its way (`…_MOVING`) apart, with a migration whose transfer is held still.
`says`: what must stand in the output; `fails`: the command must end with an error that says so.
`identity`: needs an Identity v3 service in the catalogue.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Command:
    words: str
    says: str = ""
    fails: str = ""
    identity: bool = False


def nova(words: str, says: str = "", fails: str = "") -> Command:
    return Command(f"nova {words}", says, fails)


def openstack(words: str, says: str = "", fails: str = "", identity: bool = False) -> Command:
    return Command(f"openstack {words}", says, fails, identity)


NOVA = (
    nova("version-list", "2.96"),
    nova("list", "{server}"),
    nova("list --all-tenants --fields name,status,host", "ACTIVE"),
    nova("list --limit 1 --sort created_at:desc"),
    nova("list --tags-any red,green"),
    nova("list --status SUSPENDED"),
    nova("show {server}", "{server}"),
    nova("update --name {word} --description what {server}"),
    nova("update --name renamed {server}"),
    nova("meta {server} set a=1 b=2"),
    nova("meta {server} delete a"),
    nova("host-meta {host} set c=3"),
    nova("server-tag-add {server} red green"),
    nova("server-tag-list {server}", "red"),
    nova("server-tag-set {server} blue"),
    nova("server-tag-delete {server} blue"),
    nova("server-tag-delete-all {server}"),
    nova("lock --reason why {server}"),
    nova("unlock {server}"),
    nova("pause {server}"),
    nova("unpause {server}"),
    nova("suspend {server}"),
    nova("resume {server}"),
    nova("stop {server}"),
    nova("start {server}"),
    nova("reboot --hard {server}"),
    nova("reset-state --active {server}"),
    nova("console-log --length 3 {server}"),
    nova("instance-action-list {server}", "create"),
    nova("instance-action {server} {request}", "create"),
    nova("interface-list {server}"),
    nova("list-secgroup {server}"),
    nova("volume-attachments {server}"),
    nova("live-migration --block-migrate {server} {other}"),
    nova("migration-list --instance-uuid {server}", "live-migration"),
    nova("server-migration-list {server}"),
    nova("host-evacuate-live --block-migrate {other}"),
    nova("flavor-create {word} auto 64 1 1 --is-public False --description d"),
    nova("flavor-key {word} set k=v"),
    nova("flavor-access-add {word} {project}"),
    nova("flavor-access-list --flavor {word}", "{project}"),
    nova("flavor-access-remove {word} {project}"),
    nova("flavor-update {word} other"),
    nova("flavor-show {word}", "other"),
    nova("flavor-list --all", "{word}"),
    nova("flavor-delete {word}"),
    nova("keypair-add --pub-key {key} {word}"),
    nova("keypair-list", "{word}"),
    nova("keypair-show {word}", "ssh"),
    nova("keypair-delete {word}"),
    nova("server-group-create {word} anti-affinity --rule max_server_per_host=2"),
    nova("server-group-list", "{word}"),
    nova("quota-show --tenant {project}", "instances"),
    nova("quota-show --tenant {project} --detail", "in_use"),
    nova("quota-update --cores 50 {project}"),
    nova("quota-defaults --tenant {project}", "key_pairs"),
    nova("quota-delete --tenant {project}"),
    nova("quota-class-show default", "metadata_items"),
    nova("quota-class-update --key-pairs 100 default"),
    nova("limits", "Cores"),
    nova("usage --tenant {project}", "RAM MiB-Hours"),
    nova("usage-list"),
    nova("availability-zone-list", "nova-compute"),
    nova("aggregate-list"),
    nova("service-list --binary nova-compute", "{host}"),
    nova("service-disable {service} --reason why"),
    nova("service-enable {service}"),
    nova("service-force-down {service}"),
    nova("service-force-down --unset {service}"),
    nova("hypervisor-list", "{host}"),
    nova("hypervisor-list --matching {host}", "{host}"),
    nova("hypervisor-show {host}", "uptime"),
    nova("hypervisor-servers {host}"),
    nova("--os-compute-api-version 2.87 hypervisor-stats", "vcpus"),
    nova("--os-compute-api-version 2.87 hypervisor-uptime {host}", "uptime"),
    # not served: a clear refusal, and nothing done
    nova("migrate {server}", fails="not served by nova-blockmigrate"),
    nova("host-servers-migrate {host}", "not served by nova-blockmigrate"),
    nova("evacuate {server}", fails="not served by nova-blockmigrate"),
    nova("host-evacuate {host}", "not served by nova-blockmigrate"),
    nova("resize {server} {flavor}", fails="not served by nova-blockmigrate"),
    nova("shelve {server}", fails="not served by nova-blockmigrate"),
    nova("rescue {server}", fails="not served by nova-blockmigrate"),
    nova("image-create {server} snapshot", fails="not served by nova-blockmigrate"),
    nova("diagnostics {server}", fails="could not be found"),
    nova("delete {server}"),
)

OPENSTACK = (
    openstack("server show {server}", "{server}"),
    openstack("server set --name {word} --property a=1 --tag red {server}"),
    openstack("server unset --property a --tag red {server}"),
    openstack("server lock {server}"),
    openstack("server unlock {server}"),
    openstack("server pause {server}"),
    openstack("server unpause {server}"),
    openstack("server suspend {server}"),
    openstack("server resume {server}"),
    openstack("server stop {server}"),
    openstack("server start {server}"),
    openstack("server reboot --hard {server}"),
    openstack("console log show --lines 3 {server}"),
    openstack("server event list {server}", "create"),
    openstack("server event show {server} {request}", "create"),
    openstack("server migrate --live-migration --block-migration --host {other} --wait {server}"),
    openstack("server list", "{server}", identity=True),
    openstack("server list --long --all-projects --host {host}", identity=True),
    openstack("server migration list --server {server}", "live-migration", identity=True),
    openstack("compute service list", "{host}"),
    openstack("compute service set --disable --disable-reason why {host} nova-compute"),
    openstack("compute service set --enable {host} nova-compute"),
    openstack("hypervisor list --long", "{host}"),
    openstack("hypervisor show {host}", "{host}"),
    openstack("--os-compute-api-version 2.87 hypervisor stats show", "vcpus"),
    openstack("availability zone list --compute --long", "{host}"),
    openstack("flavor show m1.tiny", "m1.tiny"),
    openstack("flavor list --all", "m1.tiny"),
    openstack("flavor create {word} --ram 64 --vcpus 1 --disk 1", identity=True),
    openstack("flavor set --property k=v --description d {word}", identity=True),
    openstack("flavor show {word}", "k='v'", identity=True),
    openstack("flavor unset --property k {word}", identity=True),
    openstack("flavor list --all --long", "{word}", identity=True),
    openstack("flavor delete {word}", identity=True),
    openstack("keypair create --public-key {key} {word}", "fingerprint", identity=True),
    openstack("keypair list", "{word}", identity=True),
    openstack("keypair show {word}", "ssh", identity=True),
    openstack("keypair delete {word}", identity=True),
    openstack("server group create --policy affinity {word}", "affinity"),
    openstack("server group list --long", "{word}"),
    openstack("server group show {word}", "affinity"),
    openstack("server group delete {word}"),
    openstack("aggregate list"),
    openstack("usage list", identity=True),
    openstack("usage show --project {project}", identity=True),
    openstack("quota show --compute {project}", identity=True),
    openstack("quota set --cores 50 {project}", identity=True),
    openstack("limits show --absolute", identity=True),
    openstack("extension list --compute", "Keypairs"),
    openstack("server resize --flavor {flavor} {server}", fails="not served by nova-blockmigrate"),
    openstack("server shelve {server}", fails="not served by nova-blockmigrate"),
    openstack("server rescue {server}", fails="not served by nova-blockmigrate"),
    openstack("server migrate {server}", fails="not served by nova-blockmigrate"),
    openstack("server delete --wait {server}"),
)

NOVA_MOVING = (
    nova("server-migration-list {server}", "running"),
    nova("server-migration-show {server} {migration}", "running"),
    nova("live-migration-abort {server} {migration}"),
    nova("live-migration-force-complete {server} {migration}"),
)
OPENSTACK_MOVING = (
    openstack("server migration show {server} {migration}", "running"),
    openstack("server migration abort {server} {migration}"),
    openstack("server migration force complete {server} {migration}"),
)
