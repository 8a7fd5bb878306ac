//! A process that is killed, at any moment, and what the next one finds.

use std::time::{Duration, Instant};

use crate::bench::{Bench, assert_nothing_wrong, noise};

const MIB: u64 = 1 << 20;
/// What a killed run may lose of what it had received, for each of its connections.
const LOST_PER_CONNECTION: u64 = 2 * MIB;
const CONNECTIONS: u64 = 2;
/// Kills in a run of all tests. The long form: `ZTLAB_KILLS=1000 cargo test --release --test store_room r1_`.
const KILLS: u64 = 30;

#[test]
fn r1_a_fetch_killed_at_any_moment_leaves_nothing_wrong_and_refetches_what_is_missing() {
    let kills = std::env::var("ZTLAB_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let bench = Bench::with_files(&[6 << 20, 5 << 20, 4 << 20, 70_000, 5_000, 3_000, 100, 1, 0]);
    bench.origin.pause(Duration::from_millis(1));
    let total: u64 = bench.blobs().iter().map(|blob| blob.size).sum();
    let arguments = ["fetch", "--locked", "--jobs", "2", "--per-host", "2", "--quiet"];
    let begun = Instant::now();
    assert!(bench.command(&bench.path("whole"), &arguments).output().unwrap().status.success());
    let whole_run = begun.elapsed();

    let seed = u64::from(std::process::id());
    println!("{kills} kills within {whole_run:?}, seed {seed}");
    let mut early = 0;
    for round in 0..kills {
        let store = bench.path("store");
        bench.origin.forget();
        let mut child = bench.command(&store, &arguments).spawn().unwrap();
        let random = u64::from_le_bytes(noise(seed * 10_000 + round + 1, 64)[56..].try_into().unwrap());
        std::thread::sleep(whole_run.mul_f64((random % 10_000) as f64 / 9_800.0));
        child.kill().unwrap();
        early += u64::from(!child.wait().unwrap().success());
        let received = bench.origin.sent_bytes();
        assert_nothing_wrong(&store);

        bench.origin.forget();
        let again = bench.command(&store, &arguments).output().unwrap();
        assert!(again.status.success(), "round {round}: {}", String::from_utf8_lossy(&again.stderr));
        let (refetched, missing) = (bench.origin.sent_bytes(), total.saturating_sub(received));
        assert!(
            refetched <= missing + LOST_PER_CONNECTION * CONNECTIONS,
            "round {round}: {refetched} bytes were asked for again, and {missing} were missing"
        );
        assert_nothing_wrong(&store);
        let verified = bench.command(&store, &["store", "verify"]).output().unwrap();
        assert!(verified.status.success(), "round {round}: {}", String::from_utf8_lossy(&verified.stderr));
        fs_err::remove_dir_all(&store).unwrap();
    }
    println!("{early} of {kills} were killed before they were done");
    assert!(early > 0, "no run was killed under way: the test tests nothing");
}
