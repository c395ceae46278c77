//! Stores that look at the numbers on their way.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tillflow::document::{Document, Value};
use tillflow::store::{Commit, Fingerprints, Offsets, Origin, Progress, Store, StoreError, StoreScan};
use tillflow_dataflows::records::Topic;

/// Forgets everything but the revenue of `sales_all`, and when it was told last.
#[derive(Clone, Default)]
pub struct Null {
    revenue: Arc<Mutex<i128>>,
    last: Arc<Mutex<Option<Instant>>>,
}

impl Null {
    /// The last revenue of `sales_all`, in ten-thousandths.
    pub fn revenue(&self) -> i128 {
        *self.revenue.lock().unwrap()
    }

    /// When the last commit ended.
    pub fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap()
    }

    fn look(&self, documents: &[Document]) {
        for document in documents.iter().filter(|document| document.id == "metric|sales_all") {
            if let Some(Value::Decimal { digits, .. }) = document.get("revenue") {
                *self.revenue.lock().unwrap() = *digits;
            }
        }
    }
}

impl Store for Null {
    fn init(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn peek(&mut self) -> Result<(Option<Progress>, Option<Origin>), StoreError> {
        Ok((None, None))
    }

    fn fingerprints(&mut self) -> Result<Fingerprints, StoreError> {
        Ok(Fingerprints::new())
    }

    fn acquire(&mut self, instance: &str) -> Result<(Progress, Option<Origin>), StoreError> {
        let progress = Progress {
            epoch: 0,
            as_of: None,
            offsets: Offsets::new(),
            committed_at: None,
            instance: instance.to_owned(),
            fence: 1,
        };
        Ok((progress, None))
    }

    fn write_raw(&mut self, _documents: &[Document]) -> Result<(), StoreError> {
        Ok(())
    }

    fn forget_raw(&mut self, _topic: Topic, _partition: i32, _from: i64) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.look(&commit.upserts);
        Ok(())
    }

    fn alerts(&mut self) -> Result<Vec<Document>, StoreError> {
        Ok(Vec::new())
    }

    fn scanner(&self) -> Result<Option<Box<dyn StoreScan>>, StoreError> {
        Ok(None)
    }

    fn guarantee(&self) -> String {
        String::from("none")
    }
}

/// SQLite, with an eye on the revenue.
pub struct Watched {
    pub store: Box<dyn Store>,
    pub eye: Null,
}

impl Store for Watched {
    fn init(&mut self) -> Result<(), StoreError> {
        self.store.init()
    }

    fn peek(&mut self) -> Result<(Option<Progress>, Option<Origin>), StoreError> {
        self.store.peek()
    }

    fn fingerprints(&mut self) -> Result<Fingerprints, StoreError> {
        self.store.fingerprints()
    }

    fn acquire(&mut self, instance: &str) -> Result<(Progress, Option<Origin>), StoreError> {
        self.store.acquire(instance)
    }

    fn write_raw(&mut self, documents: &[Document]) -> Result<(), StoreError> {
        self.store.write_raw(documents)
    }

    fn forget_raw(&mut self, topic: Topic, partition: i32, from: i64) -> Result<(), StoreError> {
        self.store.forget_raw(topic, partition, from)
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.eye.look(&commit.upserts);
        self.store.commit(commit)?;
        *self.eye.last.lock().unwrap() = Some(Instant::now());
        Ok(())
    }

    fn alerts(&mut self) -> Result<Vec<Document>, StoreError> {
        self.store.alerts()
    }

    fn scanner(&self) -> Result<Option<Box<dyn StoreScan>>, StoreError> {
        self.store.scanner()
    }

    fn guarantee(&self) -> String {
        self.store.guarantee()
    }
}
