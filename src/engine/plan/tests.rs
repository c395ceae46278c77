use super::*;
use crate::store::Fingerprint;

const PLACE: (Topic, i32) = (Topic::Sales, 0);

fn info(low: i64, high: i64) -> PartitionInfo {
    PartitionInfo { topic: Topic::Sales, partition: 0, low, high: Some(high) }
}

fn progress(epoch: u64, next: i64) -> Progress {
    Progress {
        epoch,
        as_of: None,
        offsets: Offsets::from([(PLACE, next)]),
        committed_at: None,
        instance: String::new(),
        fence: 1,
    }
}

fn configuration(source: &str) -> Configuration {
    Configuration { source: source.into(), timezone: "UTC".into(), ..Configuration::default() }
}

fn origin(start: i64) -> Origin {
    Origin {
        offsets: Offsets::from([(PLACE, start)]),
        configuration: configuration("kafka").text(),
        lineage: "known".into(),
        accepted: Vec::new(),
        late_before: BTreeMap::new(),
        expiring_before: None,
    }
}

/// A plan over partitions for a store that counts [`PLACE`] from `origin` to `next`.
struct Case {
    partitions: Vec<PartitionInfo>,
    others: BTreeSet<(Topic, i32)>,
    next: i64,
    origin: Origin,
    configuration: Configuration,
    flags: Vec<Acceptance>,
}

impl Case {
    fn new(partitions: &[PartitionInfo], begun: i64, next: i64) -> Case {
        let configuration = configuration("kafka");
        let (partitions, others) = (partitions.to_vec(), BTreeSet::new());
        Case { partitions, others, next, origin: origin(begun), configuration, flags: Vec::new() }
    }

    fn with(self, flags: &[&str]) -> Case {
        let flags = flags.iter().map(|flag| Acceptance::parse(flag).expect("a flag")).collect();
        Case { flags, ..self }
    }

    fn plan(&self) -> Result<Plan, EngineError> {
        let progress = progress(3, self.next);
        let fingerprints = Fingerprints::from([(PLACE, Fingerprint { offset: self.next - 1, crc: 1 })]);
        let left = Left { progress: &progress, origin: Some(&self.origin), fingerprints: &fingerprints };
        plan(left, None, circumstances(&self.partitions, &self.others, &self.configuration, &self.flags))
    }

    #[track_caller]
    fn refused(&self, words: &[&str]) {
        let error = self.plan().unwrap_err();
        let EngineError::Refused(text) = &error else { panic!("{error:?}") };
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }

    #[track_caller]
    fn unfit(&self, words: &[&str]) {
        let error = self.plan().unwrap_err();
        let EngineError::Settings(text) = &error else { panic!("{error:?}") };
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

fn circumstances<'a>(
    partitions: &'a [PartitionInfo],
    others: &'a BTreeSet<(Topic, i32)>,
    configuration: &'a Configuration,
    accepted: &'a [Acceptance],
) -> Circumstances<'a> {
    Circumstances { partitions, others, configuration, accepted, instance: "me", lineage: "new", now: 77 }
}

#[test]
fn a_first_run_begins_at_what_is_there() {
    let empty = Progress { offsets: Offsets::new(), ..progress(0, 0) };
    let (none, configuration) = (BTreeSet::new(), configuration("kafka"));
    let left = Left { progress: &empty, origin: None, fingerprints: &Fingerprints::new() };
    let first = plan(left, None, circumstances(&[info(7, 9)], &none, &configuration, &[])).unwrap();
    assert_eq!(first.partitions[0].assignment.start, 7);
    assert_eq!(first.committed[&PLACE], 7);
    assert!(!first.rebuild && first.origin_is_news);
    assert_eq!((first.origin.lineage.as_str(), first.origin.offsets[&PLACE]), ("new", 7));

    let flag = [Acceptance::Loss { topic: Topic::Sales, partition: 0, from: 0, to: 6 }];
    let error = plan(left, None, circumstances(&[info(7, 9)], &none, &configuration, &flag)).unwrap_err();
    assert!(matches!(&error, EngineError::Settings(text) if text.contains("--accept-loss sales/0:0-6")), "{error}");
}

