//! Records that go on for ever about the same things: what the program holds has no reason to grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tillflow_dataflows::records::Topic;

use crate::support::{SOON, kafka};

/// Records a second.
pub const RATE: u64 = 60;

/// How many transactions there are; as many users, products and places as follow from their numbers.
const TRANSACTIONS: u64 = 300;

/// Records after which all transactions have been sent.
const ROUND: u64 = 2 * TRANSACTIONS;

/// A client that sends until it is told to stop.
pub struct Steady {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Steady {
    /// To topics of three partitions, at once all that there will ever be, then on and on.
    pub fn start(prefix: &str) -> Steady {
        let names = Topic::ALL.map(|topic| format!("{prefix}{}", topic.name()));
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", kafka()).create().expect("a producer");
        let send = move |number: u64| {
            let (topic, key, value) = record(number);
            let record = BaseRecord::to(&names[topic as usize]).partition((number % 3) as i32).key(&key);
            let record = match &value {
                Some(value) => record.payload(value.as_str()),
                None => record,
            };
            producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
            producer.poll(Duration::ZERO);
            if number + 1 == ROUND || number.is_multiple_of(RATE) {
                producer.flush(SOON).expect("sent");
            }
        };
        (0..ROUND).for_each(&send);
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            for number in (ROUND..).take_while(|_| !told.load(Ordering::SeqCst)) {
                let due = Duration::from_millis((number - ROUND) * 1_000 / RATE);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
                send(number);
            }
        });
        Steady { stop, thread: Some(thread) }
    }

    pub fn finish(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().expect("sending").join().expect("a client that ends well");
    }
}

/// Every second one is a sale, every fourth an activity or a stock level. What is said of a thing changes from round to
/// round: most sales are corrections, some duplicates or cancellations, and alerts come and go.
fn record(number: u64) -> (Topic, String, Option<String>) {
    let (thing, round) = (number / 2 % TRANSACTIONS, number / ROUND);
    let time = format!("2024-01-15T1{}:{:02}:{:02}Z", thing % 3, thing % 60, thing % 7);
    if number.is_multiple_of(2) {
        let quantity = 1 + (round + thing) / 2 % 3;
        let total = 125 * quantity;
        let value = format!(
            r#"{{"transaction_id":"t{thing}","user_id":"u{}","product_id":"p{}","quantity":{quantity},"unit_price":"1.25","total_amount":"{}.{:02}","payment_method":"cash","timestamp":"{time}","store_id":"s{}","category":"c{}"}}"#,
            thing % 17,
            thing % 20,
            total / 100,
            total % 100,
            thing % 5,
            thing % 4
        );
        let is_cancelled = (round + thing) % 11 == 0;
        return (Topic::Sales, format!("t{thing}"), (!is_cancelled).then_some(value));
    }
    if thing % 2 == 0 {
        let kind = ["login", "page_view", "add_to_cart", "purchase"][(thing / 2 % 4) as usize];
        let value = format!(
            r#"{{"user_id":"u{}","activity_type":"{kind}","timestamp":"{time}","session_id":"x{}","product_id":"p{}","amount":"1.25"}}"#,
            thing % 17,
            thing % 30,
            thing % 20
        );
        return (Topic::UserActivity, format!("u{}", thing % 17), Some(value));
    }
    let stock = (round + thing) % 25;
    let value = format!(
        r#"{{"product_id":"p{}","current_stock":{stock},"reorder_level":10,"last_updated":"{time}","warehouse_id":"w{}","category":"c"}}"#,
        thing % 20,
        thing % 3
    );
    (Topic::Inventory, format!("p{}", thing % 20), Some(value))
}
