//! The demo with nodes that answer as an admin API would: what it does around them.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice_demo::{BoxFuture, DemoError, NodeSpec, Options, Ports, RunningNode, Services, StartNode, run, running};
use std::convert::Infallible;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Nodes that keep one document among them and are ready when all three have started.
#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    version: u64,
    document: String,
    started: Vec<NodeSpec>,
    stopped: Vec<String>,
    fail: Option<&'static str>,
}

struct Node {
    name: String,
    cluster: Cluster,
    task: tokio::task::JoinHandle<()>,
}

impl StartNode for Cluster {
    fn start(&self, spec: NodeSpec) -> BoxFuture<'_, Result<Box<dyn RunningNode>, String>> {
        Box::pin(async move {
            if self.0.lock().unwrap().fail == Some(spec.name.as_str()) {
                return Err("its disk is full: make room".to_owned());
            }
            let listener = TcpListener::bind(spec.admin).await.map_err(|error| error.to_string())?;
            let (cluster, name) = (self.clone(), spec.name.clone());
            self.0.lock().unwrap().started.push(spec);
            let serving = cluster.clone();
            let task = tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, serving.clone()));
                }
            });
            Ok(Box::new(Node { name, cluster, task }) as Box<dyn RunningNode>)
        })
    }
}

impl RunningNode for Node {
    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.task.abort();
            self.cluster.0.lock().unwrap().stopped.push(self.name);
        })
    }

    fn wait(&mut self) -> BoxFuture<'_, String> {
        Box::pin(std::future::pending())
    }
}

