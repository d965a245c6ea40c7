"""The open database, with its contents by subject."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from patchbank.store.access import Access
from patchbank.store.banks import Banks
from patchbank.store.categories import Categories
from patchbank.store.conditions import Conditions
from patchbank.store.connecting import DEFAULT_LIMITS, Limits, connect, lives
from patchbank.store.defects import Defects
from patchbank.store.embedded.server import EmbeddedServer
from patchbank.store.events import Events
from patchbank.store.failures import Place, explained
from patchbank.store.images import Images
from patchbank.store.indexes import Indexes
from patchbank.store.inspections import Inspections
from patchbank.store.jobs import Jobs
from patchbank.store.migrate import UpgradePlan, plan_upgrade, prepare
from patchbank.store.outbox import Outbox
from patchbank.store.patches import Patches
from patchbank.store.quarantine import Quarantine
from patchbank.store.reference_features import ReferenceFeatures
from patchbank.store.retention import KEEP_ALL, InspectionRetention
from patchbank.store.reviews import Reviews
from patchbank.store.sessions import Sessions
from patchbank.store.versions import DEFAULT_RETENTION, Retention
from patchbank.store.watched_files import WatchedFiles

T = TypeVar("T")


class Database(Sessions):
    """An open database from `open_database`: a context manager, thread-safe."""

    #: Which retired versions of banks are kept.
    retention = DEFAULT_RETENTION
    #: How long inspections are kept.
    inspection_retention = KEEP_ALL

    @cached_property
    def access(self) -> Access:
        """The keys of the service."""
        return Access(self)

    @cached_property
    def categories(self) -> Categories:
        """The categories."""
        return Categories(self)

    @cached_property
    def banks(self) -> Banks:
        """The memory banks."""
        return Banks(self, self.retention)

    @cached_property
    def images(self) -> Images:
        """The reference images."""
        return Images(self)

    @cached_property
    def patches(self) -> Patches:
        """The patches of the banks."""
        return Patches(self)

    @cached_property
    def features(self) -> ReferenceFeatures:
        """The patch features of the references."""
        return ReferenceFeatures(self)

    @cached_property
    def quarantine(self) -> Quarantine:
        """The images held back from the banks."""
        return Quarantine(self)

    @cached_property
    def defects(self) -> Defects:
        """The recorded and synthetic defects."""
        return Defects(self)

    @cached_property
    def indexes(self) -> Indexes:
        """The HNSW indexes."""
        return Indexes(self)

    @cached_property
    def events(self) -> Events:
        """The event log."""
        return Events(self)

    @cached_property
    def conditions(self) -> Conditions:
        """In what state images were inspected."""
        return Conditions(self)

    @cached_property
    def inspections(self) -> Inspections:
        """The recorded inspections."""
        return Inspections(self, self.inspection_retention)

    def close(self) -> None:
        """Close all connections; the embedded server stays up for a while."""
        opened = self.__dict__.get("inspections")
        if opened is not None:
            opened.retained.close()
        super().close()

    @cached_property
    def outbox(self) -> Outbox:
        """Where inspections are sent to, and which are still to be sent."""
        return Outbox(self)

    @cached_property
    def jobs(self) -> Jobs:
        """Work of minutes that services do."""
        return Jobs(self)

    @cached_property
    def watched_files(self) -> WatchedFiles:
        """The judged files of watched folders."""
        return WatchedFiles(self)

    @cached_property
    def reviews(self) -> Reviews:
        """The answers of people to inspections."""
        return Reviews(self)


def open_database(
    url: str | None,
    home: Path,
    *,
    idle_minutes: float = 10.0,
    max_connections: int = 8,
    limits: Limits = DEFAULT_LIMITS,
    retention: Retention = DEFAULT_RETENTION,
    inspection_retention: InspectionRetention = KEEP_ALL,
) -> Database:
    """Open the database; start its server and upgrade its schema if necessary.

    Parameters
    ----------
    url
        An external server, as URL or ``key=value`` string; None for the embedded server.
    home
        The home folder, where the embedded server keeps its data.
    idle_minutes
        Minutes without a client after which the embedded server stops by itself.
    max_connections
        The maximum number of connections of this process.
    limits
        How long the server may take to accept a connection, and to answer.
    retention
        Which retired versions of banks are kept.
    inspection_retention
        How long inspections are kept.

    Raises
    ------
    ParameterError
        If the URL is invalid.
    DatabaseUnreachableError
        If the server cannot be reached.
    EmbeddedServerError
        When the embedded server cannot be started or belongs to another user.
    DatabaseUpgradeNeededError
        If an external server has an older schema.
    PgvectorMissingError, DatabaseTooNewError, DatabaseError, DiskFullError
        When the database cannot be used.
    """
    server = EmbeddedServer(home, idle_minutes=idle_minutes) if url is None else None
    place = Place(url, server)
    connection = connect(place, limits)
    # Another process may be upgrading the schema.
    connection.lives = partial(lives, place, limits)
    try:
        with explained(place):
            prepared = prepare(connection, place)
    except BaseException:  # an interrupt too
        connection.close()
        raise
    database = Database(place, connection, prepared, limits, max_connections=max_connections)
    database.retention = retention
    database.inspection_retention = inspection_retention
    return database


def upgrade_database(
    url: str | None,
    home: Path,
    confirm: Callable[[UpgradePlan], bool],
    *,
    idle_minutes: float = 10.0,
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[UpgradePlan, bool]:
    """Upgrade the database of an older patchbank to the current schema, in one transaction.

    Parameters
    ----------
    confirm
        Called with what the upgrade will do; returns whether to go ahead.

    Returns
    -------
    The plan, and whether it was carried out.

    Raises
    ------
    DatabaseError
        If the database cannot be used or upgraded; then it is unchanged. See `open_database`.
    """
    server = EmbeddedServer(home, idle_minutes=idle_minutes) if url is None else None
    place = Place(url, server)
    with contextlib.closing(connect(place, limits)) as connection, explained(place):
        connection.lives = partial(lives, place, limits)
        plan = plan_upgrade(connection, place)
        wanted = bool(plan.migrations) and confirm(plan)
        if wanted:
            prepare(connection, place, upgrade=True)
    return plan, wanted
