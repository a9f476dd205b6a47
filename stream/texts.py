"""Texts by hash: what behaviours refer to, loaded from and written to the compacted topic ``catalog.texts``."""

from collections.abc import Iterable, Mapping

from stream.events import TEXTS_TOPIC
from stream.sender import Outgoing, OutRecord


class TextCatalog:
    """All texts that this worker knows; a text is written once by whoever meets it first."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._texts: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, text_hash: int) -> str | None:
        """The text of a hash, or None if it is not known here yet."""
        return self._texts.get(text_hash)

    def unknown(self, texts: Mapping[int, str]) -> dict[int, str]:
        """Those of ``texts`` that have to be written."""
        known = self._texts
        return {text_hash: text for text_hash, text in texts.items() if text_hash not in known}

    def add(self, texts: Mapping[int, str]) -> None:
        """Take in texts that are written."""
        self._texts.update(texts)

    def forget(self, hashes: Iterable[int]) -> Iterable[Outgoing]:
        """Let go of texts, and give the tombstones that make every worker do so."""
        by_partition: dict[int, list[OutRecord]] = {}
        for text_hash in hashes:
            self._texts.pop(text_hash, None)
            record = OutRecord(f"{text_hash:016x}".encode(), None)
            by_partition.setdefault(text_hash % self._partitions, []).append(record)
        return [Outgoing(TEXTS_TOPIC, partition, records) for partition, records in by_partition.items()]

    def outgoing(self, texts: Mapping[int, str]) -> Iterable[Outgoing]:
        """The records that write texts: key the hash in hex, value the text in UTF-8."""
        by_partition: dict[int, list[OutRecord]] = {}
        for text_hash, text in texts.items():
            record = OutRecord(f"{text_hash:016x}".encode(), text.encode())
            by_partition.setdefault(text_hash % self._partitions, []).append(record)
        return [Outgoing(TEXTS_TOPIC, partition, records) for partition, records in by_partition.items()]

    def on_record(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a record of the topic; what is not a text of ours is passed over."""
        if not key:
            return
        try:
            text_hash = int(key, 16)
            if value is None:
                self._texts.pop(text_hash, None)
            else:
                self._texts[text_hash] = value.decode()
        except ValueError:
            return  # somebody else's record: a bad key or not UTF-8
