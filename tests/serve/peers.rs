//! Laptops that share, as the server of the room answers them, and what would like to pass for one.

use serde_json::{Value, json};

use crate::lab::{Answer, Lab, Running};

fn hello(lab: &Lab, port: u16, have: &str, want: &str) -> Value {
    json!({ "lab_id": lab.lock.lab_id(), "port": port, "jobs": 8, "have": have, "want": want, "failed": [] })
}

async fn say(server: &Running, hello: &Value) -> Answer {
    server.post("/peers", "application/json", hello.to_string().as_bytes()).await
}

/// The number of the large layer: its place among the digests of the lab.
fn layer_set(lab: &Lab) -> String {
    let mut digests: Vec<_> = lab.complete().descriptors().map(|blob| blob.digest).collect();
    digests.sort();
    let place = digests.iter().position(|digest| *digest == lab.layer.digest).unwrap();
    format!("{:02x}", 1_u32 << place)
}

#[tokio::test]
async fn laptops_are_named_to_each_other_by_the_address_that_they_ask_from() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let layer = layer_set(&lab);
    let first = say(&server, &hello(&lab, 4001, "", &layer)).await.json();
    assert_eq!(first, json!({ "take": [{ "from": null, "blobs": layer }], "lacking": 0 }));
    let second = say(&server, &hello(&lab, 4002, "", &layer)).await.json();
    assert_eq!(second, json!({ "take": [], "lacking": 1 }), "it is on its way to the first");
    say(&server, &hello(&lab, 4001, &layer, "")).await;
    let second = say(&server, &hello(&lab, 4002, "", &layer)).await.json();
    assert_eq!(second, json!({ "take": [{ "from": "127.0.0.1:4001", "blobs": layer }], "lacking": 0 }));
    assert!(server.get("/room", &[]).await.text().contains("<strong>2</strong> laptops serve others"));
    server.stop().await;
}

#[tokio::test]
async fn nobody_names_a_third_machine_and_nonsense_is_refused() {
    let lab = Lab::new();
    let server = lab.serve().await;
    let good = hello(&lab, 4001, "01", "");
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed
    };
    for (status, body) in [
        (422, with("address", json!("10.0.0.9"))),
        (422, with("ip", json!("10.0.0.9"))),
        (422, with("port", json!(0))),
        (422, with("port", json!(70_000))),
        (422, with("port", json!("4001@10.0.0.9"))),
        (422, with("have", json!("0"))),
        (422, with("have", json!("00".repeat(2000)))),
        (422, with("failed", json!([{ "from": "nobody", "blobs": "01" }]))),
        (409, with("lab_id", json!(format!("sha256:{}", "0".repeat(64))))),
    ] {
        assert_eq!(say(&server, &body).await.status, status, "{body}");
    }
    assert_eq!(server.post("/peers", "text/plain", good.to_string().as_bytes()).await.status, 415);
    assert_eq!(server.post("/peers", "application/json", b"{").await.status, 422);
    assert_eq!(server.post("/peers", "application/json", &vec![b' '; 9000]).await.status, 413);
    assert_eq!(server.get("/peers", &[]).await.status, 404, "there is no list to read");
    assert!(!server.get("/room", &[]).await.text().contains("serves others"), "none of these shares");
    let mut statuses = Vec::new();
    for port in 1..=20 {
        statuses.push(say(&server, &hello(&lab, port, "ff", "")).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 8, "one address is a few laptops at most");
    assert!(statuses.ends_with(&[507]));
    server.stop().await;
}
