//! HTTP/2 by hand: frames that no library would send.

use super::{SOON, Server};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A connection. What is sent tells whether it could be: a server that is fed up closes.
pub(super) struct Http2 {
    stream: TcpStream,
    block: Vec<u8>,
}

impl Http2 {
    pub(super) async fn connect(server: &Server<'_>) -> Self {
        let mut stream = server.connect().await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        // :method POST, :scheme http, by their numbers in the static table; :path and :authority, authorization and content-type literally.
        let mut block = vec![0x83, 0x86];
        for (number, value) in [(4, server.way.path.as_str()), (1, &server.way.address)] {
            block.extend([number, u8::try_from(value.len()).unwrap()]);
            block.extend(value.as_bytes());
        }
        let authorization = format!("Bearer {}", server.way.key);
        for (name, value) in [("authorization", authorization.as_str()), ("content-type", "application/json")] {
            block.extend([0, u8::try_from(name.len()).unwrap()]);
            block.extend(name.as_bytes());
            block.push(u8::try_from(value.len()).unwrap());
            block.extend(value.as_bytes());
        }
        let mut http2 = Self { stream, block };
        assert!(http2.settings().await);
        http2
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        // A server that does not read any more is as good as one that closed.
        matches!(timeout(SOON / 4, self.stream.write_all(&frame)).await, Ok(Ok(())))
    }

    pub(super) async fn settings(&mut self) -> bool {
        self.send(SETTINGS, 0, 0, &[]).await
    }

    pub(super) async fn ping(&mut self) -> bool {
        self.send(PING, 0, 0, &[7; 8]).await
    }

    /// A whole head of a request; its body follows unless `ends`.
    pub(super) async fn headers(&mut self, stream: u32, ends: bool) -> bool {
        let block = self.block.clone();
        self.send(HEADERS, END_HEADERS | if ends { END_STREAM } else { 0 }, stream, &block).await
    }

    /// A head that goes on.
    pub(super) async fn begin_headers(&mut self, stream: u32) -> bool {
        let block = self.block.clone();
        self.send(HEADERS, 0, stream, &block).await
    }

    /// More of it: a field `x`, with 1,000 bytes.
    pub(super) async fn continuation(&mut self, stream: u32) -> bool {
        // 1,000 in the integers of HPACK: 127, then 873 by sevens.
        let field = [&[0, 1, b'x', 127, 0xe9, 0x06][..], &[b'y'; 1_000]].concat();
        self.send(CONTINUATION, 0, stream, &field).await
    }

    pub(super) async fn reset(&mut self, stream: u32) -> bool {
        // 8: cancelled.
        self.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await
    }

    /// The next frame: its kind, stream and payload; none when the connection has ended.
    async fn frame(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let read = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
            let mut payload = vec![0; usize::try_from(number(&head[..3])).ok()?];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some((head[3], number(&head[5..]), payload))
        };
        timeout(SOON, read).await.expect("the server says something, or closes")
    }

    /// Whether the head of an answer comes on a stream.
    pub(super) async fn answered(&mut self, stream: u32) -> bool {
        while let Some((kind, on, _)) = self.frame().await {
            if kind == HEADERS && on == stream {
                return true;
            }
        }
        false
    }

    /// Waits until the server says that this is the end, or just ends it.
    pub(super) async fn expect_the_end(mut self) {
        while self.frame().await.is_some_and(|(kind, _, _)| kind != GOAWAY) {}
    }

    /// What is below it.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }
}