#[test]
fn a_later_run_reads_again_from_where_the_first_began() {
    let later = Case::new(&[info(7, 99)], 7, 50).plan().unwrap();
    assert_eq!((later.partitions[0].assignment.start, later.committed[&PLACE]), (7, 50));
    assert!(later.rebuild && !later.origin_is_news);
    assert_eq!(later.fingerprints[&PLACE].offset, 49);
}

#[test]
fn an_older_store_gets_a_lineage() {
    let older = Case { origin: Origin { lineage: String::new(), ..origin(7) }, ..Case::new(&[info(7, 99)], 7, 50) };
    let plan = older.plan().unwrap();
    assert!(plan.origin_is_news && plan.origin.lineage == "new" && plan.accepted.is_empty());
}

#[test]
fn a_new_partition_is_begun_at_its_first_record() {
    let second = PartitionInfo { partition: 1, ..info(3, 9) };
    let plan = Case::new(&[info(7, 99), second], 7, 50).plan().unwrap();
    assert_eq!((plan.partitions[1].assignment.start, plan.committed[&(Topic::Sales, 1)]), (3, 3));
    assert!(plan.origin_is_news && plan.origin.offsets[&(Topic::Sales, 1)] == 3);
}

#[test]
fn what_would_lose_or_falsify_is_refused() {
    Case::new(&[info(8, 99)], 7, 50).refused(&["offsets 7 to 7 are no longer there", "retention.ms"]);
    Case::new(&[info(60, 99)], 7, 50).refused(&["offsets 7 to 59 are no longer there"]);
    Case::new(&[info(7, 49)], 7, 50).refused(&["truncated", "sales partition 0", "offset 50", "empty store"]);
    Case::new(&[], 7, 50).refused(&["sales partition 0 is gone", "offsets 7 to 49", "empty store"]);
    let anew = Case { others: BTreeSet::from([PLACE]), ..Case::new(&[info(7, 99)], 7, 50) };
    anew.refused(&["sales partition 0", "created anew", "below offset 50", "empty store"]);
    let elsewhere = Case { configuration: configuration("other"), ..Case::new(&[info(7, 99)], 7, 50) };
    elsewhere.refused(&["--source: the store has kafka, this run other"]);
    let views = Configuration { views: Some(Vec::new()), ..configuration("kafka") };
    Case { configuration: views, ..Case::new(&[info(7, 99)], 7, 50) }.refused(&["--views: the store has all"]);
}

#[test]
fn what_the_numbers_are_made_of_cannot_be_accepted() {
    for flag in ["--accept-loss sales/0:7-7", "--accept-loss sales/0:50-59", "--accept-gone sales/0:50"] {
        Case::new(&[info(8, 99)], 7, 50).with(&[flag]).refused(&["no longer there"]);
        Case::new(&[info(60, 99)], 7, 50).with(&[flag]).refused(&["no longer there"]);
        Case::new(&[], 7, 50).with(&[flag]).refused(&["is gone"]);
    }
}