async fn serve(stream: TcpStream, cluster: Cluster) {
    let service = service_fn(move |request: Request<Incoming>| {
        let cluster = cluster.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let mut state = cluster.0.lock().unwrap();
            let mut response = Response::new(Full::new(Bytes::new()));
            let token = format!("Bearer {}", state.started[0].admin_token);
            match (head.method.as_str(), head.uri.path()) {
                ("GET", "/readyz") if state.started.len() < 3 => {
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE
                }
                ("GET", "/readyz") => {}
                _ if head.headers[http::header::AUTHORIZATION] != token => {
                    *response.status_mut() = StatusCode::UNAUTHORIZED;
                }
                ("PUT", "/v1/config") => {
                    state.version += 1;
                    state.document = String::from_utf8(body.to_vec()).unwrap();
                }
                _ => {
                    let tag = format!("\"{}\"", state.version).parse().unwrap();
                    response.headers_mut().insert(http::header::ETAG, tag);
                }
            }
            Ok::<_, Infallible>(response)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// What the demo prints, and a word when the last line came.
struct Screen(Vec<u8>, Option<oneshot::Sender<()>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        if self.0.ends_with(b"Ctrl-C ends it.\n")
            && let Some(done) = self.1.take()
        {
            done.send(()).unwrap();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Offsets below 23,000 keep every port out of the range from which the system gives ports to those who connect, and
/// steps of 137 keep tests that run side by side out of each other's way.
fn options(offset: u16, folder: &std::path::Path) -> Options {
    Options {
        data: None,
        ports: Ports::moved_by(offset).unwrap(),
        program: "sluice".into(),
        notes: Some(folder.to_owned()),
        workers: 1,
        redis: None,
    }
}

fn notes() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

#[tokio::test]
async fn a_first_demo_applies_the_sample_says_what_to_try_and_leaves_nothing_behind() {
    let (cluster, notes) = (Cluster::default(), notes());
    let (done, printed) = oneshot::channel();
    let mut screen = Screen(Vec::new(), Some(done));
    let mut found = Vec::new();
    let ended = async {
        printed.await.unwrap();
        found = running::find(notes.path());
    };
    run(options(17_000, notes.path()), &cluster, ended, &mut screen)
        .await
        .unwrap();

    let state = cluster.0.lock().unwrap();
    assert_eq!(state.version, 1);
    assert!(state.document.contains("http://127.0.0.1:26101"));
    let text = String::from_utf8(screen.0).unwrap();
    for line in [
        "curl -i http://127.0.0.1:25081/orders/7",
        "sluice apply -f shop.yaml",
        "http://127.0.0.1:26083",
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].admin[2], "http://127.0.0.1:26083");
    assert_eq!(found[0].token, state.started[0].admin_token);
    assert!(running::find(notes.path()).is_empty());
    assert_eq!(state.stopped.len(), 3);
    let data = state.started[0].data.parent().unwrap();
    assert!(!data.exists(), "{} is left over", data.display());
    assert_ne!(state.started[0].cluster_token, state.started[0].admin_token);
    assert_eq!(state.started[2].initial.len(), 3);
}

#[tokio::test]
async fn a_demo_that_is_kept_goes_on_with_what_it_had() {
    let (cluster, notes, data) = (Cluster::default(), notes(), tempfile::tempdir().unwrap());
    cluster.0.lock().unwrap().version = 7;
    let (done, printed) = oneshot::channel();
    let mut screen = Screen(Vec::new(), Some(done));
    let mut options = options(17_137, notes.path());
    options.data = Some(data.path().to_owned());
    run(options, &cluster, async { printed.await.unwrap() }, &mut screen)
        .await
        .unwrap();
    assert_eq!(cluster.0.lock().unwrap().version, 7);
    assert!(String::from_utf8(screen.0).unwrap().contains("version 7"));
    assert!(data.path().exists());
}

#[tokio::test]
async fn a_port_in_use_is_told_by_its_purpose_with_what_to_do() {
    let (cluster, notes) = (Cluster::default(), notes());
    let ports = Ports::moved_by(17_274).unwrap();
    let taken = TcpListener::bind(ports.admin(2)).await.unwrap();
    let mut screen = Screen(Vec::new(), None);
    let error = run(
        options(17_274, notes.path()),
        &cluster,
        std::future::pending(),
        &mut screen,
    )
    .await
    .unwrap_err();
    assert!(matches!(error, DemoError::Port { address, .. } if address == ports.admin(2)));
    let text = error.to_string();
    assert!(
        text.contains("admin API of n2") && text.contains("--port-offset"),
        "{text}"
    );
    assert!(cluster.0.lock().unwrap().started.is_empty());
    drop(taken);
}

#[tokio::test]
async fn a_node_that_does_not_start_ends_the_others_too() {
    let (cluster, notes) = (Cluster::default(), notes());
    cluster.0.lock().unwrap().fail = Some("n2");
    let mut screen = Screen(Vec::new(), None);
    let error = run(
        options(17_411, notes.path()),
        &cluster,
        std::future::pending(),
        &mut screen,
    )
    .await
    .unwrap_err();
    assert_eq!(error.to_string(), "node n2 did not start: its disk is full: make room");
    assert_eq!(cluster.0.lock().unwrap().stopped, ["n1"]);
}

#[tokio::test]
async fn the_sample_services_answer_as_their_names_say() {
    let ports = Ports::moved_by(17_548).unwrap();
    let services = Services::start(ports).await.unwrap();
    let (status, order) = get(ports.service(1), "/orders/7").await;
    assert_eq!(status, 200);
    assert_eq!(
        (order["id"].as_u64(), order["served_by"].as_str()),
        (Some(7), Some("orders-1"))
    );
    assert_eq!(get(ports.service(2), "/orders").await.1["served_by"], "orders-2");
    assert_eq!(get(ports.service(3), "/users/42").await.1["name"], "User 42");
    assert_eq!(get(ports.service(4), "/any?x=1").await.1["target"], "/any?x=1");
    assert_eq!(get(ports.service(5), "/slow/1").await.1["waited_ms"], 1);
    let mut flaky = Vec::new();
    for _ in 0..3 {
        flaky.push(get(ports.service(6), "/flaky").await.0.as_u16());
    }
    assert_eq!(flaky, [200, 200, 503]);
    services.stop().await;
    assert!(TcpStream::connect(ports.service(1)).await.is_err());
}

async fn get(address: std::net::SocketAddr, target: &str) -> (StatusCode, serde_json::Value) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get(target)
        .header("host", "h")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}
