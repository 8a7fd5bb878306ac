//! A server below HTTP: says what it is told to say, byte by byte, and ends connections as it is told to.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// How a connection ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// In good order.
    Close,
    /// With a reset, as a router that lost its table sends it.
    Reset,
}

/// Answers one connection after the other with these bytes. Returns the address.
pub(crate) async fn serve(script: Vec<(Vec<u8>, End)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for (bytes, end) in script {
            let (mut connection, _) = listener.accept().await.unwrap();
            read_request(&mut connection).await;
            connection.write_all(&bytes).await.unwrap();
            connection.flush().await.unwrap();
            match end {
                End::Close => connection.shutdown().await.unwrap(),
                End::Reset => connection.set_zero_linger().unwrap(),
            }
        }
    });
    address
}

/// Reads until the empty line.
pub(crate) async fn read_request(connection: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(text).unwrap()
}
