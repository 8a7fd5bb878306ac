//! The shipped app on bases of the official images' form: entrypoint, labels, stop signal, ports, history with empty
//! entries, several layers with links and whiteouts.
//!
//! `tests/fixtures/images/` has what the images' publisher lists of `nginx:1.30.5-alpine` and
//! `python:3.12.14-slim-bookworm` for arm64 (github.com/docker-library/repo-info; long RUN lines are cut). Their bytes
//! cannot be had offline, so the layers are made here, as many as the history names.

use flate2::{Compression, write::GzEncoder};
use ztlab::lockfile::WheelEntry;

use super::*;

const PLATFORM: Platform = Platform::LinuxArm64;

/// What a layer holds: `etc/` a folder, `a -> b` a symbolic link, `a = b` a hard link, else a file.
type Layer = &'static [&'static str];

const NGINX: [Layer; 8] = [
    &[
        "bin/",
        "bin/busybox",
        "bin/sh -> /bin/busybox",
        "etc/",
        "etc/apk/",
        "run/",
        "tmp/",
        "usr/",
        "usr/share/",
        "var/",
    ],
    &[
        "docker-entrypoint.d/",
        "etc/nginx/",
        "etc/nginx/nginx.conf",
        "etc/nginx/mime.types",
        "usr/share/nginx/",
        "usr/share/nginx/html/",
        "usr/share/nginx/html/index.html",
        "var/run -> ../run",
    ],
    &["docker-entrypoint.sh"],
    &["docker-entrypoint.d/", "docker-entrypoint.d/10-listen-on-ipv6-by-default.sh"],
    &["docker-entrypoint.d/", "docker-entrypoint.d/15-local-resolvers.envsh"],
    &["docker-entrypoint.d/", "docker-entrypoint.d/20-envsubst-on-templates.sh"],
    &["docker-entrypoint.d/", "docker-entrypoint.d/30-tune-worker-processes.sh"],
    &[
        "etc/",
        "etc/apk/",
        "etc/apk/.wh.keys",
        "usr/lib/",
        "usr/lib/libcurl.so.4",
        "usr/lib/libcurl.so = usr/lib/libcurl.so.4",
    ],
];

const PYTHON: [Layer; 4] = [
    &[
        "bin -> usr/bin",
        "etc/",
        "lib -> usr/lib",
        "tmp/",
        "usr/",
        "usr/bin/",
        "usr/lib/",
        "usr/local/",
        "usr/local/bin/",
        "usr/local/lib/",
    ],
    &["etc/", "etc/ssl/", "usr/", "usr/share/", "usr/share/zoneinfo/"],
    &[
        "usr/",
        "usr/local/",
        "usr/local/bin/",
        "usr/local/bin/python3.12",
        "usr/local/bin/python3 -> python3.12",
        "usr/local/lib/",
        "usr/local/lib/python3.12/",
        "usr/local/lib/python3.12/site-packages/",
        "usr/local/lib/python3.12/site-packages/pip/",
        "usr/local/lib/python3.12/site-packages/pip/__init__.py",
    ],
    &["usr/", "usr/local/", "usr/local/bin/", "usr/local/bin/python -> python3"],
];

fn tar_of(layer: Layer) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in layer {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        let linked = |kind: tar::EntryType, separator: &str| {
            entry.split_once(separator).map(|(path, target)| (kind, path, target))
        };
        let link = linked(tar::EntryType::Symlink, " -> ").or_else(|| linked(tar::EntryType::Link, " = "));
        if let Some((kind, path, target)) = link {
            header.set_entry_type(kind);
            tar.append_link(&mut header, path, target).unwrap();
        } else {
            let kind = if entry.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
            header.set_entry_type(kind);
            tar.append_data(&mut header, entry, std::io::empty()).unwrap();
        }
    }
    tar.into_inner().unwrap()
}

/// A base with this published config, in the store.
fn official(published: &str, layers: &[Layer], put: &impl Fn(&[u8]) -> Descriptor) -> ImagePin {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(published);
    let mut config: Value = serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();
    let filled = config["history"].as_array().unwrap().iter().filter(|entry| entry["empty_layer"] != true).count();
    assert_eq!(filled, layers.len(), "{published}");
    let tars: Vec<_> = layers.iter().map(|layer| tar_of(layer)).collect();
    config["rootfs"] =
        json!({ "type": "layers", "diff_ids": tars.iter().map(|tar| Descriptor::of(tar).digest).collect::<Vec<_>>() });
    let packed = tars.iter().map(|tar| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(tar).unwrap();
        put(&gzip.finish().unwrap())
    });
    let layers: Vec<_> = packed.collect();
    let config = put(config.to_string().as_bytes());
    let typed = |kind: &str, blob: &Descriptor| json!({ "mediaType": kind, "digest": blob.digest, "size": blob.size });
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let manifest = put(json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": typed("application/vnd.oci.image.config.v1+json", &config),
        "layers": layers.iter().map(|layer| typed(gzip, layer)).collect::<Vec<_>>(),
    })
    .to_string()
    .as_bytes());
    ImagePin { manifest, config, layers }
}

