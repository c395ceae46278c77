use super::*;
use crate::records::Money;
use crate::time::{HOUR, MINUTE};

const SETTINGS: AdmissionSettings = AdmissionSettings { correction_window: 48 * HOUR, max_future: 10 * MINUTE };
const START: Millis = 1_700_000_000_000;

fn sale(id: &str, timestamp: Millis, units: i64) -> Sale {
    Sale {
        transaction_id: id.into(),
        user_id: format!("user of {id}").as_str().into(),
        product_id: "p".into(),
        quantity: units,
        unit_price: Money(10_000),
        total_amount: Money(10_000 * units),
        payment_method: "cash".into(),
        timestamp,
        store_id: "s".into(),
        category: "c".into(),
    }
}

/// A fact with texts of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Emitted {
    Sale(Sale, i32, Diff),
    Activity(Activity),
    Stock(StockCandidate, Diff),
}

impl From<Fact<'_>> for Emitted {
    fn from(fact: Fact<'_>) -> Emitted {
        match fact {
            Fact::Sale(placed, difference) => Emitted::Sale(placed.sale.owned(), placed.partition, difference),
            Fact::Activity(activity) => Emitted::Activity(activity.owned()),
            Fact::Stock(candidate, difference) => Emitted::Stock(candidate, difference),
        }
    }
}

fn fact(sale: Sale, difference: Diff) -> Emitted {
    Emitted::Sale(sale, 0, difference)
}

/// A sale that was read, and stays for as long as anybody could look at it.
fn read(sale: Sale) -> Reading<'static> {
    Reading::from(&*Box::leak(Box::new(sale)))
}

fn level(warehouse: &str, last_updated: Millis, current_stock: i64) -> StockLevel {
    StockLevel {
        product_id: "p".into(),
        warehouse_id: warehouse.into(),
        current_stock,
        reorder_level: 5,
        last_updated,
        category: "c".into(),
        status: None,
    }
}

struct Log {
    partition: Partition,
    offset: i64,
    facts: Vec<Emitted>,
}

impl Log {
    fn new(topic: Topic) -> Log {
        Log { partition: Partition::new(topic, 0, SETTINGS), offset: 0, facts: Vec::new() }
    }

    fn admit(&mut self, reading: Reading<'_>) -> Outcome {
        self.admit_at(reading, None)
    }

    fn admit_at(&mut self, reading: Reading<'_>, kafka: Option<Millis>) -> Outcome {
        self.facts.clear();
        let facts = &mut self.facts;
        let decision = self.partition.admit(reading, self.offset, kafka, &mut |fact| facts.push(fact.into()));
        self.offset += 1;
        decision.outcome
    }
}

#[test]
fn the_same_row_again_is_a_duplicate_and_another_one_a_correction() {
    let mut log = Log::new(Topic::Sales);
    assert_eq!(log.admit(read(sale("a", START, 1))), Outcome::Accepted);
    assert_eq!(log.admit(read(sale("a", START, 1))), Outcome::Duplicate);
    assert!(log.facts.is_empty());
    assert_eq!(log.admit(read(sale("a", START, 2))), Outcome::Correction);
    assert_eq!(log.facts, [fact(sale("a", START, 1), -1), fact(sale("a", START, 2), 1)]);
    assert_eq!(log.admit(read(sale("a", START, 1))), Outcome::Correction);
}

