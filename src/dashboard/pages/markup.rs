//! The pieces that pages are made of, rendered by templates. askama escapes every text in them; only what a
//! template has rendered ([`Markup`]) goes into another one as it is.

use std::fmt;

use askama::Template;

use crate::dashboard::assets::fingerprint;
use crate::dashboard::charts::backend::Paint;
use crate::dashboard::figures::Figure;
use crate::dashboard::format::Direction;
use crate::dashboard::table::Table;

/// HTML that a template, or a chart, has written.
#[derive(Clone, Debug, Default)]
pub struct Markup(String);

impl Markup {
    /// Renders a template. Writing to a string cannot go wrong, and no template calls what can.
    pub fn of(template: &impl Template) -> Markup {
        Markup(
            template
                .render()
                .unwrap_or_else(|error| format!("<!-- not rendered: {} -->", error.to_string().replace('-', " "))),
        )
    }

    /// The HTML.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl askama::FastWritable for Markup {
    fn write_into(&self, dest: &mut dyn fmt::Write, _values: &dyn askama::Values) -> askama::Result<()> {
        dest.write_str(&self.0)?;
        Ok(())
    }
}

impl askama::filters::HtmlSafe for Markup {}

/// A link.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it says.
    pub text: String,
    /// Where it leads, on this server.
    pub href: String,
}

impl Link {
    /// A link.
    pub fn new(text: impl Into<String>, href: impl Into<String>) -> Link {
        Link { text: text.into(), href: href.into() }
    }
}

/// A part of a page that is replaced as a whole when its content changes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Tells it apart on its page.
    pub id: String,
    /// Classes: how wide it is.
    pub class: &'static str,
    /// Its heading; empty for none.
    pub heading: String,
    /// What its numbers are: unit and range.
    pub hint: String,
    /// What is in it.
    pub body: Markup,
    /// Where to go from it.
    pub links: Vec<Link>,
}

impl Panel {
    /// A panel around a body.
    pub fn new(id: &str, class: &'static str, heading: impl Into<String>, body: Markup) -> Panel {
        Panel { id: id.to_owned(), class, heading: heading.into(), hint: String::new(), body, links: Vec::new() }
    }

    /// With a hint.
    pub fn hinted(mut self, hint: impl Into<String>) -> Panel {
        self.hint = hint.into();
        self
    }

    /// With links.
    pub fn linked(mut self, links: Vec<Link>) -> Panel {
        self.links = links;
        self
    }

    /// Changes when anything in the panel changes.
    pub fn hash(&self) -> String {
        let links: String = self.links.iter().map(|link| format!("{} {}\n", link.text, link.href)).collect();
        let whole = format!("{}\n{}\n{}\n{links}{}", self.class, self.heading, self.hint, self.body);
        format!("{:016x}", fingerprint(whole.as_bytes()))
    }
}

/// A number at the top of a page.
#[derive(Clone, Debug)]
pub struct Tile {
    /// What it is.
    pub label: String,
    /// The number.
    pub value: String,
    /// The exact number and what it means.
    pub title: String,
    /// How it compares; empty for nothing.
    pub note: String,
    /// The class of the note: `up`, `down`, `flat`, `alert`, `warn` or `calm`.
    pub tone: &'static str,
    /// Words after the note.
    pub after: String,
    /// Its recent past; empty for none.
    pub spark: Markup,
    /// The page that tells more; empty for none.
    pub href: &'static str,
}

impl Tile {
    /// A tile with a value alone.
    pub fn new(label: &str, value: impl Into<String>, title: impl Into<String>) -> Tile {
        Tile {
            label: label.to_owned(),
            value: value.into(),
            title: title.into(),
            note: String::new(),
            tone: "flat",
            after: String::new(),
            spark: Markup::default(),
            href: "",
        }
    }

    /// With the difference to an earlier value.
    pub fn compared(mut self, direction: Direction, note: String, after: &str) -> Tile {
        self.tone = match direction {
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::Flat => "flat",
        };
        self.note = note;
        after.clone_into(&mut self.after);
        self
    }

    /// With words below the value.
    pub fn noted(mut self, tone: &'static str, note: impl Into<String>) -> Tile {
        self.tone = tone;
        self.note = note.into();
        self
    }

    /// With its recent past.
    pub fn sparked(mut self, svg: String) -> Tile {
        self.spark = Markup(svg);
        self
    }

    /// With the page that tells more.
    pub const fn leading(mut self, href: &'static str) -> Tile {
        self.href = href;
        self
    }
}

#[derive(Template)]
#[template(path = "tiles.html")]
struct TilesTemplate<'a> {
    tiles: &'a [Tile],
}

/// A row of tiles.
pub fn tiles(tiles: &[Tile]) -> Markup {
    Markup::of(&TilesTemplate { tiles })
}

#[derive(Template)]
#[template(path = "table.html")]
struct TableTemplate<'a> {
    table: &'a Table,
}

/// A table.
pub fn table(table: &Table) -> Markup {
    Markup::of(&TableTemplate { table })
}

#[derive(Template)]
#[template(path = "figure.html")]
struct FigureTemplate<'a> {
    figure: &'a Figure,
    wide: Markup,
    narrow: Markup,
    table: Markup,
    links: &'a [Link],
}

/// How wide a figure's panel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// A third of the page.
    Third,
    /// Half of the page.
    Half,
    /// Two thirds of the page.
    TwoThirds,
    /// The whole page.
    Full,
}

impl Width {
    /// The panel's class.
    pub const fn class(self) -> &'static str {
        match self {
            Width::Third => "span-4",
            Width::Half => "span-6",
            Width::TwoThirds => "span-8",
            Width::Full => "span-12",
        }
    }

    /// Width of the view box: about what the panel measures on a screen 1440 wide.
    const fn units(self) -> i32 {
        match self {
            Width::Third => 440,
            Width::Half => 670,
            Width::TwoThirds => 900,
            Width::Full => 1_360,
        }
    }
}

/// Below this width a wide chart's text would be too small: narrow pages get another drawing.
const NARROW: i32 = 440;

/// A figure on a page, `height` high where its kind does not ask for more.
pub fn figure(figure: &Figure, width: Width, height: i32, links: &[Link]) -> Markup {
    let height = figure.height(height);
    let drawn = |suffix: &str, units| Markup(figure.svg(suffix, units, height, Paint::Classes));
    let wide = drawn("", width.units());
    let narrow = if width == Width::Third { Markup::default() } else { drawn("-n", NARROW) };
    let rows = table(&figure.table);
    Markup::of(&FigureTemplate { figure, wide, narrow, table: rows, links })
}

/// A figure in a panel of its own.
pub fn figure_panel(shown: &Figure, width: Width, height: i32, links: &[Link]) -> Panel {
    Panel::new(&shown.name, width.class(), shown.title.clone(), figure(shown, width, height, links))
        .hinted(shown.hint.clone())
}

/// The alignment class of a column.
fn alignment(numeric: &bool) -> &'static str {
    if *numeric { "number" } else { "" }
}

impl TableTemplate<'_> {
    fn class(&self, index: &usize, class: &str) -> String {
        let column = self.table.columns.get(*index).map_or("", |column| alignment(&column.numeric));
        [column, class].iter().filter(|class| !class.is_empty()).copied().collect::<Vec<_>>().join(" ")
    }
}
