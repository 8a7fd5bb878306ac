//! Wheels that somebody made to break out, to lie, or to fill the machine: each is refused by its name and by what is
//! wrong with it, and nothing is built.

use super::*;

/// The wheel with one member beside its own. What RECORD says of it does not matter: it is refused before.
fn with(add: impl FnOnce(&mut zip::ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new_append(Cursor::new(wheel("x = 1\n"))).unwrap();
    add(&mut zip);
    zip.finish().unwrap().into_inner()
}

fn file(path: &str) -> Vec<u8> {
    with(|zip| {
        zip.start_file(path, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"evil").unwrap();
    })
}

fn link(target: &str) -> Vec<u8> {
    with(|zip| zip.add_symlink("demo/link.py", target, zip::write::SimpleFileOptions::default()).unwrap())
}

/// The writer refuses to make one, so two names of one length become one afterwards.
fn duplicate() -> Vec<u8> {
    let mut bytes = file("demo/__inot__.py");
    while let Some(at) = bytes.windows(16).position(|window| window == b"demo/__inot__.py") {
        bytes[at..at + 16].copy_from_slice(b"demo/__init__.py");
    }
    bytes
}

fn zeros() -> Vec<u8> {
    with(|zip| {
        zip.start_file("demo/zeros", zip::write::SimpleFileOptions::default()).unwrap();
        let megabyte = vec![0; 1 << 20];
        for _ in 0..1024 {
            zip.write_all(&megabyte).unwrap();
        }
    })
}

#[test]
fn hostile_wheels_are_refused_by_name() {
    let zeros = zeros();
    assert!(zeros.len() < 4 << 20, "it is small while it is packed");
    for (hostile, expected) in [
        (
            file("../../../../etc/cron.d/evil"),
            "the member `../../../../etc/cron.d/evil` does not stay inside the wheel",
        ),
        (file("/etc/passwd"), "the member `/etc/passwd` does not stay inside the wheel"),
        (link("/etc/passwd"), "the member `demo/link.py` is a symbolic link"),
        (duplicate(), "one name is there twice"),
        (wheel("x = 2\n"), "`demo/__init__.py` differs from RECORD"),
        (file("demo/unrecorded.py"), "`demo/unrecorded.py`"),
        (zeros, "it unpacks to more than 268435456 bytes (at `demo/zeros`)"),
    ] {
        let lab = Lab::new("");
        lab.lock_parts(&hostile);
        let lock = fs_err::read_to_string(lab.lock_path()).unwrap();
        let (exit, error) = lab.run(&["build"]);
        assert_eq!((exit, error["code"].as_str()), (21, Some("build::wheel")), "{expected}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("wheel demo-1-py3-none-any.whl: ") && message.contains(expected), "{message}");
        assert_eq!(fs_err::read_to_string(lab.lock_path()).unwrap(), lock);
    }
}