#[test]
fn what_belongs_to_windows_that_left_memory_before_the_first_record_is_late() {
    let at = |timestamp| read(sale("a", timestamp, 1));
    let mut log = Log::new(Topic::Sales);
    log.partition.begin_at(START);
    assert!(!log.partition.has_given());
    assert_eq!(log.partition.clock(), Some(START + SETTINGS.correction_window));
    assert_eq!(log.admit(at(START - 1)), Outcome::Late);
    assert_eq!(log.admit(at(START)), Outcome::Accepted);
    assert_eq!(log.admit(at(START + 1)), Outcome::Correction);
    // It is no later than it began, until the partition's own clock has come as far.
    let clock = START + SETTINGS.correction_window;
    assert_eq!(log.partition.clock(), Some(clock));
    assert_eq!(log.admit(at(clock + 1)), Outcome::Correction);
    assert_eq!(log.partition.clock(), Some(clock + 1));
    assert_eq!(log.admit(at(START)), Outcome::Late);

    let mut stock = Log::new(Topic::Inventory);
    stock.partition.begin_at(START);
    assert_eq!(stock.partition.clock(), None);
    assert_eq!(stock.admit(Reading::StockLevel(level("w", START - 1, 7))), Outcome::Accepted);
}

#[test]
fn a_cancelled_transaction_is_known_no_more() {
    let mut log = Log::new(Topic::Sales);
    log.admit(read(sale("a", START, 1)));
    assert_eq!(log.admit(Reading::Tombstone(Some(b"a"))), Outcome::Cancelled);
    assert_eq!(log.facts, [fact(sale("a", START, 1), -1)]);
    assert_eq!(log.admit(Reading::Tombstone(Some(b"a"))), Outcome::Cancelled);
    assert!(log.facts.is_empty());
    assert_eq!(log.admit(read(sale("a", START, 1))), Outcome::Accepted);
}

#[test]
fn the_correction_window_includes_its_oldest_instant() {
    let mut log = Log::new(Topic::Sales);
    log.admit(read(sale("old", START, 1)));
    log.admit(read(sale("clock", START + 48 * HOUR, 1)));
    assert_eq!(log.admit(read(sale("old", START, 2))), Outcome::Correction);
    assert_eq!(log.admit(read(sale("x", START - 1, 1))), Outcome::Late);
    log.admit(read(sale("clock 2", START + 48 * HOUR + 1, 1)));
    assert_eq!(log.admit(read(sale("old", START, 3))), Outcome::Late);
    // Known no more: an accepted sale of its own, and the old row stays.
    assert_eq!(log.admit(read(sale("old", START + HOUR, 4))), Outcome::Accepted);
    assert_eq!(log.facts.len(), 1);
}

#[test]
fn a_duplicate_or_a_dead_letter_moves_no_clock() {
    let mut log = Log::new(Topic::Sales);
    log.admit(read(sale("a", START, 1)));
    assert_eq!(log.admit_at(read(sale("b", START + HOUR, 1)), Some(START)), Outcome::Quarantined);
    assert_eq!(log.admit_at(read(sale("b", START + 10 * MINUTE, 1)), Some(START)), Outcome::Accepted);
    assert_eq!(log.partition.clock(), Some(START + 10 * MINUTE));
    assert_eq!(log.admit(Reading::Unreadable(Reason::InvalidJson)), Outcome::Rejected);
    assert_eq!(log.partition.clock(), Some(START + 10 * MINUTE));
}

#[test]
fn memory_forgets_rows_and_texts_that_can_be_corrected_no_more() {
    let mut log = Log::new(Topic::Sales);
    for hour in 0..480 {
        log.admit(read(sale(&format!("t{hour}"), START + hour * HOUR, 1)));
    }
    assert!(log.partition.remembered() <= 48 + 4, "{}", log.partition.remembered());
    let Memory::Sales(known) = &log.partition.memory else { panic!("not sales") };
    assert!(known.texts() <= 48 + 4 + 4, "{}", known.texts());
}

#[test]
fn a_tombstone_without_a_key_is_rejected_and_so_is_one_of_activity() {
    let mut log = Log::new(Topic::Sales);
    assert_eq!(log.admit(Reading::Tombstone(None)), Outcome::Rejected);
    assert_eq!(log.admit(Reading::Tombstone(Some(b""))), Outcome::Rejected);
    assert_eq!(log.admit(Reading::Tombstone(Some(b"\xff"))), Outcome::Cancelled);
    assert_eq!(Log::new(Topic::UserActivity).admit(Reading::Tombstone(Some(b"u"))), Outcome::Rejected);
}

