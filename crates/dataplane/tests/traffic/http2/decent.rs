//! A client as most are.

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub struct Decent {
    pub sender: SendRequest<Bytes>,
    /// Ends with the connection.
    pub connection: JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub head: Response<()>,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name)?.to_str().ok()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The code of a problem document.
    pub fn code(&self) -> String {
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        problem["code"].as_str().unwrap().to_owned()
    }
}

pub async fn decent(address: SocketAddr) -> Decent {
    decent_with(address, &h2::client::Builder::new()).await
}

pub async fn decent_with(address: SocketAddr, builder: &h2::client::Builder) -> Decent {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection): (_, Connection<TcpStream, Bytes>) = builder.handshake(stream).await.unwrap();
    Decent {
        sender,
        connection: tokio::spawn(connection),
    }
}

pub fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.example{path}")).body(()).unwrap()
}

pub fn post(path: &str) -> Request<()> {
    Request::post(format!("http://a.example{path}")).body(()).unwrap()
}

impl Decent {
    /// A request without a body.
    pub async fn ask(&self, request: Request<()>) -> Result<Answer, h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (answer, _) = sender.send_request(request, true)?;
        read(answer.await?).await
    }

    /// A request with this body, in pieces, ended by its last.
    pub async fn send(&self, request: Request<()>, pieces: &[&'static [u8]]) -> Result<Answer, h2::Error> {
        let (answer, mut body) = self.begin(request).await?;
        let (last, first) = pieces.split_last().unwrap();
        for piece in first {
            body.send_data(Bytes::from_static(piece), false)?;
        }
        body.send_data(Bytes::from_static(last), true)?;
        read(answer.await?).await
    }

    /// A request whose body is still to come.
    pub async fn begin(
        &self,
        request: Request<()>,
    ) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        sender.send_request(request, false)
    }
}

/// Reads an answer to its end.
pub async fn read(response: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(bytes) = stream.data().await {
        let bytes = bytes?;
        stream.flow_control().release_capacity(bytes.len())?;
        body.extend(bytes);
    }
    let trailers = stream.trailers().await?;
    Ok(Answer {
        head: Response::from_parts(head, ()),
        body,
        trailers,
    })
}