#[test]
fn records_that_were_never_counted_are_given_up_with_their_exact_range() {
    let lost = || Case::new(&[info(12, 99)], 7, 7);
    lost().refused(&["sales partition 0: offsets 7 to 11", "--accept-loss sales/0:7-11"]);
    let exactly = "what accepts exactly this is --accept-loss sales/0:7-11";
    for other in ["--accept-loss sales/0:7-10", "--accept-loss sales/0:7-12", "--accept-gone sales/0:7"] {
        lost().with(&[other]).unfit(&[other, exactly]);
    }
    lost().with(&["--accept-loss sales/0:7-11", "--accept-loss sales/1:7-11"]).unfit(&["sales/1:7-11", "leave it out"]);

    let plan = lost().with(&["--accept-loss sales/0:7-11"]).plan().unwrap();
    assert_eq!(
        (plan.partitions[0].assignment.start, plan.committed[&PLACE], plan.origin.offsets[&PLACE]),
        (12, 12, 12)
    );
    let what = Acceptance::Loss { topic: Topic::Sales, partition: 0, from: 7, to: 11 };
    let accepted = [Accepted { what, at: 77, by: "me".into(), begun: 7 }];
    assert_eq!(plan.accepted, accepted);
    assert_eq!(plan.origin.accepted, accepted);
    assert!(plan.origin_is_news);

    // Started again with the same command line, and later without it.
    for flags in [&["--accept-loss sales/0:7-11"][..], &[]] {
        let again = Case { origin: plan.origin.clone(), ..Case::new(&[info(12, 99)], 0, 30) }.with(flags);
        let again = again.plan().unwrap();
        assert_eq!((again.partitions[0].assignment.start, again.committed[&PLACE]), (12, 30));
        assert!(again.accepted.is_empty() && !again.origin_is_news);
    }
}

#[test]
fn a_flag_that_nothing_needs_is_refused() {
    for flag in ["--accept-loss sales/0:0-6", "--accept-gone sales/0:50", "--accept-gone inventory/4:2"] {
        Case::new(&[info(7, 99)], 7, 50).with(&[flag]).unfit(&[flag, "leave it out"]);
    }
}

#[test]
fn a_partition_of_which_nothing_is_counted_may_be_gone() {
    Case::new(&[], 7, 7).refused(&["sales partition 0 is gone", "--accept-gone sales/0:7"]);
    let plan = Case::new(&[], 7, 7).with(&["--accept-gone sales/0:7"]).plan().unwrap();
    assert!(plan.partitions.is_empty() && plan.committed.is_empty() && plan.origin.offsets.is_empty());
    assert_eq!(plan.accepted.len(), 1);

    // Created anew, and shorter: offsets go back to its first record.
    let anew = || Case::new(&[info(2, 5)], 7, 7);
    anew().refused(&["created anew", "--accept-gone sales/0:7"]);
    let plan = anew().with(&["--accept-gone sales/0:7"]).plan().unwrap();
    assert_eq!((plan.partitions[0].assignment.start, plan.committed[&PLACE], plan.origin.offsets[&PLACE]), (2, 2, 2));
    assert!(plan.fingerprints.is_empty());
    // Nothing of it was counted, so the numbers can be made again.
    let again = Case { origin: plan.origin, ..Case::new(&[info(2, 9)], 0, 4) };
    assert!(again.plan().is_ok());
}

#[test]
fn every_refusal_is_told_at_once() {
    let second = PartitionInfo { partition: 1, ..info(20, 99) };
    let mut both = Case::new(&[info(12, 99), second], 7, 7);
    let mut left = progress(3, 7);
    left.offsets.insert((Topic::Sales, 1), 9);
    both.origin.offsets.insert((Topic::Sales, 1), 9);
    let (none, fingerprints) = (BTreeSet::new(), Fingerprints::new());
    let left = Left { progress: &left, origin: Some(&both.origin), fingerprints: &fingerprints };
    let error =
        plan(left, None, circumstances(&both.partitions, &none, &both.configuration, &[])).unwrap_err().to_string();
    assert!(error.ends_with("with --accept-loss sales/0:7-11 --accept-loss sales/1:9-19"), "{error}");
}

#[test]
fn numbers_whose_records_were_accepted_as_gone_cannot_be_made_again() {
    let what = Acceptance::Gone { topic: Topic::Sales, partition: 0, next: 50 };
    let accepted = vec![Accepted { what, at: 77, by: "me".into(), begun: 7 }];
    let gone = Case { origin: Origin { accepted, ..origin(0) }, ..Case::new(&[info(0, 99)], 0, 9) };
    gone.refused(&["--accept-gone sales/0:50", "empty store"]);
}
