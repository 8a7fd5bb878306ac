//! Several processes at one store, and a disk that is too small.

use std::{collections::BTreeMap, process::Command};

use crate::bench::{Bench, assert_nothing_wrong};

#[test]
fn r5_four_processes_fetch_into_one_store_and_each_byte_comes_once() {
    let bench = Bench::with_files(&[3 << 20, 2 << 20, 2 << 20, 1 << 20, 400_000, 90_000, 5_000, 200]);
    bench.origin.pause(std::time::Duration::from_millis(1));
    let store = bench.path("store");
    let children: Vec<_> = (0..4).map(|_| bench.command(&store, &["fetch", "--locked"]).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut sent: Vec<u64> = bench.origin.sent().into_values().collect();
    let mut sizes: Vec<u64> = bench.blobs().iter().map(|blob| blob.size).collect();
    sent.sort_unstable();
    sizes.sort_unstable();
    assert_eq!(sent, sizes, "each byte is sent once");
    assert_nothing_wrong(&store);
    let verified = bench.command(&store, &["store", "verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn f5_a_warm_fetch_asks_nobody() {
    let bench = Bench::with_images();
    let store = bench.path("store");
    assert!(bench.command(&store, &["fetch"]).output().unwrap().status.success());
    bench.origin.forget();
    let warm = bench.command(&store, &["fetch", "--locked"]).output().unwrap();
    let text = String::from_utf8_lossy(&warm.stdout).into_owned();
    assert!(warm.status.success() && text.contains("fetched 0 blobs (0 B) with 0 requests"), "{text}");
    assert_eq!(bench.origin.requests(), 0);
}

/// Needs a mount of its own, so root (or user namespaces) on Linux.
#[test]
fn r5_a_full_disk_is_a_clear_error_and_the_next_run_goes_on() {
    let mounts = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !mounts.is_ok_and(|output| output.status.success()) {
        println!("skipped: this machine lets nobody mount a small disk (unshare -m mount -t tmpfs)");
        return;
    }
    let bench = Bench::with_files(&[5 << 20, 4 << 20, 3 << 20, 10_000, 50]);
    let total: u64 = bench.blobs().iter().map(|blob| blob.size).sum();
    let (disk, results) = (bench.path("disk"), bench.path("results"));
    fs_err::create_dir_all(&disk).unwrap();
    fs_err::create_dir_all(&results).unwrap();
    // 20 MB, of which 13 are taken: less than the lab's 12.6 MB remain.
    let script = r#"set -u
        mount -t tmpfs -o size=20m none "$DISK"
        head -c 13m /dev/zero >"$DISK/somebody's film"
        "$@" >"$RESULTS/first.out" 2>"$RESULTS/first.err"; echo $? >"$RESULTS/first.exit"
        cp -r "$DISK/store" "$RESULTS/first-store"
        rm "$DISK/somebody's film"
        "$@" >"$RESULTS/second.out" 2>"$RESULTS/second.err"; echo $? >"$RESULTS/second.exit"
        cp -r "$DISK/store" "$RESULTS/second-store""#;
    let fetch = bench.command(&disk.join("store"), &["fetch", "--locked"]);
    let mut inside = Command::new("unshare");
    inside.args(["-m", "bash", "-c", script, "bash"]).arg(fetch.get_program()).args(fetch.get_args());
    inside.env("DISK", &disk).env("RESULTS", &results).env("HOME", bench.path("."));
    assert!(inside.status().unwrap().success());
    let result = |name: &str| fs_err::read_to_string(results.join(name)).unwrap();
    let exits: BTreeMap<_, _> = ["first", "second"].map(|run| (run, result(&format!("{run}.exit")))).into();
    assert_eq!((exits["first"].trim(), exits["second"].trim()), ("20", "0"), "{}", result("second.err"));
    let said = result("first.err");
    assert!(said.contains("is full") && said.contains("of this lab are still to come"), "{said}");
    assert!(said.contains("next: make space") && said.contains("ztlab fetch"), "{said}");
    assert_nothing_wrong(&results.join("first-store"));
    assert_nothing_wrong(&results.join("second-store"));
    assert_eq!(crate::bench::stored(&results.join("second-store")).len(), bench.blobs().len());
    // Both runs together: what was on the disk when it was full is not asked for again, but for what was under way.
    let lost = bench.origin.sent_bytes() - total;
    assert!(lost <= 8 * (2 << 20), "{lost} bytes were asked for twice");
}
