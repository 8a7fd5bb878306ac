//! The way out through a proxy, and whose certificates are believed: a real proxy and a real https server.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};
use ztlab::{
    base::{Expected, report::Recording},
    fetch::{Client, ExtraRoots, FetchError, Mirror, Mirrors, Network, Proxies, Wanted},
    store::{Store, StoredBlob},
};

use crate::{lies::network, raw::read_request};

/// A host that only the proxy can find.
const HOST: &str = "files.school.invalid";
const BODY: &str = "behind the proxy";

/// A proxy for plain HTTP and for tunnels: whatever is asked for, the answer comes from one server.
#[derive(Clone, Default)]
struct Proxy {
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(&self, server: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::clone(&self.seen);
        tokio::spawn(async move {
            while let Ok((mut inside, _)) = listener.accept().await {
                let (seen, server) = (Arc::clone(&seen), server.clone());
                tokio::spawn(async move {
                    let request = read_request(&mut inside).await;
                    seen.lock().unwrap().push(request.clone());
                    let mut outside = TcpStream::connect(server).await.unwrap();
                    if request.starts_with("CONNECT ") {
                        inside.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                    } else {
                        outside.write_all(request.as_bytes()).await.unwrap();
                    }
                    let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                });
            }
        });
        address
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// Answers every request with [`BODY`], and closes.
async fn answer(mut connection: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => return,
        }
    }
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{BODY}", BODY.len());
    let _ = connection.write_all(head.as_bytes()).await;
    let _ = connection.shutdown().await;
}

async fn plain_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(answer(connection));
        }
    });
    address
}

/// An https server for [`HOST`], and the certificate of the authority that vouches for it.
async fn https_server() -> (String, String) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(connection) = acceptor.accept(connection).await {
                    answer(connection).await;
                }
            });
        }
    });
    (address, root.pem())
}

fn proxies(variables: &[(&str, String)]) -> Proxies {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Proxies::of(&variables)
}

async fn get(network: Network, url: &str) -> Result<StoredBlob, FetchError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let client = Client::new(network, Arc::new(Recording::default())).unwrap();
    let wanted = Wanted { expected: Expected::NOTHING, label: "file".to_owned() };
    client.blob(&store, &wanted, &client.file_locations(url).unwrap()).await
}

#[tokio::test]
async fn https_goes_through_the_proxy_and_believes_the_schools_certificate() {
    let (server, root) = https_server().await;
    let proxy = Proxy::default();
    let address = proxy.start(server).await;
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("school.pem");
    fs_err::write(&file, root).unwrap();
    let network = Network {
        proxies: proxies(&[("HTTPS_PROXY", format!("http://teacher:secret@{address}"))]),
        extra_roots: ExtraRoots::read(&[file]).unwrap(),
        ..network()
    };
    let url = format!("https://{HOST}/layer");
    get(network.clone(), &url).await.unwrap();
    let seen = proxy.seen();
    assert!(seen[0].starts_with(&format!("CONNECT {HOST}:443 ")), "{seen:?}");
    assert!(seen[0].to_lowercase().contains("proxy-authorization: basic dgvhy2hlcjpzzwnyzxq="), "{seen:?}");

    // The same without the certificate: refused, at once, and nothing of the proxy's password is told.
    let stranger = Network { extra_roots: ExtraRoots::default(), ..network };
    let asked = proxy.seen().len();
    let error = get(stranger, &url).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(matches!(error, FetchError::Connect { .. }) && text.contains("InvalidCertificate"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(proxy.seen().len(), asked + 1, "a bad certificate stays bad");
}

#[tokio::test]
async fn plain_http_to_a_named_mirror_goes_through_the_proxy_unless_excepted() {
    let proxy = Proxy::default();
    let address = proxy.start(plain_server().await).await;
    let mirror = |to: &str| Mirrors::new(vec![Mirror::new("https://github.com", to).unwrap()]);
    let named = [("http_proxy", address.clone()), ("no_proxy", "other.invalid".to_owned())];
    let network = Network { proxies: proxies(&named), mirrors: mirror(&format!("http://{HOST}")), ..network() };
    get(network.clone(), "https://github.com/layer").await.unwrap();
    let seen = proxy.seen();
    assert!(seen[0].starts_with(&format!("GET http://{HOST}/layer ")), "{seen:?}");

    let excepted = [("http_proxy", address), ("NO_PROXY", ".school.invalid".to_owned())];
    let mut direct = Network { proxies: proxies(&excepted), ..network };
    direct.retry.retries = 0;
    // Nobody but the proxy knows the name, so going there directly cannot succeed.
    assert!(matches!(get(direct, "https://github.com/layer").await, Err(FetchError::Connect { .. })));
    assert_eq!(proxy.seen().len(), 1);
}

#[tokio::test]
async fn loopback_is_never_behind_a_proxy() {
    let proxy = Proxy::default();
    let address = proxy.start(plain_server().await).await;
    let server = plain_server().await;
    let network = Network { proxies: proxies(&[("ALL_PROXY", address)]), ..network() };
    get(network, &format!("http://{server}/layer")).await.unwrap();
    assert_eq!(proxy.seen(), [""; 0]);
}
