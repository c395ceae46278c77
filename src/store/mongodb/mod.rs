//! stub
use super::*;
pub struct MongoStore;
impl MongoStore { pub fn open(_: &StoreAddress, _: StoreOptions) -> Result<SqliteNever, StoreError> { Err(StoreError::Unavailable(String::new())) } }
pub struct MongoReader;
impl MongoReader { pub fn open(_: &StoreAddress, _: bool) -> Result<SqliteNever, StoreError> { Err(StoreError::Unavailable(String::new())) } }
pub enum SqliteNever {}
impl Store for SqliteNever {
    fn init(&mut self) -> Result<(), StoreError> { match *self {} }
    fn acquire(&mut self, _: &str) -> Result<(Progress, Option<Origin>), StoreError> { match *self {} }
    fn write_raw(&mut self, _: &[Document]) -> Result<(), StoreError> { match *self {} }
    fn commit(&mut self, _: &Commit) -> Result<(), StoreError> { match *self {} }
    fn alerts(&mut self) -> Result<Vec<Document>, StoreError> { match *self {} }
    fn guarantee(&self) -> String { match *self {} }
}
impl StoreReader for SqliteNever {
    fn read(&mut self, _: &[Query]) -> Result<(Option<Progress>, Vec<Vec<Document>>), StoreError> { match *self {} }
}
