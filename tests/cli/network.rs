//! What a person says about the network, and what it is answered when it makes no sense.

use crate::home::{Home, Ran};

fn fetch(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = home.command(&[&["fetch"], arguments].concat());
    home.take(&command.envs(variables.iter().copied()).output().unwrap())
}

#[test]
fn a_file_of_certificates_that_is_not_there_is_named() {
    let ran = fetch(&Home::with_small_lab(), &["--ca-file", "school.pem"], &[]);
    assert_eq!(ran.exit, 2);
    insta::assert_snapshot!(ran.stderr, @r"
    error: the certificates of `--ca-file` cannot be read
      because: failed to open file `[HOME]/lab/school.pem`: No such file or directory (os error 2)
      next: name the file with the school's root certificate, in PEM form
      more: ztlab explain usage::ca_file
    ");
}

#[test]
fn certificates_of_the_configuration_are_read_beside_it() {
    let home = Home::with_small_lab();
    home.write("config/ztlab/config.toml", "ca_files = [\"school.pem\"]\n");
    home.write("config/ztlab/school.pem", "no certificate");
    let ran = fetch(&home, &[], &[]);
    assert_eq!(ran.exit, 2);
    let first = ran.stderr.lines().next().unwrap();
    assert_eq!(first, "error: [HOME]/config/ztlab/school.pem holds no certificate in PEM form");
}

#[test]
fn a_proxy_that_is_none_is_named_by_its_variable() {
    let ran = fetch(&Home::with_small_lab(), &[], &[("HTTPS_PROXY", "socks5://user:secret@proxy.example")]);
    assert_eq!(ran.exit, 2);
    insta::assert_snapshot!(ran.stderr, @r"
    error: HTTPS_PROXY is no address of an HTTP proxy
      next: it should look like `http://proxy.school.example:3128`, or be unset
      more: ztlab explain usage::proxy
    ");
}

#[test]
fn a_source_that_is_none_is_a_usage_error() {
    let ran = fetch(&Home::with_small_lab(), &["--from", "nowhere"], &[]);
    assert_eq!(ran.exit, 2);
    assert!(ran.stderr.starts_with("error: `nowhere` is no source: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("more: ztlab explain usage::from"), "{}", ran.stderr);
}

#[test]
fn an_estimate_without_a_network_needs_a_rate() {
    let home = Home::with_small_lab();
    assert_eq!(fetch(&home, &["--estimate", "--offline"], &[]).stdout, "to download: 1 blob, 12 B\n");
    let ran = fetch(&home, &["--estimate", "--offline", "--max-rate", "6"], &[]);
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "to download: 1 blob, 12 B\ntime: 2 s at 6 B/s, as given\n");
    assert_eq!(fetch(&home, &["--max-rate", "fast"], &[]).exit, 2);
}
