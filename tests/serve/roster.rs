//! Seats that report, and what would like to pass for a report.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;
use ztlab::{
    base::Event,
    fetch::{
        FetchError, Network,
        seat::{self, Did, SeatReport},
    },
};

use crate::lab::{Lab, parse};

const JSON: &str = "application/json";

#[tokio::test]
async fn a_seat_reports_and_the_room_sees_it() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let address = Url::parse(&format!("http://{}/any/path?x", server.address)).unwrap();
    let did = Did::Verified { passed: vec!["gateway".to_owned()], failed: vec!["egress".to_owned()] };
    let report = SeatReport { seat: "Bänk 3".parse().unwrap(), lab_id: lab.lock.lab_id(), did };
    seat::report(&Network::default(), &address, &report).await.unwrap();
    let room = server.get("/room", &[]).await.text();
    assert!(room.contains("<bdi>Bänk 3</bdi>") && room.contains("1 of 2, not egress"), "{room}");
    assert!(!room.contains("another lab") && !room.contains("machines)"), "{room}");
    let heard = server.reporter.events().into_iter().any(|event| {
        matches!(event, Event::SeatReported { seat, said } if seat == "Bänk 3" && said == "1 of 2 probes passed; failed: egress")
    });
    assert!(heard, "the terminal hears of it");
    server.stop().await;
}

#[tokio::test]
async fn a_report_is_not_sent_offline_and_nobody_else_is_trusted_with_it() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let address = Url::parse(&format!("http://{}/", server.address)).unwrap();
    let report = SeatReport { seat: "A3".parse().unwrap(), lab_id: lab.lock.lab_id(), did: Did::Fetched { bytes: 1 } };
    let offline = Network { offline: true, ..Network::default() };
    assert!(matches!(seat::report(&offline, &address, &report).await, Err(FetchError::Offline { .. })));
    assert!(!server.get("/room", &[]).await.text().contains("A3"));
    server.stop().await;
    assert!(matches!(seat::report(&Network::default(), &address, &report).await, Err(FetchError::Connect { .. })));
}

#[tokio::test]
async fn what_is_no_report_is_refused() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let body =
        |seat: &str| json!({ "seat": seat, "lab_id": lab.lock.lab_id(), "did": { "kind": "fetched", "bytes": 1 } });
    let good = body("A3").to_string();
    assert_eq!(server.post("/roster", JSON, good.as_bytes()).await.status, 200);
    // As a form or a script of another site could send it without asking.
    assert_eq!(server.post("/roster", "text/plain", good.as_bytes()).await.status, 415);
    assert_eq!(server.post("/roster", "application/x-www-form-urlencoded", good.as_bytes()).await.status, 415);
    for seat in ["<img src=x onerror=alert(1)>", "=HYPERLINK(\"http://x\")", "", "a\nb"] {
        assert_eq!(server.post("/roster", JSON, body(seat).to_string().as_bytes()).await.status, 422, "{seat}");
    }
    assert_eq!(server.post("/roster", JSON, b"{").await.status, 422);
    assert_eq!(server.post("/roster", JSON, &vec![b' '; 9000]).await.status, 413);
    assert_eq!(server.post("/lab.json", JSON, good.as_bytes()).await.status, 413, "bodies are taken in one place only");
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(server.post("/roster", JSON, good.as_bytes()).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    let room = server.get("/room", &[]).await.text();
    assert!(!room.contains("onerror") && !room.contains("HYPERLINK"), "{room}");
    server.stop().await;
}

#[tokio::test]
async fn a_body_may_come_late_but_not_never() {
    let lab = Lab::new();
    let limits = ztlab::serve::Limits { head: std::time::Duration::from_millis(300), ..Default::default() };
    let server = lab.serve_with(limits, None).await;
    let body =
        json!({ "seat": "A3", "lab_id": lab.lock.lab_id(), "did": { "kind": "fetched", "bytes": 1 } }).to_string();
    let head = format!(
        "POST /roster HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    // The body, and the next request right behind it.
    stream
        .write_all(format!("{body}GET /lab.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");

    let mut stream = server.connect().await;
    stream.write_all(head.replace("Expect: 100-continue\r\n", "").as_bytes()).await.unwrap();
    stream.write_all(b"{").await.unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    assert_eq!(parse(&bytes).status, 408);
    server.stop().await;
}
