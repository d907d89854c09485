//! sendfile(2): from a file's pages to a socket, without a copy through this process.
//!
//! What is absent: any knowledge of whether the pages are there; if not, the call waits for the
//! disk, whatever mode the socket is in; [`load`] is that wait alone. Next: the module that uses it, `net`.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

/// What one call moves at most. A peer as quick as the disk would hold the loop until the file's end
/// (law 7); nginx bounds it by as much (`sendfile_max_chunk`).
pub(crate) const MOST: usize = 2 << 20;

/// Sends up to `len` bytes of `file` from `offset` on; 0 if the file ends there, or `len` is 0. The
/// file's own position stays as it is.
#[cfg(target_os = "linux")]
pub(crate) fn sendfile(
    socket: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    len: usize,
) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    let too_far = |_| io::Error::from_raw_os_error(libc::EOVERFLOW);
    let mut offset = libc::off64_t::try_from(offset).map_err(too_far)?;
    let (socket, file, len) = (socket.as_raw_fd(), file.as_raw_fd(), len.min(MOST));
    // SAFETY: `offset` lives until the call returns; both descriptors are borrowed, so they are open.
    let n = unsafe { libc::sendfile64(socket, file, &raw mut offset, len) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Loads `len` bytes of `file` from `offset` on into the page cache, and waits for them. To /dev/null the
/// kernel sends the pages themselves, once they are up to date.
#[cfg(target_os = "linux")]
pub(crate) fn load(file: &File, offset: u64, len: usize) -> io::Result<u64> {
    use std::os::fd::AsFd;
    let null = File::options().write(true).open("/dev/null")?;
    let mut loaded = 0;
    while loaded < len {
        match sendfile(null.as_fd(), file, offset.saturating_add(loaded as u64), len - loaded) {
            Ok(0) => break,
            Ok(n) => loaded += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(loaded as u64)
}

/// Elsewhere the bytes are read, and thrown away.
#[cfg(not(target_os = "linux"))]
pub(crate) fn load(file: &File, offset: u64, len: usize) -> io::Result<u64> {
    use std::os::unix::fs::FileExt;
    let mut buf = vec![0; len.min(64 << 10)];
    let mut loaded = 0;
    while loaded < len {
        let some = buf.len().min(len - loaded);
        match file.read_at(&mut buf[..some], offset.saturating_add(loaded as u64))? {
            0 => break,
            n => loaded += n,
        }
    }
    Ok(loaded as u64)
}

/// Elsewhere sendfile differs from system to system; a read and a send do the same.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sendfile(
    socket: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    len: usize,
) -> io::Result<usize> {
    use super::socket::{More, send};
    use std::os::unix::fs::FileExt;
    let mut buf = [0; 16 << 10];
    let len = len.min(buf.len());
    match file.read_at(&mut buf[..len], offset)? {
        0 => Ok(0),
        n => send(socket, &buf[..n], More::No),
    }
}
