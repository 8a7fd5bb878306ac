//! The zip file around a wheel: who made it is not trusted.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom},
};

/// The most that a wheel may unpack to, in bytes. The largest of a teaching lab has about one megabyte; what is known
/// as a zip bomb has more than this.
const UNPACKED_LIMIT: u64 = 256 << 20;
/// The most files in one wheel.
const MEMBER_LIMIT: usize = 20_000;
/// Signature and fixed length of an entry of the central directory (APPNOTE.TXT 6.3.10, 4.3.12).
const CENTRAL_HEADER: ([u8; 4], usize) = (*b"PK\x01\x02", 46);

/// A file of a wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its bytes.
    pub(super) content: Vec<u8>,
    /// Whether the archive says that somebody may execute it.
    pub(super) executable: bool,
}

/// The files of a wheel by their paths: regular ones only, each inside the wheel, none twice, all together no larger
/// than the limit.
pub(super) fn members(mut file: impl Read + Seek) -> Result<BTreeMap<String, Member>, String> {
    let broken = |cause: zip::result::ZipError| format!("not a readable zip file: {cause}");
    let start = zip::ZipArchive::new(&mut file).map_err(broken)?.central_directory_start();
    let listed = entries_from(&mut file, start).map_err(|cause| format!("not a readable zip file: {cause}"))?;
    let mut zip = zip::ZipArchive::new(file).map_err(broken)?;
    if zip.len() > MEMBER_LIMIT {
        return Err(format!("it has {} members: expected at most {MEMBER_LIMIT}", zip.len()));
    }
    // The reader keeps one entry of each name, the last. Another program may take the first.
    if listed != zip.len() {
        return Err(format!("it lists {listed} members under {} names: one name is there twice", zip.len()));
    }
    let mut members = BTreeMap::new();
    let mut total = 0;
    for number in 0..zip.len() {
        let member = zip.by_index(number).map_err(broken)?;
        let path = member.name().map_err(broken)?.into_owned();
        let inside = path.strip_suffix('/').unwrap_or(&path);
        if inside.split('/').any(|part| part.is_empty() || part == "." || part == "..")
            || inside.contains(|character: char| character == '\\' || character.is_control())
        {
            return Err(format!("the member `{}` does not stay inside the wheel", path.escape_debug()));
        }
        if member.is_symlink() {
            return Err(format!("the member `{path}` is a symbolic link"));
        }
        if member.is_dir() {
            continue;
        }
        let too_large = || format!("it unpacks to more than {UNPACKED_LIMIT} bytes (at `{path}`)");
        // What the archive says comes first and costs nothing; it may lie, so the bytes are counted as well.
        if member.size() > UNPACKED_LIMIT - total {
            return Err(too_large());
        }
        let executable = member.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        let mut content = Vec::new();
        let mut limited = member.take(UNPACKED_LIMIT - total + 1);
        limited
            .read_to_end(&mut content)
            .map_err(|cause| format!("the member `{path}` cannot be unpacked: {cause}"))?;
        total += content.len() as u64;
        if total > UNPACKED_LIMIT {
            return Err(too_large());
        }
        members.insert(path, Member { content, executable });
    }
    Ok(members)
}

/// How many entries the central directory has, duplicates included.
fn entries_from(file: &mut (impl Read + Seek), start: u64) -> io::Result<usize> {
    let (signature, length) = CENTRAL_HEADER;
    file.seek(SeekFrom::Start(start))?;
    let mut reader = io::BufReader::new(file);
    let mut count = 0;
    let mut header = vec![0; length];
    loop {
        // At least the record at the directory's end follows, which has another signature.
        reader.read_exact(&mut header[..signature.len()])?;
        if header[..signature.len()] != signature {
            return Ok(count);
        }
        reader.read_exact(&mut header[signature.len()..])?;
        // Lengths of name, extra field and comment follow one another.
        let field = |at: usize| i64::from(u16::from_le_bytes([header[at], header[at + 1]]));
        reader.seek_relative(field(28) + field(30) + field(32))?;
        count += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use zip::write::SimpleFileOptions;

    use super::*;

    fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, content) in members {
            zip.start_file(*path, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn refusal(bytes: Vec<u8>) -> String {
        members(Cursor::new(bytes)).unwrap_err()
    }

    #[test]
    fn members_that_leave_the_wheel_are_refused() {
        for path in ["../evil.py", "/etc/passwd", "a/../../evil.py", "a//b", "a\\..\\b", "./a", "a\nb"] {
            let refusal = refusal(zip_of(&[(path, b"")]));
            assert!(refusal.contains("does not stay inside the wheel"), "{path}: {refusal}");
        }
    }

    #[test]
    fn a_symbolic_link_is_refused_wherever_it_leads() {
        for target in ["/etc/passwd", "neighbour.py"] {
            let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
            zip.add_symlink("demo/link.py", target, SimpleFileOptions::default()).unwrap();
            let refusal = refusal(zip.finish().unwrap().into_inner());
            assert_eq!(refusal, "the member `demo/link.py` is a symbolic link");
        }
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        // The writer refuses to make one, so two names of one length become one afterwards.
        let mut bytes = zip_of(&[("demo/a.py", b"good"), ("demo/b.py", b"evil")]);
        while let Some(at) = bytes.windows(9).position(|window| window == b"demo/b.py") {
            bytes[at..at + 9].copy_from_slice(b"demo/a.py");
        }
        assert!(refusal(bytes).contains("2 members under 1 names"));
    }

    #[test]
    fn a_gigabyte_of_zeros_is_refused_before_it_is_unpacked() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("demo/zeros", SimpleFileOptions::default()).unwrap();
        let megabyte = vec![0; 1 << 20];
        for _ in 0..1024 {
            zip.write_all(&megabyte).unwrap();
        }
        let mut bytes = zip.finish().unwrap().into_inner();
        assert!(bytes.len() < 4 << 20, "it is small while it is packed");
        assert!(refusal(bytes.clone()).contains("unpacks to more than 268435456 bytes (at `demo/zeros`)"));

        // The same with a header that promises 7 bytes.
        let promised = (1_u32 << 30).to_le_bytes();
        while let Some(at) = bytes.windows(4).position(|window| window == promised) {
            bytes[at..at + 4].copy_from_slice(&7_u32.to_le_bytes());
        }
        let refusal = refusal(bytes);
        assert!(refusal.contains("`demo/zeros`"), "{refusal}");
    }

    #[test]
    fn execute_bits_are_kept_and_folders_are_no_files() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.add_directory("demo/", SimpleFileOptions::default()).unwrap();
        zip.start_file("demo/tool", SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
        zip.start_file("demo/plain", SimpleFileOptions::default().unix_permissions(0o644)).unwrap();
        let members = members(Cursor::new(zip.finish().unwrap().into_inner())).unwrap();
        let modes: Vec<_> = members.iter().map(|(path, member)| (path.as_str(), member.executable)).collect();
        assert_eq!(modes, [("demo/plain", false), ("demo/tool", true)]);
    }
}
