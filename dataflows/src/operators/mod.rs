//! Operators that differential dataflow does not have, each a general one: none of them knows a view.

mod combine;
mod default_row;
mod follow;
mod publish;
mod sweep;
mod top;

pub use combine::combine;
pub use default_row::with_default;
pub use follow::{Follower, follow};
pub use publish::{Dating, FinalBefore, publish};
pub use sweep::{Reach, sweep};
pub use top::top;
