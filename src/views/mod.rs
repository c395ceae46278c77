//! Which views a run maintains: a selection of the built-in ones, and the added ones.

pub mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tillflow_dataflows::added::{AddedView, Content, Layout};
use tillflow_dataflows::group_by::{GroupBy, Test};
use tillflow_dataflows::outputs::{Selection, View};
use tillflow_dataflows::views;

use self::file::ViewFileError;

/// Types of documents that are no view of their own.
const OTHER_TYPES: [&str; 2] = ["alert", "metric"];

/// The views of a run.
#[derive(Clone, Debug)]
pub struct ViewSet {
    /// Which of the built-in ones.
    pub selection: Selection,
    /// The added ones.
    pub added: Arc<[AddedView]>,
    /// The text of the `--view-file`, if there is one. The store keeps it, so that what reads the store knows what
    /// its documents mean.
    pub file: Option<String>,
}

impl Default for ViewSet {
    fn default() -> ViewSet {
        ViewSet { selection: Selection::all(), added: views::added().into(), file: None }
    }
}

impl ViewSet {
    /// All views that developers have added, and those of a file.
    pub fn new(selection: Selection, file: Option<String>) -> Result<ViewSet, ViewFileError> {
        ViewSet::beside(views::added(), selection, file)
    }

    /// The given views, and those of a file.
    ///
    /// # Panics
    /// When a given view is one that no store could hold, see [`Layout::check`]: it is part of the program.
    pub fn beside(
        mut added: Vec<AddedView>,
        selection: Selection,
        file: Option<String>,
    ) -> Result<ViewSet, ViewFileError> {
        let mut taken: Vec<&str> = Selection::names().chain(OTHER_TYPES).collect();
        for view in &added {
            let name = view.layout.name.as_str();
            view.layout.check().unwrap_or_else(|fault| panic!("the view {name}: {fault}"));
            assert!(!taken.contains(&name), "there are two views {name}");
            taken.push(name);
        }
        let views = file.as_deref().map(|text| file::parse(text, taken)).transpose()?.unwrap_or_default();
        added.extend(views.into_iter().map(GroupBy::into_view));
        Ok(ViewSet { selection, added: added.into(), file })
    }

    /// The names of the views that developers have added.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        let written = self.added.iter().filter(|view| matches!(view.content, Content::Written(_)));
        written.map(|view| view.layout.name.as_str())
    }

    /// The layout of an added view.
    pub fn layout(&self, view: View) -> Option<&Layout> {
        match view {
            View::Added(place) => self.added.get(usize::from(place)).map(|view| &view.layout),
            _ => None,
        }
    }
}

/// What of a file means something else than another one does, by the names of the views; nothing where both mean the
/// same. Comments, titles and the order of things aside.
pub(crate) fn file_differences(ours: Option<&str>, theirs: Option<&str>) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let read = |text: Option<&str>| text.map_or(Ok(Vec::new()), |text| file::parse(text, []));
    let (Ok(ours), Ok(theirs)) = (read(ours), read(theirs)) else { return Some(String::from("it cannot be read")) };
    let by_name = |views: Vec<GroupBy>| -> BTreeMap<String, GroupBy> {
        views.into_iter().map(|view| (view.name.clone(), in_order(view))).collect()
    };
    let (ours, theirs) = (by_name(ours), by_name(theirs));
    let mut differences = Vec::new();
    for name in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        match (ours.get(name), theirs.get(name)) {
            (Some(_), None) => differences.push(format!("the store has no view {name}")),
            (None, Some(_)) => differences.push(format!("the store has a view {name}, this run none")),
            (ours, theirs) if ours != theirs => differences.push(format!("the store has another view {name}")),
            _ => {}
        }
    }
    (!differences.is_empty()).then(|| differences.join(", "))
}

/// A group-by without title, what has no order in one order.
fn in_order(mut view: GroupBy) -> GroupBy {
    view.title.clear();
    for condition in &mut view.filter {
        if let Test::In(values) | Test::NotIn(values) = &mut condition.test {
            values.sort();
            values.dedup();
        }
    }
    // Their texts tell them apart and are all that an order needs.
    view.filter.sort_by_cached_key(|condition| format!("{condition:?}"));
    view.filter.dedup();
    view.measures.sort_by(|a, b| a.name.cmp(&b.name));
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# One view.\n[[view]]\nname = \"units\"\ntopic = \"sales\"\ngranularity = \"day\"\n\
                        measures.units = \"sum(quantity)\"\n";

    #[test]
    fn a_name_is_taken_once() {
        let views = ViewSet::new(Selection::all(), Some(FILE.into())).expect("it is right");
        assert_eq!(views.added.last().map(|view| view.layout.name.as_str()), Some("units"));
        for taken in ["sales_total", "stock", "alert", "low_stock"] {
            let error = ViewSet::new(Selection::all(), Some(FILE.replace("units\"\nt", &format!("{taken}\"\nt"))));
            let error = error.expect_err(taken);
            assert_eq!((error.line, error.reason.contains("already")), (3, true), "{error}");
        }
        let view = views.added.last().expect("there is one").clone();
        assert!(ViewSet::beside(vec![view.clone()], Selection::all(), Some(FILE.into())).is_err());
        let twice = || ViewSet::beside(vec![view.clone(), view.clone()], Selection::all(), None);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(twice)).is_err());
    }

    #[test]
    fn a_file_is_what_it_means() {
        let same = |one: &str, other: &str| file_differences(Some(one), Some(other));
        let long = "[[view]]\nname = \"a\"\ntopic = \"sales\"\ngranularity = [\"day\", \"hour\"]\n\
                    filter.store_id = [\"1\", \"2\"]\nfilter.quantity.above = 1\n\
                    [view.measures]\nn = \"count\"\nm = \"sum(quantity)\"\n";
        let both = format!("{long}{FILE}");
        for other in [
            both.replace("# One view", "# Ours").replace("topic", "title = \"T\"\ntopic"),
            format!("{FILE}{long}"),
            both.replace("[\"1\", \"2\"]", "[\"2\", \"1\", \"2\"]"),
            both.replace("[\"day\", \"hour\"]", "[\"hour\", \"day\"]"),
            both.replace("filter.quantity.above = 1\n", "").replace("filter.s", "filter.quantity.above = 1\nfilter.s"),
            both.replace("n = \"count\"\nm = \"sum(quantity)\"", "m = \"sum(quantity)\"\nn = \"count\""),
        ] {
            assert_ne!(other, both);
            assert_eq!(same(&both, &other), None, "{other}");
        }
        assert_eq!(same(FILE, &FILE.replace("day", "hour")).as_deref(), Some("the store has another view units"));
        assert_eq!(same(FILE, &both).as_deref(), Some("the store has a view a, this run none"));
        assert_eq!(file_differences(Some(FILE), None).as_deref(), Some("the store has no view units"));
        assert_eq!(file_differences(None, None), None);
        assert!(same(FILE, "[[").is_some());
    }
}
