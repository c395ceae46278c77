//! The folder of the inner server's socket: for this user alone, gone with the process.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const PREFIX: &str = "tillflow-http-";
const SOCKET_SUFFIX: &str = ".sock";
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
                    drop(std::os::unix::net::UnixListener::bind(directory.socket(0))?);
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
        self.path.join(format!("{number}{SOCKET_SUFFIX}"))
    }
}

impl Drop for SocketDirectory {
    fn drop(&mut self) {
        // Nothing to be done about a failure: the next start sweeps it.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what killed processes left: folders of ours with a socket at which nobody listens.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    let ours = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for folder in ours.map(|entry| entry.path()).take(SWEEP_LIMIT) {
        let Ok(files) = fs::read_dir(&folder) else { continue };
        let mut sockets = files.flatten().map(|file| file.path()).peekable();
        let abandoned = sockets.peek().is_some()
            && sockets.all(|socket| {
                socket.to_string_lossy().ends_with(SOCKET_SUFFIX)
                    && UnixStream::connect(&socket).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            });
        if abandoned {
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

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
        let folder = |name: &str| {
            let path = base.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let abandoned = folder("tillflow-http-1-dead");
        drop(UnixListener::bind(abandoned.join("0.sock")).unwrap());
        let alive = folder("tillflow-http-2-alive");
        let _listener = UnixListener::bind(alive.join("0.sock")).unwrap();
        let fresh = folder("tillflow-http-3-fresh");
        let foreign = folder("tillflow-http-4-foreign");
        fs::write(foreign.join("notes.txt"), "keep").unwrap();

        let _directory = SocketDirectory::create_in(base.path()).unwrap();
        assert!(!abandoned.exists());
        assert!(alive.exists() && fresh.exists() && foreign.exists());
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
