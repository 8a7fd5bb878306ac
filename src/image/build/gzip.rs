//! A gzip of stored blocks: the bytes follow from the format (RFC 1951 and 1952) and from nothing else.
//!
//! A compressor's output is its author's business: the next release of it, or one that uses other instructions of
//! the processor, may give other bytes, and every lock would name images that nobody can build any more. What the
//! app's layers would save is a few megabytes that never leave the machine.

/// The most that one stored block holds (RFC 1951, 3.2.4).
const BLOCK: usize = 0xffff;

/// Wraps bytes in a gzip. There is at least one byte in every tar, so there is at least one block.
pub(super) fn stored(bytes: &[u8]) -> Vec<u8> {
    // No flags, no time; operating system 255 is "unknown" (RFC 1952, 2.3.1): the header says nothing of the host.
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    gzip.reserve(bytes.len() + bytes.len() / BLOCK * 5 + 32);
    let mut blocks = bytes.chunks(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        gzip.push(u8::from(blocks.peek().is_none()));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        gzip.extend(length.to_le_bytes());
        gzip.extend((!length).to_le_bytes());
        gzip.extend(block);
    }
    let mut check = flate2::Crc::new();
    check.update(bytes);
    gzip.extend(check.sum().to_le_bytes());
    gzip.extend(check.amount().to_le_bytes());
    gzip
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_decompressor_gives_the_bytes_back() {
        for length in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 200_000] {
            let bytes: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(stored(&bytes).as_slice()).read_to_end(&mut back).unwrap();
            assert_eq!(back, bytes, "{length} bytes");
        }
    }
}
