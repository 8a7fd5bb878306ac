//! From a file to a socket: by the kernel where it can (sendfile), else through a small buffer.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use tokio::{io::Interest, net::TcpStream};

/// Most bytes of one write: enough that system calls do not show, little enough that nobody waits long behind it.
pub(super) const PIECE: u64 = 1024 * 1024;
/// Bytes on the way where the kernel does not copy by itself.
const BUFFER: usize = 64 * 1024;

/// Sends up to `most` bytes of the file from `offset` (no more than [`PIECE`]), and returns how many went. Waits until the socket takes some.
/// Reading from a slow disk blocks this thread, for no more than one piece.
///
/// # Errors
/// The socket's, or the file's.
pub(super) async fn send(stream: &TcpStream, file: &File, offset: u64, most: u64) -> io::Result<usize> {
    let count = usize::try_from(most.min(PIECE)).unwrap_or(BUFFER);
    stream.async_io(Interest::WRITABLE, || send_now(stream, file, offset, count)).await
}

#[cfg(target_os = "linux")]
fn send_now(stream: &TcpStream, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    use std::sync::atomic::{AtomicBool, Ordering};
    /// Some file systems do not give their pages away.
    static COPIES: AtomicBool = AtomicBool::new(false);
    if !COPIES.load(Ordering::Relaxed) {
        let mut at = offset;
        match rustix::fs::sendfile(stream, file, Some(&mut at), count) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
                COPIES.store(true, Ordering::Relaxed);
            }
            other => return Ok(other?),
        }
    }
    copy_now(stream, file, offset, count)
}

/// A Mac's sendfile has no safe form in Rust.
#[cfg(not(target_os = "linux"))]
fn send_now(stream: &TcpStream, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    copy_now(stream, file, offset, count)
}

fn copy_now(stream: &TcpStream, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    let mut buffer = [0; BUFFER];
    let count = count.min(BUFFER);
    let read = file.read_at(&mut buffer[..count], offset)?;
    send_bytes_now(stream, &buffer[..read], false)
}

/// Sends bytes; `more` follow at once, so a packet need not leave for these alone.
pub(super) fn send_bytes_now(stream: &TcpStream, bytes: &[u8], more: bool) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    let flags = if more { rustix::net::SendFlags::MORE } else { rustix::net::SendFlags::empty() }
        | rustix::net::SendFlags::NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    let flags = {
        let _ = more;
        rustix::net::SendFlags::empty()
    };
    Ok(rustix::net::send(stream, bytes, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    #[tokio::test]
    async fn the_kernel_and_the_buffer_send_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        fs_err::write(folder.path().join("file"), &bytes).unwrap();
        let file = fs_err::File::open(folder.path().join("file")).unwrap().into_parts().0;
        for by_kernel in [true, false] {
            let (server, mut client) = pair().await;
            let reading = tokio::spawn(async move {
                let mut got = Vec::new();
                client.read_to_end(&mut got).await.unwrap();
                got
            });
            let mut at = 7;
            while at < bytes.len() as u64 {
                let left = bytes.len() as u64 - at;
                let sent = match by_kernel {
                    true => send(&server, &file, at, left).await.unwrap(),
                    false => server
                        .async_io(Interest::WRITABLE, || copy_now(&server, &file, at, usize::try_from(left).unwrap()))
                        .await
                        .unwrap(),
                };
                at += sent as u64;
            }
            assert_eq!(send(&server, &file, at, 10).await.unwrap(), 0, "there is no more");
            drop(server);
            assert_eq!(reading.await.unwrap(), bytes[7..]);
        }
    }
}
