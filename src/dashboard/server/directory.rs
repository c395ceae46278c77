//! The folder of the inner server's socket: for this user alone, gone with the process.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

const PREFIX: &str = "tillflow-http-";
/// Left-overs of killed processes that one start looks at.
const SWEEP_LIMIT: usize = 64;

/// A folder that only its owner may enter; removed with all it holds when dropped.
#[derive(Debug)]
pub(super) struct SocketDirectory {
    path: PathBuf,
}

impl SocketDirectory {
    /// Makes one in the first place that lets us: the user's runtime folder or a temporary one.
    pub(super) fn create() -> io::Result<SocketDirectory> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let mut failure = io::Error::from(ErrorKind::NotFound);
        for base in runtime.into_iter().chain([std::env::temp_dir(), PathBuf::from("/tmp")]) {
            match SocketDirectory::create_in(&base) {
                Ok(directory) => return Ok(directory),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn create_in(base: &Path) -> io::Result<SocketDirectory> {
        if !base.is_absolute() {
            return Err(ErrorKind::InvalidInput.into());
        }
        sweep(base);
        for _ in 0..16 {
            let path = base.join(format!("{PREFIX}{}-{:08x}", std::process::id(), rand::random::<u32>()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let directory = SocketDirectory { path };
                    // A name too long for a socket shows here, not at the first request.
                    drop(UnixListener::bind(directory.socket(0))?);
                    fs::remove_file(directory.socket(0))?;
                    return Ok(directory);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Where the socket of the `number`th inner server belongs.
    pub(super) fn socket(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number}.sock"))
    }
}

impl Drop for SocketDirectory {
    fn drop(&mut self) {
        // Nothing to be done about a failure: the next start sweeps it.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what killed processes left. Their sockets are not tried: to be connected to can be the end of a tiny_http
/// that has run out of descriptors. Where there is no `/proc`, or where processes of several namespaces share the
/// base, a folder may stay too long or go too early; who misses its folder makes a new one.
fn sweep(base: &Path) {
    if !Path::new("/proc/self").exists() {
        return;
    }
    let Ok(entries) = fs::read_dir(base) else { return };
    let abandoned = entries.flatten().map(|entry| entry.path()).filter(|path| owner(path).is_some_and(has_ended));
    for folder in abandoned.take(SWEEP_LIMIT) {
        // Another user's folder cannot be removed, and need not be.
        let _ = fs::remove_dir_all(folder);
    }
}

/// The process a folder was made by, if it is one of ours.
fn owner(folder: &Path) -> Option<u32> {
    let (process, _) = folder.file_name()?.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
    process.parse().ok()
}

fn has_ended(process: u32) -> bool {
    !Path::new("/proc").join(process.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn is_private_and_goes_away() {
        let base = tempfile::tempdir().unwrap();
        let directory = SocketDirectory::create_in(base.path()).unwrap();
        let path = directory.path.clone();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let _listener = UnixListener::bind(directory.socket(1)).unwrap();
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn a_start_sweeps_what_a_killed_process_left_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let folder = |name: String| {
            let path = base.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("1.sock"), "").unwrap();
            path
        };
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let ended = child.id();
        child.wait().unwrap();
        let abandoned = folder(format!("{PREFIX}{ended}-0123abcd"));
        let alive = folder(format!("{PREFIX}{}-0123abcd", std::process::id()));
        let foreign = [folder(format!("{PREFIX}notes-1")), folder(format!("other-{ended}-0123abcd"))];

        let _directory = SocketDirectory::create_in(base.path()).unwrap();
        assert!(!abandoned.exists());
        assert!(alive.exists() && foreign.iter().all(|path| path.exists()));
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_at_once() {
        let base = tempfile::tempdir().unwrap();
        let long = base.path().join("x".repeat(120));
        fs::create_dir(&long).unwrap();
        assert!(SocketDirectory::create_in(&long).is_err());
        assert_eq!(fs::read_dir(&long).unwrap().count(), 0);
    }
}
