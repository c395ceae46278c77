//! The style sheet, the script and the icon: part of the program, served under a name that changes with their
//! content.

use std::sync::Arc;

use super::message::{Body, Caching, Response};

/// A 64-bit FNV-1a hash: stable between builds, for names and validators, never for secrets.
pub const fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        index += 1;
    }
    hash
}

struct Asset {
    name: &'static str,
    extension: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const STYLE: Asset = Asset {
    name: "tillflow",
    extension: "css",
    content_type: "text/css; charset=utf-8",
    bytes: include_bytes!("assets/tillflow.css"),
};
const SCRIPT: Asset = Asset {
    name: "tillflow",
    extension: "js",
    content_type: "text/javascript; charset=utf-8",
    bytes: include_bytes!("assets/tillflow.js"),
};
const ICON: Asset = Asset {
    name: "tillflow",
    extension: "svg",
    content_type: "image/svg+xml; charset=utf-8",
    bytes: include_bytes!("assets/tillflow.svg"),
};

impl Asset {
    fn path(&self) -> String {
        format!("/assets/{}.{:016x}.{}", self.name, fingerprint(self.bytes), self.extension)
    }
}

/// Where the assets of this build are.
#[derive(Clone, Debug)]
pub struct AssetPaths {
    /// The style sheet.
    pub style: String,
    /// The script.
    pub script: String,
    /// The icon.
    pub icon: String,
}

impl AssetPaths {
    /// The paths of this build.
    pub fn new() -> AssetPaths {
        AssetPaths { style: STYLE.path(), script: SCRIPT.path(), icon: ICON.path() }
    }
}

/// The asset of that path, if this build has it.
pub fn respond(path: &str) -> Option<Response> {
    let asset = [STYLE, SCRIPT, ICON].into_iter().find(|asset| asset.path() == path)?;
    Some(Response {
        status: 200,
        content_type: asset.content_type,
        etag: Some(format!("\"{:016x}\"", fingerprint(asset.bytes))),
        epoch: None,
        caching: Caching::Immutable,
        download: None,
        body: Body::Bytes(Arc::from(asset.bytes)),
    })
}
