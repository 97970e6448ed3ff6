"""What of Nova's own survives a restart."""

from __future__ import annotations

import json
import types

from fake_nova import Stored


def test_what_is_kept_comes_back_as_it_was(nova: None) -> None:
    from nova_blockmigrate.nova_driver import keeping

    context = types.SimpleNamespace(request_id="req-1")
    pmem, flavor = Stored(names=["ns_0"]), Stored(memory_mb=256)

    kept = json.loads(json.dumps(keeping.packed(context, Stored(block_migration=True), Stored(bdms=["v"]), pmem, flavor)))

    again = types.SimpleNamespace(request_id="req-2")
    migrate_data, bdms = keeping.unpacked(kept, again)
    assert (migrate_data.block_migration, bdms.bdms, again.request_id) == (True, ["v"], "req-1")
    instance = Stored(resources=None)
    keeping.put_back(kept, instance, again)
    assert (instance.resources.names, instance.flavor.memory_mb) == (["ns_0"], 256)


def test_secret_of_a_guest_is_not_kept(nova: None) -> None:
    from nova_blockmigrate.nova_driver import keeping

    data = Stored(block_migration=True, vtpm_secret_value="s3cr3t")
    kept = keeping.packed(types.SimpleNamespace(request_id="req-1"), data, Stored())
    assert "s3cr3t" not in json.dumps(kept)
    assert data.vtpm_secret_value == "s3cr3t"


def test_instance_without_resources_of_its_own(nova: None) -> None:
    from nova_blockmigrate.nova_driver import keeping

    context = types.SimpleNamespace(request_id="req-1")
    instance = Stored(flavor="as it was")
    keeping.put_back(keeping.packed(context, Stored(), Stored()), instance, context)
    assert (instance.resources, instance.flavor) == (None, "as it was")