#[test]
fn an_inventory_row_is_the_one_updated_last_and_a_tombstone_starts_afresh() {
    let mut log = Log::new(Topic::Inventory);
    log.admit(Reading::StockLevel(level("w", START, 10)));
    assert_eq!(log.admit(Reading::StockLevel(level("w", START - HOUR * 1000, 3))), Outcome::Accepted);
    assert!(log.facts.is_empty());
    log.admit(Reading::StockLevel(level("w", START, 4)));
    assert_eq!(log.facts.len(), 2, "the later offset wins a tie");
    log.admit(Reading::Tombstone(Some(b"p")));
    assert_eq!(
        log.facts,
        [Emitted::Stock(StockCandidate { level: level("w", START, 4), partition: 0, offset: 2 }, -1)]
    );
    log.admit(Reading::StockLevel(level("w", START - HOUR, 7)));
    assert_eq!(log.facts.len(), 1, "a later record counts whatever its last_updated");
}

#[test]
fn a_restored_partition_decides_as_the_one_that_was_saved() {
    let mut log = Log::new(Topic::Sales);
    for hour in 0..100 {
        log.admit(read(sale(&format!("t{hour}"), START + hour * HOUR, 1)));
    }
    log.admit(Reading::Tombstone(Some(b"t90")));
    let saved = log.partition.save();
    let restored = Partition::restore(&saved, SETTINGS, &mut |_| panic!("a sale is in the graph already")).unwrap();
    assert_eq!(restored.remembered(), log.partition.remembered());
    let mut again = Log { partition: restored, offset: log.offset, facts: Vec::new() };
    let readings = [
        read(sale("t99", START + 99 * HOUR, 1)),
        read(sale("t98", START + 98 * HOUR, 2)),
        read(sale("t90", START + 90 * HOUR, 1)),
        read(sale("t10", START + 10 * HOUR, 1)),
        Reading::Tombstone(Some(b"t97")),
        read(sale("new", START + 200 * HOUR, 1)),
        read(sale("t98", START + 160 * HOUR, 3)),
    ];
    for reading in readings {
        assert_eq!(again.admit(reading.clone()), log.admit(reading));
        assert_eq!(again.facts, log.facts);
    }
    assert_eq!(again.partition.clock(), log.partition.clock());
}

#[test]
fn restored_stock_rows_are_candidates_again() {
    let mut log = Log::new(Topic::Inventory);
    log.admit(Reading::StockLevel(level("w", START, 10)));
    log.admit(Reading::StockLevel(level("v", START, 7)));
    log.admit(Reading::StockLevel(level("w", START + HOUR, 4)));
    let mut facts: Vec<Emitted> = Vec::new();
    let restored = Partition::restore(&log.partition.save(), SETTINGS, &mut |fact| facts.push(fact.into())).unwrap();
    let candidate = |level, offset| Emitted::Stock(StockCandidate { level, partition: 0, offset }, 1);
    assert_eq!(facts, [candidate(level("v", START, 7), 1), candidate(level("w", START + HOUR, 4), 2)]);
    let mut again = Log { partition: restored, offset: 3, facts: Vec::new() };
    again.admit(Reading::StockLevel(level("w", START, 9)));
    assert!(again.facts.is_empty());
    again.admit(Reading::Tombstone(Some(b"p")));
    assert_eq!(again.facts.len(), 2);
}

#[test]
fn a_row_without_its_texts_is_not_restored() {
    let mut log = Log::new(Topic::Sales);
    log.admit(read(sale("a", START, 1)));
    let mut saved = log.partition.save();
    saved.memory.remove(0);
    assert!(Partition::restore(&saved, SETTINGS, &mut |_| {}).is_err());
}
