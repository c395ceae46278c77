//! The commit protocol, exhaustively: every interleaving of a few instances that read, take the fence, commit, die,
//! sleep, lose answers, have writes under way for any time, and of a store that goes back to what it was.
//!
//! A history is a handful of records, each of which sets or deletes one key. What the documents have to be after the
//! first n records is [`state_after`]. Both protocols of the program are here: transactions with a compare-and-set, and
//! guarded writes without transactions. A model finds no violation with all guards, and one with any of them removed.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// What each record does: a key, and whether it sets it. The value that it sets is its own number.
const RECORDS: [(usize, bool); 4] = [(0, true), (1, true), (0, false), (1, true)];
const KEYS: usize = 2;
/// The store's documents by key; 0 is none.
type Documents = [u8; KEYS];

fn state_after(records: u8) -> Documents {
    let mut documents = [0; KEYS];
    for (number, (key, sets)) in (1..).zip(&RECORDS[..usize::from(records)]) {
        documents[*key] = if *sets { number } else { 0 };
    }
    documents
}

const ALL: u8 = RECORDS.len() as u8;

/// Looks at every state that can be reached; returns how many, or the first violation.
fn explore<State: Clone + Eq + Hash>(
    first: State,
    next: impl Fn(&State, &mut Vec<State>) -> Result<(), String>,
) -> Result<usize, String> {
    let mut seen = HashSet::from([first.clone()]);
    let mut waiting = VecDeque::from([first]);
    let mut found = Vec::new();
    while let Some(state) = waiting.pop_front() {
        next(&state, &mut found)?;
        for state in found.drain(..) {
            if seen.insert(state.clone()) {
                waiting.push_back(state);
            }
        }
    }
    Ok(seen.len())
}

/// What `progress` says: by which compare-and-set an instance knows that the store is as it left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Progress {
    fence: u8,
    epoch: u8,
    instance: u8,
    /// So many records are counted.
    at: u8,
}

const NEW: Progress = Progress { fence: 0, epoch: 0, instance: u8::MAX, at: 0 };

/// What an instance was told when it took the fence, or committed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    fence: u8,
    epoch: u8,
    at: u8,
}

/// The parts of the compare-and-set.
#[derive(Clone, Copy, Debug)]
struct Compared {
    fence: bool,
    epoch: bool,
    instance: bool,
}

const WHOLE: Compared = Compared { fence: true, epoch: true, instance: true };

impl Compared {
    fn matches(self, held: Held, instance: u8, found: Progress) -> bool {
        (!self.fence || held.fence == found.fence)
            && (!self.epoch || held.epoch == found.epoch)
            && (!self.instance || instance == found.instance)
    }
}

mod transactions {
    use super::*;

