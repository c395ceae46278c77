//! Texts that come again and again, each kept once.

use hashbrown::HashMap;
use tillflow_dataflows::records::Text;

/// A text of a [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(u32);

/// The dictionary. It grows with the number of different users, products, stores, categories, payment methods and
/// activity types, not with that of records.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_text: HashMap<Text, Name>,
    texts: Vec<Text>,
}

impl Names {
    /// The name of a text, a new one if it was not met before.
    pub(super) fn name(&mut self, text: &Text) -> Name {
        if let Some(name) = self.by_text.get(text) {
            return *name;
        }
        let name =
            Name(u32::try_from(self.texts.len()).expect("four billion different names are out of memory before"));
        self.texts.push(text.clone());
        self.by_text.insert(text.clone(), name);
        name
    }

    /// The text of a name.
    pub(super) fn text(&self, name: Name) -> &str {
        &self.texts[name.0 as usize]
    }
}