/// The shipped apps, built on those bases: app → (base's config, built config, built manifest).
fn shipped() -> BTreeMap<String, [Value; 3]> {
    let lab = Lab::new("-official");
    let store = Store::open(lab.path("store")).unwrap();
    let put = |bytes: &[u8]| store.put(bytes, &Silent).unwrap().descriptor();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let intent = fs_err::read_to_string(repository.join("lock/ztlab.toml")).unwrap();
    let mut lock = lockfile::request(&Intent::parse(&intent).unwrap()).unwrap();
    let bases = BTreeMap::from([
        ("nginx", official("nginx-1.30.5-alpine.json", &NGINX, &put)),
        ("python", official("python-3.12.14-slim-bookworm.json", &PYTHON, &put)),
    ]);
    for (image, pin) in &bases {
        lock.image.get_mut(*image).unwrap().platforms.insert(PLATFORM, pin.clone());
    }
    // The real wheels are not here; that they are unpacked is another test's business.
    let stored = put(&wheel("x = 1\n"));
    let url = Some("https://files.example/demo-1-py3-none-any.whl".to_owned());
    let download = Download { url, digest: Some(stored.digest), size: Some(stored.size) };
    let platforms = BTreeMap::from([(PLATFORM, download)]);
    lock.wheel.insert("demo".to_owned(), WheelEntry { want: "demo==1 python 3.12".to_owned(), platforms });
    lock.app.get_mut("backend").unwrap().request.wheels = vec!["demo".to_owned()];
    for (app, entry) in &lock.app {
        for file in entry.request.files.keys() {
            let name = format!("app/{app}/{file}");
            fs_err::create_dir_all(lab.path("lab").join(&name).parent().unwrap()).unwrap();
            fs_err::copy(repository.join(&name), lab.path("lab").join(&name)).unwrap();
        }
    }
    lockfile::save(&lab.lock_path(), &lock).unwrap();

    let (exit, answer) = lab.run(&["build"]);
    assert_eq!(exit, 0, "{answer}");
    let document = |digest: &Value| -> Value {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        serde_json::from_slice(&fs_err::read(lab.path("store/blobs/sha256").join(hex)).unwrap()).unwrap()
    };
    let images = answer["outcome"]["images"].as_array().unwrap();
    let built = images.iter().map(|image| {
        let app = image["app"].as_str().unwrap().to_owned();
        let base = &bases[lock.app[&app].request.base.strip_prefix("image.").unwrap()];
        let base = document(&json!(base.config.digest));
        (app, [base, document(&image["config"]), document(&image["manifest"])])
    });
    built.collect()
}

#[test]
fn the_shipped_app_on_official_bases_is_what_its_dockerfiles_ask_for() {
    let images = shipped();
    let nginx = &images["frontend"][1];
    assert_eq!(
        nginx["config"],
        json!({
            "ExposedPorts": { "80/tcp": {} },
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NGINX_VERSION=1.30.5", "PKG_RELEASE=1",
                "DYNPKG_RELEASE=1", "NJS_VERSION=1.0.1", "NJS_RELEASE=1", "ACME_VERSION=0.4.1",
            ],
            // CMD leaves the base's ENTRYPOINT: the official one ends in `exec "$@"`.
            "Entrypoint": ["/docker-entrypoint.sh"],
            "Cmd": ["nginx", "-g", "daemon off;"],
            "WorkingDir": "/",
            "Labels": {
                "maintainer": "NGINX Docker Maintainers <docker-maint@nginx.com>",
                "org.opencontainers.image.description": "The lab's page and the way to its API",
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.title": "simple-frontend",
            },
            "StopSignal": "SIGQUIT",
            "User": "101:101",
        })
    );
    let python = &images["backend"][1]["config"];
    assert_eq!(python["Env"].as_array().unwrap()[..5], images["backend"][0]["config"]["Env"].as_array().unwrap()[..]);
    assert_eq!(python["Env"].as_array().unwrap()[5..], ["PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"]);
    assert_eq!((&python["WorkingDir"], &python["User"]), (&json!("/app"), &json!("10001:10001")));
    assert_eq!(python["ExposedPorts"], json!({ "5000/tcp": {} }));
    assert_eq!(python["Labels"]["org.opencontainers.image.title"], "simple-backend");
}

#[test]
fn history_and_layers_of_official_bases_stay_and_agree() {
    for (app, [base, config, manifest]) in shipped() {
        let list = |value: &Value| value.as_array().unwrap().clone();
        let (history, old) = (list(&config["history"]), list(&base["history"]));
        assert_eq!(history[..old.len()], old[..], "{app}");
        let filled = history.iter().filter(|entry| entry["empty_layer"] != true).count();
        let (diff_ids, layers) = (list(&config["rootfs"]["diff_ids"]), list(&manifest["layers"]));
        assert_eq!((filled, diff_ids.len()), (layers.len(), layers.len()), "{app}");
        assert!(diff_ids.starts_with(&list(&base["rootfs"]["diff_ids"])), "{app}");
        assert_eq!((&config["architecture"], &config["variant"]), (&json!("arm64"), &json!("v8")), "{app}");
    }
}
