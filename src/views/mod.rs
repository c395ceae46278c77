//! Which views a run maintains: a selection of the built-in ones, and the added ones.

pub mod file;

use std::sync::Arc;

use tillflow_dataflows::added::{AddedView, Content, Layout};
use tillflow_dataflows::group_by::GroupBy;
use tillflow_dataflows::outputs::{Selection, View};
use tillflow_dataflows::views;

use self::file::ViewFileError;
use crate::configuration::Configuration;

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
    pub fn beside(
        mut added: Vec<AddedView>,
        selection: Selection,
        file: Option<String>,
    ) -> Result<ViewSet, ViewFileError> {
        let taken: Vec<String> = added.iter().map(|view| view.layout.name.clone()).collect();
        for view in file.as_deref().map(file::parse).transpose()?.unwrap_or_default() {
            // `alert` and `metric` are types of documents as well.
            let is_built_in = Selection::names().chain(["alert", "metric"]).any(|name| name == view.name);
            if is_built_in || taken.contains(&view.name) {
                let text = file.as_deref().unwrap_or_default();
                let quoted = format!("{:?}", view.name);
                let line = text.lines().position(|line| line.contains(&quoted)).map_or(1, |place| place + 1);
                return Err(ViewFileError {
                    line,
                    reason: format!("there is a view {quoted} already; take another name"),
                });
            }
            added.push(view.into_view());
        }
        Ok(ViewSet { selection, added: added.into(), file })
    }

    /// What of a store's settings they are.
    pub fn configuration(&self) -> Configuration {
        let written = self.added.iter().filter(|view| matches!(view.content, Content::Written(_)));
        Configuration {
            views: self.selection.chosen().map(|names| names.map(str::to_owned).collect()),
            added: written.map(|view| view.layout.name.clone()).collect(),
            view_file: self.file.clone(),
            ..Configuration::default()
        }
    }

    /// The layout of an added view.
    pub fn layout(&self, view: View) -> Option<&Layout> {
        match view {
            View::Added(place) => self.added.get(usize::from(place)).map(|view| &view.layout),
            _ => None,
        }
    }
}

/// Whether two files mean the same, comments and order of conditions aside.
pub(crate) fn same_file(one: Option<&str>, other: Option<&str>) -> bool {
    let read = |text: Option<&str>| -> Option<Vec<GroupBy>> {
        let mut views = text.map_or(Ok(Vec::new()), file::parse).ok()?;
        views.iter_mut().for_each(|view| view.title.clear());
        Some(views)
    };
    one == other || read(one).is_some_and(|views| read(other) == Some(views))
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
        assert!(ViewSet::beside(vec![view], Selection::all(), Some(FILE.into())).is_err());
    }

    #[test]
    fn a_file_is_what_it_means() {
        assert!(same_file(Some(FILE), Some(&FILE.replace("One view", "Ours").replace("name", " title = \"U\"\nname"))));
        assert!(!same_file(Some(FILE), Some(&FILE.replace("day", "hour"))));
        assert!(!same_file(Some(FILE), None));
        assert!(same_file(None, None));
    }
}
