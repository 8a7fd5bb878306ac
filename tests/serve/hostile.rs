//! Clients that are slow, greedy or talk nonsense, and the end while somebody still takes something.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use ztlab::serve::Limits;

use crate::lab::{Lab, Running, parse};

/// Longer than any of it may take, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(30);

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server lets go");
    bytes
}

async fn said(server: &Running, text: &str) -> u16 {
    let mut stream = server.connect().await;
    stream.write_all(text.as_bytes()).await.unwrap();
    parse(&rest(&mut stream).await).status
}

#[tokio::test]
async fn nonsense_is_refused_and_the_connection_closed() {
    let lab = Lab::new();
    let server = lab.serve().await;
    assert_eq!(said(&server, "\x16\x03\x01\x02\x00\x01\r\n\r\n").await, 400);
    assert_eq!(said(&server, "GET / HTTP/1.1\r\n\r\n").await, 400);
    assert_eq!(said(&server, &format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000))).await, 431);
    assert_eq!(said(&server, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await, 413);
    assert_eq!(said(&server, "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await, 411);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"] {
        let answer = server.ask(method, "/v2/calico/node/blobs/uploads/", &[]).await;
        assert_eq!((answer.status, answer.header("allow").contains("GET")), (405, true), "{method}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let lab = Lab::new();
    let limits = Limits { head: Duration::from_millis(300), idle: Duration::from_millis(300), ..Limits::default() };
    let server = lab.serve_with(limits, None).await;
    // One letter now and then does not buy more time.
    let mut stream = server.connect().await;
    let begun = Instant::now();
    for letter in "GET / HTTP/1.1\r\nHost: a\r\n".bytes() {
        if stream.write_all(&[letter]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        if begun.elapsed() > Duration::from_millis(600) {
            break;
        }
    }
    assert_eq!(parse(&rest(&mut stream).await).status, 408);
    // Who says nothing at all is let go without a word.
    let mut silent = server.connect().await;
    assert_eq!(rest(&mut silent).await, b"");
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_given_up() {
    let lab = Lab::new();
    let limits = Limits { span: Duration::from_millis(500), ..Limits::default() };
    let server = lab.serve_with(limits, None).await;
    let mut stream = server.connect().await;
    // Enough requests that their answers fit into no buffer of the two sockets.
    let head = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", lab.layer_path());
    stream.write_all(head.repeat(8).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let got = rest(&mut stream).await;
    assert!(got.len() < 8 * lab.layer_bytes.len(), "everything came: {} bytes", got.len());
    // The place is free, and the server answers others.
    assert_eq!(server.get("/lab.json", &[]).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn one_address_gets_its_places_and_no_more() {
    let lab = Lab::new();
    let server = lab.serve_with(Limits { per_address: 3, ..Limits::default() }, None).await;
    let head = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", lab.layer_path());
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(head.repeat(4).as_bytes()).await.unwrap();
        // The answer has begun, and will not end while nobody reads it.
        stream.readable().await.unwrap();
        busy.push(stream);
    }
    let mut one_more = server.connect().await;
    let refused = parse(&rest(&mut one_more).await);
    assert_eq!((refused.status, refused.header("retry-after")), (503, "2"));
    drop(busy.pop());
    let deadline = Instant::now() + PATIENCE;
    while server.get("/lab.json", &["X: y"]).await.status != 200 {
        assert!(Instant::now() < deadline, "the place never got free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn connections_that_wait_give_way_to_newcomers() {
    let lab = Lab::new();
    let server = lab.serve_with(Limits { connections: 4, ..Limits::default() }, None).await;
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(server.connect().await);
    }
    assert_eq!(server.get("/lab.json", &[]).await.status, 200, "fifty silent connections hold nothing");
    server.stop().await;
}

#[tokio::test]
async fn the_end_waits_for_what_is_under_way_and_not_for_ever() {
    let lab = Lab::new();
    let head = format!("GET {} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", lab.layer_path());
    let server = lab.serve().await;
    let mut stream = server.connect().await;
    let idle = server.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    let address = server.address;
    let ended = server.ask_to_stop();
    let got = rest(&mut stream).await;
    assert!(parse(&got).body == lab.layer_bytes, "the transfer came to its end");
    tokio::time::timeout(PATIENCE, ended).await.expect("the idle connection holds nobody").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody new is taken");
    drop(idle);

    let server = lab.serve_with(Limits { closing: Duration::from_millis(300), ..Limits::default() }, None).await;
    let mut stuck = server.connect().await;
    stuck.write_all(head.replace("Connection: close\r\n", "").repeat(8).as_bytes()).await.unwrap();
    stuck.readable().await.unwrap();
    tokio::time::timeout(PATIENCE, server.ask_to_stop())
        .await
        .expect("a reader that does not read holds nobody")
        .unwrap();
}
