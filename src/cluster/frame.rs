//! Frames with a bound on their length, and reading with a deadline for all of it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// Fills `buffer`, or fails once `deadline` has passed, however slowly bytes come.
pub(super) fn read_exact(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => buffer = &mut buffer[read..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a frame of at most `most` bytes. A length that is beyond it is refused before anything is made ready for it.
pub(super) fn read(stream: &mut TcpStream, most: usize, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    read_exact(stream, &mut length, deadline)?;
    let length = u64::from_be_bytes(length);
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= most) else {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("a message of {length} bytes")));
    };
    let mut frame = vec![0; length];
    read_exact(stream, &mut frame, deadline)?;
    Ok(frame)
}

/// Writes a frame in one piece.
pub(super) fn write(stream: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(8 + frame.len());
    bytes.extend((frame.len() as u64).to_be_bytes());
    bytes.extend(frame);
    stream.write_all(&bytes)
}
