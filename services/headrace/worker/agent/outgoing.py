"""Answers to peers that asked for datasets, collected so that many of them travel in one frame."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.link import frames
from headrace.worker.agent.actions import Action, ToPeer

VALUES_BYTES = 1 << 20
"""Bytes of small values for one peer from which they are sent in a frame."""
MOST_IDS = 100_000
"""The most datasets in one frame. Even with three columns of the longest integers, such a frame is within the limit of a link."""


@dataclass
class Parcel:
    """The answers that were collected for one peer and job."""

    values: frames.Values
    payload: list[bytes]
    offer: frames.Offer
    gone: frames.Gone
    nbytes: int = 0


class Outgoing:
    """The answers that were collected for all peers. Appends actions to the list it was given."""

    def __init__(self, actions: list[Action]) -> None:
        self._actions = actions
        self.parcels: dict[tuple[int, str], Parcel] = {}
        """By peer and job."""

    def value(self, peer: int, job: str, dataset: int, attempt: int, value: bytes) -> None:
        """Add the value of a small dataset."""
        parcel = self._parcel(peer, job)
        parcel.values.datasets.append(dataset)
        parcel.values.attempts.append(attempt)
        parcel.values.lengths.append(len(value))
        parcel.payload.append(value)
        parcel.nbytes += len(value)
        if parcel.nbytes > VALUES_BYTES:
            self.send()

    def offer(self, peer: int, job: str, dataset: int, attempt: int, nbytes: int) -> None:
        """Add the offer of a large dataset, which is sent once the peer grants memory for it."""
        offer = self._parcel(peer, job).offer
        offer.datasets.append(dataset)
        offer.attempts.append(attempt)
        offer.sizes.append(nbytes)

    def gone(self, peer: int, job: str, dataset: int) -> None:
        """Add that this host does not send a dataset."""
        self._parcel(peer, job).gone.datasets.append(dataset)

    def _parcel(self, peer: int, job: str) -> Parcel:
        parcel = self.parcels.get((peer, job))
        if parcel is not None and max(len(parcel.values.datasets), len(parcel.offer.datasets), len(parcel.gone.datasets)) >= MOST_IDS:
            self.send()
            parcel = None
        if parcel is None:
            parcel = Parcel(frames.Values(job, [], [], []), [], frames.Offer(job, [], [], []), frames.Gone(job, []))
            self.parcels[peer, job] = parcel
        return parcel

    def send(self) -> None:
        """Send the collected answers."""
        for (peer, _), parcel in self.parcels.items():
            if parcel.payload:
                self._actions.append(ToPeer(peer, parcel.values, b"".join(parcel.payload)))
            if parcel.offer.datasets:
                self._actions.append(ToPeer(peer, parcel.offer))
            if parcel.gone.datasets:
                self._actions.append(ToPeer(peer, parcel.gone))
        self.parcels.clear()
