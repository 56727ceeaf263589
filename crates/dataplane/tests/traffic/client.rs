//! A client that says bytes and reads answers.

use crate::backend::find;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// Fields after a chunked body.
    pub trailers: String,
}

/// The connection ended within an answer, or before it.
#[derive(Debug)]
pub struct Cut {
    /// What was read of the answer.
    pub bytes: Vec<u8>,
    /// Closed with a reset.
    pub reset: bool,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        crate::backend::field(&self.head, name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The code of a problem document, which is checked to be one.
    pub fn code(&self) -> String {
        assert_eq!(
            self.field("content-type"),
            Some("application/problem+json"),
            "{}",
            self.head
        );
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["node"], "n1");
        assert_eq!(problem["request_id"].as_str(), self.field("x-request-id"));
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub async fn to(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).await.unwrap())
    }

    pub fn on(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// A request without a body, and its answer.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n"))
            .await
    }

    pub async fn ask(&mut self, request: &str) -> Answer {
        self.say(request).await;
        self.answer().await.unwrap()
    }

    /// The next final answer.
    pub async fn answer(&mut self) -> Result<Answer, Cut> {
        self.answer_to("GET").await
    }

    /// The next final answer, to a request of this method.
    pub async fn answer_to(&mut self, method: &str) -> Result<Answer, Cut> {
        loop {
            let (status, head) = self.head().await?;
            if status / 100 != 1 {
                return self.rest_of(method, status, head).await;
            }
        }
    }

    /// The next head, interim ones included.
    pub async fn head(&mut self) -> Result<(u16, String), Cut> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return Ok((status, head));
            }
            self.fill().await?;
        }
    }

    async fn rest_of(&mut self, method: &str, status: u16, head: String) -> Result<Answer, Cut> {
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
            trailers: String::new(),
        };
        if method == "HEAD" || matches!(status, 204 | 304) {
            return Ok(answer);
        }
        if answer.field("transfer-encoding").is_some() {
            loop {
                let line = self.line().await?;
                let length = usize::from_str_radix(line.trim(), 16).unwrap();
                if length == 0 {
                    break;
                }
                let mut chunk = self.take(length + 2).await?;
                chunk.truncate(length);
                answer.body.extend(chunk);
            }
            loop {
                let line = self.line().await?;
                if line == "\r\n" {
                    return Ok(answer);
                }
                answer.trailers.push_str(&line);
            }
        }
        if let Some(length) = answer.field("content-length") {
            answer.body = self.take(length.parse().unwrap()).await?;
            return Ok(answer);
        }
        loop {
            match self.fill().await {
                Ok(()) => {}
                Err(cut) if cut.reset => return Err(cut),
                Err(cut) => {
                    answer.body = cut.bytes;
                    return Ok(answer);
                }
            }
        }
    }

    /// The next chunk of a body; an empty one ends it, without trailers.
    pub async fn chunk(&mut self) -> Result<Vec<u8>, Cut> {
        let line = self.line().await?;
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = self.take(length + 2).await?;
        chunk.truncate(length);
        Ok(chunk)
    }

    async fn line(&mut self) -> Result<String, Cut> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                return Ok(String::from_utf8(self.buffer.drain(..end + 2).collect()).unwrap());
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, Cut> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn fill(&mut self) -> Result<(), Cut> {
        self.buffer.reserve(65536);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Cut {
                bytes: std::mem::take(&mut self.buffer),
                reset: false,
            }),
            Ok(_) => Ok(()),
            Err(_) => Err(Cut {
                bytes: std::mem::take(&mut self.buffer),
                reset: true,
            }),
        }
    }

    /// Whether or not anybody listens.
    pub async fn try_say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Closes its sending side.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// At least one byte, whatever comes.
    pub async fn some(&mut self) -> Result<Vec<u8>, Cut> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// So many bytes, whatever they are.
    pub async fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Cut> {
        self.take(length).await
    }

    /// Closes with RST.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Waits for the end of the connection; what came before it.
    pub async fn end(&mut self) -> Cut {
        loop {
            if let Err(cut) = self.fill().await {
                return cut;
            }
        }
    }
}
