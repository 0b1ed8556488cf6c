"""Where the concrete classes meet: the rooms are opened bottom-up and handed to one engine."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ketch.content.store import ContentStore
from ketch.daemon.builder_settings import collection, grantable
from ketch.daemon.config import default_ulimits, log_config, programs
from ketch.distribution.hosts import RegistrySettings
from ketch.engine.builder.builder import Builder
from ketch.engine.containers.parts import Config
from ketch.engine.engine import Engine, Rooms
from ketch.engine.events.events import Events
from ketch.engine.images.images import Images
from ketch.engine.images.parts import ImageParts, ImageSettings, ingest_in_worker
from ketch.engine.images.store import ImageStore
from ketch.engine.networks.networks import NetworkConfig, Networks
from ketch.engine.volumes.volumes import Volumes
from ketch.runtime.remote import Launcher
from ketch.snapshots.probe import check_overlay, open_snapshotter
from ketch.state.database import Database
from ketch.state.leases import Leases

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ketch.daemon.settings import Settings
    from ketch.engine.containers.record import ContainerRecord
    from ketch.snapshots.store import LayerStore

_log = logging.getLogger(__name__)


async def build(settings: Settings, stack: AsyncExitStack) -> Engine:
    """An engine that runs: records open, launcher there, networks up, containers adopted.

    What has to be closed is pushed on ``stack``.
    """
    root = settings.data_root
    for folder in ("tmp", "trash", "containers"):
        os.makedirs(f"{root}/{folder}", mode=0o710, exist_ok=True)
    database = Database(f"{root}/ketch.db", exclusive=True)
    stack.callback(database.close)
    check_overlay()
    snapshots = await asyncio.to_thread(open_snapshotter, root, settings.storage_driver)
    _log.info("layers are kept by the %s snapshotter", snapshots.name)
    await asyncio.to_thread(snapshots.sweep_tmp)  # what workers of a killed daemon left
    launcher = await Launcher.ensure(settings.exec_root)
    stack.callback(launcher.close)
    engine = _engine(settings, database, snapshots, launcher)
    await engine.networks.setup()
    stack.push_async_callback(engine.networks.close)
    await engine.start()
    stack.push_async_callback(engine.close)
    await engine.images.start()
    stack.push_async_callback(engine.builder.close)
    await engine.builder.start()
    return engine


def _engine(
    settings: Settings, database: Database, snapshots: LayerStore, launcher: Launcher
) -> Engine:
    def containers() -> Iterable[ContainerRecord]:
        return engine.parts.store  # which is made after those who ask

    events = Events(database)
    image_parts = ImageParts(
        settings=ImageSettings(
            registries=_registries(settings),
            downloads=settings.max_concurrent_downloads,
            uploads=settings.max_concurrent_uploads,
        ),
        store=ImageStore(database),
        content=ContentStore(settings.data_root),
        leases=Leases(),
        snapshots=snapshots,
        ingest=ingest_in_worker(launcher, settings.data_root, snapshots),
        events=events,
        containers=containers,
        release=launcher.release_layers,
        empty_trash=snapshots.sweep_trash,
    )
    rooms = Rooms(
        database=database,
        events=events,
        images=Images(image_parts),
        volumes=Volumes(settings.data_root, database, events, containers, launcher.work),
        networks=Networks(network_config(settings), database, events),
        snapshots=snapshots,
        launcher=launcher,
    )
    engine = Engine(_engine_config(settings), rooms)
    engine.builder = Builder(engine.parts, database)
    return engine


def _registries(settings: Settings) -> RegistrySettings:
    return RegistrySettings(
        mirrors=settings.registry_mirrors,
        insecure=settings.insecure_registries,
        certificates=settings.certs_dir,
        attempts=settings.max_download_attempts,
    )


def network_config(settings: Settings) -> NetworkConfig:
    """What the network service takes of the settings."""
    return NetworkConfig(
        bridge=settings.bridge,
        bip=settings.bip,
        mtu=settings.mtu,
        nft_table=settings.nft_table,
        pools=tuple((pool.base, pool.size) for pool in settings.default_address_pools),
    )


def _engine_config(settings: Settings) -> Config:
    return Config(
        data_root=settings.data_root,
        exec_root=settings.exec_root,
        cgroup_parent=settings.cgroup_parent,
        pool_size=settings.warm_pool,
        log=log_config(settings),
        dns=settings.dns,
        init=settings.init,
        cpu_realtime=(settings.cpu_rt_period, settings.cpu_rt_runtime),
        cdi_spec_dirs=settings.cdi_spec_dirs,
        default_ulimits=default_ulimits(settings),
        labels=settings.labels,
        runtimes=programs(settings),
        default_runtime=settings.default_runtime,
        build_cache=collection(settings.builder),
        entitlements=grantable(settings.builder),
    )
