"""Domain XML from servers, and facts from domain XML."""

from lxml import etree

from nova_blockmigrate.objects import Server, Vif
from nova_blockmigrate.virt.libvirt import domain_xml
from nova_blockmigrate.virt.libvirt.domain_xml import Attachment, DomainFacts, DomainSettings

VIF = Vif("4a5b6c7d-0000-0000-0000-000000000000", "fa:16:3e:00:00:01", "br100", "tap4a5b6c7d-00", mtu=1450)
SERVER = Server("6e783272-31b5-4fdc-8828-2b8892daab39", "instance-00000001", "a <b> & c", 256, 2, 1, None, (VIF,))
SETTINGS = DomainSettings("qemu", "pc", "custom", "qemu64")
LIVE_XML = """<domain type='kvm'><name>n</name><memory unit='KiB'>262144</memory><vcpu placement='static'>2</vcpu>
<os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os><cpu mode='custom'><model>qemu64</model></cpu><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/disk'/>
<backingStore type='file'><format type='raw'/><source file='/b'/></backingStore><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='hda' bus='ide'/></disk>
<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='iscsi' name='x'/><target dev='vdb'/></disk>
<interface type='bridge'><source bridge='br100'/></interface><interface type='bridge'><source bridge='br100'/></interface>
<serial type='file'><source path='/i/console.log' append='on'/></serial>
<console type='file'><source path='/i/console.log' append='on'/></console>
</devices></domain>"""


def build(**changes: str) -> etree._Element:
    settings = DomainSettings(**{**SETTINGS.__dict__, **changes})
    return etree.fromstring(domain_xml.build(SERVER, settings, "/instances"))


def test_a_domain_is_named_and_sized_as_its_server() -> None:
    domain = build()
    assert (domain.findtext("name"), domain.findtext("uuid")) == (SERVER.domain_name, SERVER.uuid)
    assert (domain.findtext("memory"), domain.findtext("vcpu")) == ("256", "2")
    assert domain.findtext(f"metadata/{{{domain_xml.METADATA_NAMESPACE}}}instance/{{*}}name") == "a <b> & c"


def test_the_disk_is_uncached_and_lies_in_the_servers_directory() -> None:
    disk = build().find("devices/disk")
    assert disk is not None
    assert disk.find("source").get("file") == f"/instances/{SERVER.uuid}/disk"
    assert dict(disk.find("driver").attrib)["cache"] == "none"


def test_an_interface_hangs_on_its_bridge_with_its_own_tap_and_mtu() -> None:
    interface = build().find("devices/interface")
    assert interface is not None
    assert interface.find("source").get("bridge") == "br100"
    assert interface.find("target").get("dev") == VIF.tap
    assert interface.find("mtu").get("size") == "1450"


def test_consoles_append_so_that_a_migration_does_not_truncate_them() -> None:
    sources = build().xpath("devices/*[self::serial or self::console]/source")
    assert [source.get("append") for source in sources] == ["on", "on"]


def test_the_cpu_follows_the_mode() -> None:
    assert build(cpu_mode="none").find("cpu") is None
    assert build(cpu_mode="host-model").find("cpu").get("mode") == "host-model"
    assert build().findtext("cpu/model") == "qemu64"


def test_a_guest_that_powers_off_or_crashes_ends_and_keeps_its_disks() -> None:
    domain = build()
    actions = [domain.findtext(name) for name in ("on_poweroff", "on_reboot", "on_crash")]
    assert actions == ["destroy", "restart", "destroy"]


def test_facts_are_read_from_live_xml() -> None:
    facts = DomainFacts(LIVE_XML)
    assert (facts.arch, facts.machine_type, facts.virt_type) == ("x86_64", "pc-i440fx-7.2", "kvm")
    assert (facts.memory_mib, facts.vcpus, facts.cpu_model) == (256, 2, "qemu64")
    assert facts.bridges == ("br100",)
    assert facts.character_files == ("/i/console.log",)


def test_disks_are_read_with_what_is_written_to_and_what_is_not() -> None:
    first, cdrom, volume = DomainFacts(LIVE_XML).disks
    assert (first.path, first.format, first.source_type, first.readonly) == ("/i/disk", "qcow2", "file", False)
    assert (cdrom.path, cdrom.device, cdrom.readonly) == ("", "cdrom", True)
    assert (volume.source_type, volume.path) == ("network", "")


def test_a_cpu_without_a_model_is_not_compared() -> None:
    assert DomainFacts(LIVE_XML.replace("<model>qemu64</model>", "")).cpu_xml == ""
    assert "qemu64" in DomainFacts(LIVE_XML).cpu_xml


def test_changing_a_disks_path_drops_its_chain_and_leaves_the_others() -> None:
    tree = etree.fromstring(domain_xml.with_disk_paths(LIVE_XML, {"vda": "/elsewhere/disk"}))
    assert tree.find("devices/disk/source").get("file") == "/elsewhere/disk"
    assert tree.find("devices/disk/backingStore") is None
    assert len(tree.findall("devices/disk")) == 3


def test_a_server_that_boots_from_a_volume_has_no_other_disk() -> None:
    root = '<disk type="network" device="disk"><target dev="vda"/></disk>'
    domain = etree.fromstring(domain_xml.build(SERVER, SETTINGS, "/instances", root))
    assert [disk.get("type") for disk in domain.iterfind("devices/disk")] == ["network"]


def test_what_interfaces_hang_on_is_read_however_the_xml_names_it() -> None:
    xml = """<domain><devices>
    <interface type='bridge'><mac address='m1'/><source bridge='br0'/><target dev='vnet0'/></interface>
    <interface type='network'><mac address='m2'/><source network='lan' portid='1' bridge='br1'/><target dev='vnet1'/></interface>
    <interface type='direct'><mac address='m3'/><source dev='eth1' mode='bridge'/><target dev='macvtap0'/></interface>
    <interface type='bridge'><mac address='m4'/><source bridge='ovs'/><virtualport type='openvswitch'/></interface>
    <interface type='user'><mac address='m5'/></interface></devices></domain>"""
    assert DomainFacts(xml).attachments == (
        Attachment("m1", "vnet0", "br0", ""),
        Attachment("m2", "vnet1", "br1", ""),
        Attachment("m3", "macvtap0", "", "eth1"),
    )