    const OWNERS: usize = 3;
    /// Commits that may be under way at once, all instances' together.
    const UNDER_WAY: usize = 2;
    /// So many records there are.
    const END: u8 = 3;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Owner {
        Unborn,
        /// It has read the fence and wants to raise it.
        Reading {
            fence: u8,
        },
        Ready(Held),
        /// A commit is under way, and an answer is waited for.
        Sent {
            held: Held,
            to: u8,
        },
        /// No answer came, or one that nothing matched.
        Unknown {
            held: Held,
            to: u8,
        },
        Dead,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    struct Attempt {
        owner: u8,
        fence: u8,
        epoch: u8,
        at: u8,
        to: u8,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Store {
        progress: Progress,
        documents: Documents,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct State {
        store: Store,
        /// What the store may go back to, once.
        copy: Option<Store>,
        went_back: bool,
        owners: [Owner; OWNERS],
        /// Commits under way, sorted.
        under_way: Vec<Attempt>,
    }

    #[derive(Clone, Copy, Debug)]
    pub struct Guards {
        pub compared: Compared,
        /// Progress is read when an answer is lost.
        pub looks: bool,
        /// Documents and progress become visible together.
        pub whole: bool,
    }

    pub const ALL_GUARDS: Guards = Guards { compared: WHOLE, looks: true, whole: true };

    impl State {
        /// The store takes an attempt, or finds that it does not match.
        fn take(&mut self, attempt: Attempt, guards: Guards) -> Result<bool, String> {
            let held = Held { fence: attempt.fence, epoch: attempt.epoch, at: attempt.at };
            let found = self.store.progress;
            if !guards.compared.matches(held, attempt.owner, found) {
                return Ok(false);
            }
            if found.instance != attempt.owner {
                return Err(format!("instance {} committed, but {} has the fence", attempt.owner, found.instance));
            }
            // Absolute values of the keys that the records between change.
            for (key, _) in &RECORDS[usize::from(attempt.at)..usize::from(attempt.to)] {
                self.store.documents[*key] = state_after(attempt.to)[*key];
            }
            self.store.progress.epoch = attempt.epoch + 1;
            self.store.progress.at = attempt.to;
            if self.store.documents != state_after(attempt.to) {
                return Err(format!("{:?} at {} records", self.store.documents, attempt.to));
            }
            Ok(true)
        }
    }

    fn next(state: &State, found: &mut Vec<State>, guards: Guards) -> Result<(), String> {
        let step = |change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            next.under_way.sort_unstable();
            next
        };
        if state.copy.is_none() {
            found.push(step(&|next| next.copy = Some(next.store.clone())));
        } else if !state.went_back {
            found.push(step(&|next| {
                next.store = next.copy.clone().expect("a copy");
                next.went_back = true;
            }));
        }
        for (index, attempt) in state.under_way.iter().enumerate() {
            // It is lost on its way, or has its effect while nobody hears of it.
            let mut next = step(&|next| {
                next.under_way.remove(index);
            });
            found.push(next.clone());
            if !guards.whole {
                // Half of a commit: progress is there, the documents are not.
                let held = Held { fence: attempt.fence, epoch: attempt.epoch, at: attempt.at };
                if guards.compared.matches(held, attempt.owner, next.store.progress)
                    && state_after(attempt.to) != next.store.documents
                {
                    return Err("progress counts records whose documents are not there".into());
                }
            }
            next.take(*attempt, guards)?;
            found.push(next);
        }
        for (index, owner) in state.owners.iter().enumerate() {
            let be = |owner: Owner| step(&|next| next.owners[index] = owner);
            let me = index as u8;
            match *owner {
                Owner::Unborn => {
                    if state.owners[..index].iter().all(|other| *other != Owner::Unborn) {
                        found.push(be(Owner::Reading { fence: state.store.progress.fence }));
                    }
                    continue;
                }
                Owner::Dead => continue,
                Owner::Reading { fence } if fence == state.store.progress.fence => {
                    let mut next = state.clone();
                    next.store.progress.fence += 1;
                    next.store.progress.instance = me;
                    let Progress { fence, epoch, at, .. } = next.store.progress;
                    next.owners[index] = Owner::Ready(Held { fence, epoch, at });
                    found.push(next);
                }
                Owner::Reading { .. } => found.push(be(Owner::Reading { fence: state.store.progress.fence })),
                Owner::Ready(held) => {
                    for to in held.at + 1..=END.min(held.at + 2) {
                        if state.under_way.len() < UNDER_WAY {
                            found.push(send(state, index, held, to));
                        }
                    }
                }
                Owner::Sent { held, to } => {
                    found.push(be(Owner::Unknown { held, to }));
                    let attempt = Attempt { owner: me, fence: held.fence, epoch: held.epoch, at: held.at, to };
                    if let Some(place) = state.under_way.iter().position(|other| *other == attempt) {
                        let mut next = state.clone();
                        next.under_way.remove(place);
                        next.owners[index] = match next.take(attempt, guards)? {
                            true => Owner::Ready(Held { epoch: held.epoch + 1, at: to, ..held }),
                            false => Owner::Unknown { held, to },
                        };
                        found.push(next);
                    }
                }
                Owner::Unknown { held, to } => {
                    let there = state.store.progress;
                    let mine = there.fence == held.fence && there.instance == me;
                    let committed = Owner::Ready(Held { epoch: held.epoch + 1, at: to, ..held });
                    if !guards.looks {
                        if !(mine && there.epoch == held.epoch + 1) {
                            return Err("a commit was taken for made that was not".into());
                        }
                        found.push(be(committed));
                    } else if mine && there.epoch == held.epoch + 1 {
                        found.push(be(committed));
                    } else if mine && there.epoch == held.epoch {
                        if state.under_way.len() < UNDER_WAY {
                            found.push(send(state, index, held, to));
                        }
                    } else {
                        found.push(be(Owner::Dead));
                    }
                }
            }
            found.push(be(Owner::Dead));
        }
        Ok(())
    }

    fn send(state: &State, index: usize, held: Held, to: u8) -> State {
        let mut next = state.clone();
        next.owners[index] = Owner::Sent { held, to };
        next.under_way.push(Attempt { owner: index as u8, fence: held.fence, epoch: held.epoch, at: held.at, to });
        next.under_way.sort_unstable();
        next
    }

    /// With so many instances (at most three), and a store that may go back once or does not.
    pub fn check(guards: Guards, instances: usize, goes_back: bool) -> Result<usize, String> {
        let store = Store { progress: NEW, documents: [0; KEYS] };
        let mut owners = [Owner::Dead; OWNERS];
        owners[..instances].fill(Owner::Unborn);
        let copy = (!goes_back).then(|| store.clone());
        let first = State { store, copy, went_back: !goes_back, owners, under_way: Vec::new() };
        explore(first, |state, found| next(state, found, guards))
    }
}

mod guarded {
    use super::*;

    const OWNERS: usize = 3;
    /// Writes of the dead that may still be under way.
    const UNDER_WAY: usize = 1;

    /// A document: what it says (0: it says that there is nothing, which only a tombstone does) and of which epoch.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    struct Document {
        content: u8,
        epoch: u8,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    struct Write {
        key: u8,
        /// 0 deletes.
        content: u8,
        epoch: u8,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Owner {
        Unborn,
        Reading {
            fence: u8,
        },
        /// It has the fence, and has yet to see to what a dead one has left.
        Taken(Held),
        Ready {
            held: Held,
            repaired: bool,
        },
        /// The keys that are yet to be written, as bits.
        Writing {
            held: Held,
            to: u8,
            keys: u8,
        },
        Dead,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct State {
        progress: Progress,
        documents: [Option<Document>; KEYS],
        owners: [Owner; OWNERS],
        under_way: Vec<Write>,
    }

    #[derive(Clone, Copy, Debug)]
    pub struct Guards {
        pub compared: Compared,
        /// A document of a later epoch is left alone.
        pub below: bool,
        /// Documents of epochs that never were count as of the committed one.
        pub taken_back: bool,
        /// The first commit compares every document with what it should be.
        pub repaired: bool,
        /// Progress is written when all documents are.
        pub progress_last: bool,
    }

    pub const ALL_GUARDS: Guards =
        Guards { compared: WHOLE, below: true, taken_back: true, repaired: true, progress_last: true };

    impl State {
        fn write(&mut self, write: Write, guards: Guards) -> Result<(), String> {
            let document = &mut self.documents[usize::from(write.key)];
            if guards.below && document.is_some_and(|there| there.epoch >= write.epoch) {
                return Ok(());
            }
            if document.is_some_and(|there| there.epoch > write.epoch) {
                return Err(format!("{write:?} over {document:?}"));
            }
            *document = (write.content > 0).then_some(Document { content: write.content, epoch: write.epoch });
            Ok(())
        }

        fn take_back(&mut self) {
            for document in self.documents.iter_mut().flatten() {
                document.epoch = document.epoch.min(self.progress.epoch);
            }
        }

        /// The keys that a commit from `at` to `to` writes, as bits.
        fn keys(&self, at: u8, to: u8, compare_all: bool) -> u8 {
            let changed = RECORDS[usize::from(at)..usize::from(to)].iter().fold(0, |keys, (key, _)| keys | 1 << key);
            if !compare_all {
                return changed;
            }
            let wrong = |key: &usize| self.documents[*key].map_or(0, |it| it.content) != state_after(to)[*key];
            (0..KEYS).filter(wrong).fold(0, |keys, key| keys | 1 << key)
        }

        /// Everybody is dead, nothing is under way any more, and one instance lives undisturbed.
        fn heals(&self, guards: Guards) -> Result<(), String> {
            let mut quiet = self.clone();
            if guards.taken_back {
                quiet.take_back();
            }
            let (mut at, mut first) = (quiet.progress.at, true);
            while at < ALL || (first && guards.repaired) {
                // As many as there are at once: what comes and goes between is not seen.
                let to = ALL;
                let keys = quiet.keys(at, to, first && guards.repaired);
                let epoch = quiet.progress.epoch + 1;
                for key in (0..KEYS as u8).filter(|key| keys & 1 << key != 0) {
                    let content = state_after(to)[usize::from(key)];
                    quiet.write(Write { key, content, epoch }, guards)?;
                }
                quiet.progress.epoch = epoch;
                (at, first) = (to, false);
            }
            let documents = quiet.documents.map(|document| document.map_or(0, |it| it.content));
            if documents != state_after(ALL) {
                return Err(format!("{documents:?} stay after a restart of {self:?}"));
            }
            Ok(())
        }
    }

    fn next(state: &State, found: &mut Vec<State>, guards: Guards) -> Result<(), String> {
        state.heals(guards)?;
        for index in 0..state.under_way.len() {
            let mut next = state.clone();
            let write = next.under_way.remove(index);
            found.push(next.clone());
            next.write(write, guards)?;
            found.push(next);
        }
        for (index, owner) in state.owners.iter().enumerate() {
            let be = |owner: Owner| {
                let mut next = state.clone();
                next.owners[index] = owner;
                next
            };
            let me = index as u8;
            match *owner {
                Owner::Unborn => {
                    if state.owners[..index].iter().all(|other| *other != Owner::Unborn) {
                        found.push(be(Owner::Reading { fence: state.progress.fence }));
                    }
                    continue;
                }
                Owner::Dead => continue,
                Owner::Reading { fence } if fence == state.progress.fence => {
                    let mut next = state.clone();
                    next.progress.fence += 1;
                    next.progress.instance = me;
                    let Progress { fence, epoch, at, .. } = next.progress;
                    next.owners[index] = Owner::Taken(Held { fence, epoch, at });
                    found.push(next);
                }
                Owner::Reading { .. } => found.push(be(Owner::Reading { fence: state.progress.fence })),
                Owner::Taken(held) => {
                    let mut next = be(Owner::Ready { held, repaired: !guards.repaired });
                    if guards.taken_back {
                        next.take_back();
                    }
                    found.push(next);
                }
                Owner::Ready { held, repaired } => {
                    // It looks first; what it sees may be outdated the moment after.
                    if !guards.compared.matches(held, me, state.progress) {
                        found.push(be(Owner::Dead));
                        continue;
                    }
                    let from = if repaired { held.at + 1 } else { held.at };
                    for to in from..=ALL.min(held.at + 2) {
                        let keys = state.keys(held.at, to, !repaired);
                        let mut next = be(Owner::Writing { held, to, keys });
                        if !guards.progress_last {
                            advance(&mut next, index, held, to, guards)?;
                        }
                        found.push(next);
                    }
                }
                Owner::Writing { held, to, keys: 0 } => {
                    let mut next = state.clone();
                    if guards.progress_last && !advance(&mut next, index, held, to, guards)? {
                        found.push(be(Owner::Dead));
                        continue;
                    }
                    let held = Held { epoch: held.epoch + 1, at: to, ..held };
                    next.owners[index] = Owner::Ready { held, repaired: true };
                    found.push(next);
                }
                Owner::Writing { held, to, keys } => {
                    for key in (0..KEYS as u8).filter(|key| keys & 1 << key != 0) {
                        let content = state_after(to)[usize::from(key)];
                        let write = Write { key, content, epoch: held.epoch + 1 };
                        let mut next = be(Owner::Writing { held, to, keys: keys & !(1 << key) });
                        next.write(write, guards)?;
                        found.push(next);
                        // It dies while the write is under way.
                        if state.under_way.len() < UNDER_WAY {
                            let mut next = be(Owner::Dead);
                            next.under_way.push(write);
                            next.under_way.sort_unstable();
                            found.push(next);
                        }
                    }
                    // An answer is lost: all of it again, from the look on.
                    if !guards.compared.matches(held, me, state.progress) {
                        found.push(be(Owner::Dead));
                    }
                }
            }
            found.push(be(Owner::Dead));
        }
        Ok(())
    }

    fn advance(next: &mut State, index: usize, held: Held, to: u8, guards: Guards) -> Result<bool, String> {
        let found = next.progress;
        if !guards.compared.matches(held, index as u8, found) {
            return Ok(false);
        }
        if found.instance != index as u8 {
            return Err(format!("instance {index} moved progress on, but {} has the fence", found.instance));
        }
        if !guards.progress_last
            && next.documents.map(|document| document.map_or(0, |it| it.content)) != state_after(to)
        {
            return Err("progress counts records whose documents are not there".into());
        }
        next.progress.epoch = held.epoch + 1;
        next.progress.at = to;
        Ok(true)
    }

    pub fn check(guards: Guards) -> Result<usize, String> {
        let first =
            State { progress: NEW, documents: [None; KEYS], owners: [Owner::Unborn; OWNERS], under_way: Vec::new() };
        explore(first, |state, found| next(state, found, guards))
    }
}

#[test]
fn transactions_are_exact_in_every_interleaving() {
    // Three instances and a store that goes back are too many states for a test of seconds.
    for (instances, goes_back) in [(3, false), (2, true)] {
        let states = transactions::check(transactions::ALL_GUARDS, instances, goes_back).unwrap();
        eprintln!("{instances} instances: {states} states");
        assert!(states > 10_000, "{states} states are too few to say anything");
    }
}

#[test]
fn a_transaction_without_a_guard_is_found_out() {
    let all = transactions::ALL_GUARDS;
    for (what, guards) in [
        (
            "fence and instance",
            transactions::Guards { compared: Compared { fence: false, instance: false, ..WHOLE }, ..all },
        ),
        ("instance", transactions::Guards { compared: Compared { instance: false, ..WHOLE }, ..all }),
        ("epoch", transactions::Guards { compared: Compared { epoch: false, ..WHOLE }, ..all }),
        ("look at progress", transactions::Guards { looks: false, ..all }),
        ("transaction", transactions::Guards { whole: false, ..all }),
    ] {
        let violation = transactions::check(guards, 2, true).expect_err(what);
        eprintln!("without {what}: {violation}");
    }
}

#[test]
fn guarded_writes_are_exact_after_a_restart_in_every_interleaving() {
    let states = guarded::check(guarded::ALL_GUARDS).unwrap();
    eprintln!("{states} states");
    assert!(states > 10_000, "{states} states are too few to say anything");
}

#[test]
fn guarded_writes_without_a_guard_are_found_out() {
    let all = guarded::ALL_GUARDS;
    for (what, guards) in [
        (
            "fence and instance",
            guarded::Guards { compared: Compared { fence: false, instance: false, ..WHOLE }, ..all },
        ),
        ("epoch below", guarded::Guards { below: false, ..all }),
        ("taking back", guarded::Guards { taken_back: false, ..all }),
        ("repair at the start", guarded::Guards { repaired: false, ..all }),
        ("progress last", guarded::Guards { progress_last: false, ..all }),
    ] {
        let violation = guarded::check(guards).expect_err(what);
        eprintln!("without {what}: {violation}");
    }
}
