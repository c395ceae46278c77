//! Writes the pages to files, to be looked at: `cargo test --release --lib preview -- --ignored`.

use std::fs;
use std::path::Path;

use super::fixture::{Bench, Shared};

const STYLE: &str = include_str!("../assets/tillflow.css");

fn write(name: &str, html: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let link_at = html.find("<link rel=\"stylesheet\"").expect("a style sheet");
    let end = link_at + html[link_at..].find('>').expect("an end") + 1;
    let inlined = format!("{}<style>{STYLE}</style>{}", &html[..link_at], &html[end..]);
    fs::write(folder.join(name), inlined).expect("a writable target folder");
}

#[test]
#[ignore = "writes files to be looked at"]
fn preview() {
    let bench = Bench::shop();
    for (path, name) in [
        ("/", "overview"),
        ("/sales", "sales"),
        ("/activity", "activity"),
        ("/inventory", "inventory"),
        ("/alerts", "alerts"),
        ("/quality", "quality"),
        ("/history?type=sales_by_category", "history"),
        ("/pipeline", "pipeline"),
    ] {
        write(&format!("page-preview-{name}.html"), &bench.text(path));
    }
    write("page-preview-empty.html", &Bench::new(Shared::default(), false).text("/"));
    for name in ["revenue", "top-products", "stock-levels", "activity-by-type"] {
        let svg = bench.text(&format!("/charts/{name}.svg"));
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(format!("chart-preview-{name}.svg")), svg)
            .expect("a writable target folder");
    }
}
