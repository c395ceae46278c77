//! Tables as pages show them.

/// The most rows that a table on a page has.
pub const ROWS_MAX: usize = 500;

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// Whether it holds numbers, which stand to the right.
    pub numeric: bool,
}

/// A cell.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// What is shown.
    pub text: String,
    /// More about it, as a tooltip; empty for none.
    pub title: String,
    /// A class of the style sheet; empty for none.
    pub class: &'static str,
}

impl Cell {
    /// A cell of text alone.
    pub fn new(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), ..Cell::default() }
    }

    /// With a tooltip.
    pub fn titled(text: impl Into<String>, title: impl Into<String>) -> Cell {
        Cell { text: text.into(), title: title.into(), class: "" }
    }

    /// With a class.
    pub fn classed(text: impl Into<String>, class: &'static str) -> Cell {
        Cell { text: text.into(), title: String::new(), class }
    }
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What it lists, for those who cannot see where it stands.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, as long as the columns.
    pub rows: Vec<Vec<Cell>>,
    /// What is left out, if so.
    pub note: String,
}

impl Table {
    /// A table whose column names begin with `#` where they hold numbers.
    pub fn new(caption: impl Into<String>, columns: &[&str]) -> Table {
        let column = |name: &&str| match name.strip_prefix('#') {
            Some(name) => Column { name: name.to_owned(), numeric: true },
            None => Column { name: (*name).to_owned(), numeric: false },
        };
        Table { caption: caption.into(), columns: columns.iter().map(column).collect(), ..Table::default() }
    }

    /// Cuts the table to [`ROWS_MAX`] rows and says so.
    pub fn cut(mut self) -> Table {
        if self.rows.len() > ROWS_MAX {
            self.note = format!("{ROWS_MAX} of {} rows shown; CSV and JSON have all.", self.rows.len());
            self.rows.truncate(ROWS_MAX);
        }
        self
    }
}
