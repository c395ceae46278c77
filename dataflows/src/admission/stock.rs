//! The stock levels that one partition holds for the current ones.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::Fact;
use crate::inputs::StockCandidate;
use crate::records::{StockLevel, Text};
use crate::state::{Chunk, ChunkError, ChunkWriter, read_chunk};

/// What saved rows are called.
const LEVELS: &str = "levels";

/// By product and warehouse the candidate with the greatest (last_updated, offset) since the product's last
/// tombstone in this partition.
#[derive(Debug, Default)]
pub(super) struct CurrentLevels {
    /// Ordered within a product, so that a tombstone retracts in one order always.
    products: HashMap<Text, BTreeMap<Text, (i64, StockLevel)>>,
    rows: usize,
}

impl CurrentLevels {
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    /// Takes a level; it becomes the candidate unless an earlier record was updated later.
    pub(super) fn admit(&mut self, level: StockLevel, partition: i32, offset: i64, emit: &mut impl FnMut(Fact<'_>)) {
        let warehouses = self.products.entry(level.product_id.clone()).or_default();
        let slot = warehouses.get_mut(&level.warehouse_id);
        match slot {
            Some((_, current)) if current.last_updated > level.last_updated => {}
            Some(slot) => {
                let (old_offset, old) = std::mem::replace(slot, (offset, level.clone()));
                emit(Fact::Stock(StockCandidate { level: old, partition, offset: old_offset }, -1));
                emit(Fact::Stock(StockCandidate { level, partition, offset }, 1));
            }
            None => {
                warehouses.insert(level.warehouse_id.clone(), (offset, level.clone()));
                self.rows += 1;
                emit(Fact::Stock(StockCandidate { level, partition, offset }, 1));
            }
        }
    }

    /// Gives the rows.
    pub(super) fn save(&self, give: &mut dyn FnMut(Chunk)) {
        let mut writer = ChunkWriter::new(LEVELS, give);
        self.products.values().flat_map(BTreeMap::values).for_each(|entry| writer.write(entry));
        writer.finish();
    }

    /// What was given; each row is a candidate again.
    pub(super) fn restore(
        chunks: &[Chunk],
        partition: i32,
        emit: &mut impl FnMut(Fact<'_>),
    ) -> Result<CurrentLevels, ChunkError> {
        let mut levels = CurrentLevels::default();
        for chunk in chunks.iter().filter(|chunk| chunk.cut == LEVELS) {
            read_chunk(chunk, &mut |(offset, level): (i64, StockLevel)| {
                emit(Fact::Stock(StockCandidate { level: level.clone(), partition, offset }, 1));
                let warehouses = levels.products.entry(level.product_id.clone()).or_default();
                warehouses.insert(level.warehouse_id.clone(), (offset, level));
                levels.rows += 1;
            })?;
        }
        Ok(levels)
    }

    /// Forgets the rows of a product.
    pub(super) fn cancel(&mut self, key: &[u8], partition: i32, emit: &mut impl FnMut(Fact<'_>)) {
        let Ok(product) = std::str::from_utf8(key) else { return };
        let Some(warehouses) = self.products.remove(product) else { return };
        self.rows -= warehouses.len();
        for (offset, level) in warehouses.into_values() {
            emit(Fact::Stock(StockCandidate { level, partition, offset }, -1));
        }
    }
}
