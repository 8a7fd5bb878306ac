//! Reading and writing at the same time: blocks travel from the thread that reads (and hashes) to one that writes.

use std::{
    io,
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
};

/// Length of a block in bytes: long enough that handing it over costs nothing beside hashing it (0.7 ms at 1.5 GB/s).
pub const BLOCK: usize = 1024 * 1024;
/// So many blocks exist; no more are ever in memory.
const BLOCKS: usize = 4;

/// The reading end.
#[derive(Debug)]
pub struct Pipe {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

/// Runs `work` here and `write` on a thread of its own. `write` gets every block in the order in which it was pushed.
/// Returns when both are done. The writer's failure goes before the one that it causes in `work`.
///
/// # Errors
/// What `work` or `write` return.
pub fn piped<T, E: From<W>, W: Send>(
    work: impl FnOnce(&Pipe) -> Result<T, E>,
    mut write: impl FnMut(&[u8]) -> Result<(), W> + Send,
) -> Result<T, E> {
    let (full, to_write) = sync_channel::<Vec<u8>>(BLOCKS);
    let (give_back, empty) = channel::<Vec<u8>>();
    for _ in 0..BLOCKS {
        // The other end is in this function.
        let _ = give_back.send(Vec::new());
    }
    thread::scope(|scope| {
        let writer = scope.spawn(move || write_all(&to_write, &give_back, &mut write));
        let pipe = Pipe { full, empty };
        let result = work(&pipe);
        drop(pipe);
        match writer.join() {
            Ok(Ok(())) => result,
            Ok(Err(error)) => Err(error.into()),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn write_all<W>(
    full: &Receiver<Vec<u8>>,
    empty: &Sender<Vec<u8>>,
    write: &mut impl FnMut(&[u8]) -> Result<(), W>,
) -> Result<(), W> {
    while let Ok(block) = full.recv() {
        write(&block)?;
        // Nobody reads any more: what is on its way is still written.
        let _ = empty.send(block);
    }
    Ok(())
}

impl Pipe {
    /// Reads the next bytes, at most `limit` and at most a block, shows them to `look`, and sends them to the writer.
    /// Returns how many there were; 0 at the end.
    ///
    /// # Errors
    /// What `read` says, or that the writer has given up.
    pub fn pass(
        &self,
        limit: u64,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
        look: impl FnOnce(&[u8]),
    ) -> io::Result<usize> {
        let mut block = self.empty.recv().map_err(|_| gone())?;
        let wanted = usize::try_from(limit).unwrap_or(BLOCK).min(BLOCK);
        block.resize(wanted, 0);
        let count = read(&mut block)?;
        block.truncate(count);
        look(&block);
        self.full.send(block).map_err(|_| gone())?;
        Ok(count)
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the writer has given up")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn every_byte_arrives_in_order() {
        let sent: Vec<u8> = (0..5 * BLOCK + 7).map(|number| (number % 251) as u8).collect();
        let (mut reader, mut arrived, mut seen) = (sent.as_slice(), Vec::new(), 0);
        let count = piped::<_, io::Error, io::Error>(
            |pipe| {
                let mut count = 0;
                loop {
                    match pipe.pass(u64::MAX, |block| reader.read(block), |bytes| seen += bytes.len())? {
                        0 => return Ok(count),
                        more => count += more,
                    }
                }
            },
            |bytes| {
                arrived.extend_from_slice(bytes);
                Ok(())
            },
        );
        assert_eq!((count.unwrap(), seen), (sent.len(), sent.len()));
        assert!(arrived == sent);
    }

    #[test]
    fn the_writers_own_words_come_back_and_nobody_waits_for_ever() {
        let failed = piped::<(), io::Error, io::Error>(
            |pipe| {
                loop {
                    pipe.pass(10, |block| Ok(block.len()), |_| ())?;
                }
            },
            |_| Err(io::Error::other("no space")),
        );
        assert_eq!(failed.unwrap_err().to_string(), "no space");
    }
}
