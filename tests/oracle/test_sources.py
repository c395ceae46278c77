"""Sources, and the histories made to break things."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import hostile
import sources
from admission import OUTCOMES, REASONS
from cases import TEN, sale
from oracle import Settings, compute
from targets import as_partitions, write_envelopes


class Sources(unittest.TestCase):
    def test_murmur2_as_the_java_client(self):
        # The values that Kafka's own unit tests pin.
        for key, wanted in (
            (b"21", -973932308),
            (b"foobar", -790332482),
            (b"a-little-bit-long-string", -985981536),
            (b"a-little-bit-longer-string", -1486304829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            (b"abc", 479470107),
        ):
            self.assertEqual(sources.murmur2(key), wanted & 0xFFFFFFFF, key)

    def test_plain_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "sales.ndjson"), "wb") as file:
                file.write(b"{bad\n" + sale() + b"\n\r\n\n \r\n" + sale(transaction_id="t2"))
            partitions = sources.read_plain(folder, Settings())
        self.assertEqual(partitions["sales", 0][:2], [(0, None, None, b"{bad"), (1, None, None, b" ")])
        placed = {key: (number, timestamp) for (_, number), log in partitions.items() for _, timestamp, key, _ in log}
        self.assertEqual(placed[b"t1"], (sources.partition_of(b"t1"), TEN))
        self.assertEqual(placed[b"t2"], (sources.partition_of(b"t2"), TEN))

    def test_envelopes(self):
        lines = (
            b'{"partition":1,"offset":42,"timestamp_ms":7,"key":"k","value": {"a" : 1.50} }',
            b'{"value":null,"key":"k","partition":1,"offset":43}',
            b'{"partition":0,"timestamp_ms":-1,"key_base64":"/w==","value_base64":"AP8="}',
            b'{"partition":0,"value":"text","key":null}',
            b' { "value":{"a":"\\ud800"} , "partition" : 0 }',
            b'{"value":' + b"[" * 200 + b"]" * 200 + b',"partition":0}',
        )
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "sales.ndjson"), "wb") as file:
                file.write(b"\n".join(lines))
            partitions = sources.read_envelopes(folder)
        self.assertEqual(
            partitions,
            {
                ("sales", 1): [(42, 7, b"k", b'{"a" : 1.50}'), (43, None, b"k", None)],
                ("sales", 0): [
                    (0, None, b"\xff", b"\x00\xff"),
                    (1, None, None, b'"text"'),
                    (2, None, None, b'{"a":"\\ud800"}'),
                    (3, None, None, b"[" * 200 + b"]" * 200),
                ],
            },
        )

    def test_what_is_no_envelope(self):
        lines = b"garbage", b"[1]", b"{}", b'{"partition":0,}', b'{"partition":0', b'{"partition":0}x', b'{"partition"}'
        for line in lines:
            with tempfile.TemporaryDirectory() as folder:
                with open(os.path.join(folder, "sales.ndjson"), "wb") as file:
                    file.write(line)
                self.assertRaises(sources.SourceError, sources.read_envelopes, folder)

    def test_hostile_files_read_back_as_written(self):
        records = hostile.history(4, 4000)
        with tempfile.TemporaryDirectory() as folder:
            write_envelopes(folder, records)
            self.assertEqual(sources.read_envelopes(folder), as_partitions(records))


class Hostile(unittest.TestCase):
    def test_the_same_seed_gives_the_same_history(self):
        self.assertEqual(hostile.history(9, 500), hostile.history(9, 500))
        self.assertNotEqual(hostile.history(9, 500), hostile.history(10, 500))

    def test_all_that_can_happen_happens(self):
        kinds, finals = set(), set()
        outcomes, reasons = dict.fromkeys(OUTCOMES, 0), dict.fromkeys(REASONS, 0)
        for seed in (2, 4):
            result = compute(as_partitions(hostile.history(seed, 12_000)))
            kinds |= {alert["kind"] for alert in result.alerts.values()}
            finals |= {document["final"] for document in result.aggregated_data.values()}
            for name, count in result.outcomes.items():
                outcomes[name] += count
            for name, count in result.reasons.items():
                reasons[name] += count
        self.assertEqual([name for name, count in {**outcomes, **reasons}.items() if not count], [])
        self.assertEqual(finals, {True, False})
        self.assertEqual(len(kinds), 5)

    def test_sums_agree_across_dimensions(self):
        result = compute(as_partitions(hostile.history(6, 6000)))
        for granularity in ("minute", "hour", "day"):
            sums = {}
            for document in result.aggregated_data.values():
                if document["type"].startswith("sales_") and document["granularity"] == granularity:
                    held = sums.setdefault(document["type"], {}).setdefault(document["timestamp"], [0, 0, 0])
                    for i, name in enumerate(("transactions", "units", "revenue")):
                        held[i] += document[name]
            for name, windows in sums.items():
                self.assertEqual(windows, sums["sales_total"], f"{name} {granularity}")


if __name__ == "__main__":
    unittest.main()
