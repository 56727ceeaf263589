//! WebSockets between a client and a service that know nothing of each other but RFC 6455.

use crate::node::{Node, forwarding, run};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Message, WebSocket};

const PATIENCE: Duration = Duration::from_secs(30);

fn whole() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(None).max_frame_size(None)
}

/// Greets, then echoes each message on each of its connections.
fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            thread::spawn(move || {
                let Ok(mut socket) = tungstenite::accept_with_config(stream, Some(whole())) else {
                    return;
                };
                // Right behind its 101.
                let mut sent = socket.send("welcome".into());
                while sent.is_ok() {
                    sent = match socket.read() {
                        Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message),
                        Ok(_) => Ok(()),
                        Err(error) => Err(error),
                    };
                }
            });
        }
    });
    address
}

fn open(at: SocketAddr) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("ws://{at}/chat");
    let (mut socket, answer) =
        tungstenite::client::client_with_config(request, stream, Some(whole())).expect("a handshake");
    assert_eq!(answer.status(), 101);
    assert_eq!(socket.read().unwrap(), "welcome".into());
    socket
}

/// Blocking clients, off the runtime.
fn by_clients(test: impl FnOnce(SocketAddr) + Send + 'static) {
    run(async {
        let node = Node::new(&forwarding(&format!("http://{}", service()), ""));
        let at = node.address();
        tokio::task::spawn_blocking(move || test(at)).await.unwrap();
    });
}

#[test]
fn messages_of_any_size_come_back_as_they_went() {
    by_clients(|at| {
        let sizes = prop_oneof![
            0usize..200,
            120usize..130,
            16_370usize..16_400,
            65_530usize..65_540,
            0usize..100_000
        ];
        let messages = prop::collection::vec((sizes, any::<u8>(), any::<bool>()), 1..6);
        let config = Config {
            cases: 24,
            failure_persistence: None,
            ..Config::default()
        };
        let mut runner = TestRunner::new(config);
        let outcome = runner.run(&messages, |messages| {
            let mut socket = open(at);
            let sent: Vec<Message> = messages
                .into_iter()
                .map(|(size, byte, text)| match text {
                    true => "x".repeat(size).into(),
                    false => vec![byte; size].into(),
                })
                .collect();
            // All at once, so that frames share segments; what is echoed meanwhile waits.
            for message in &sent {
                socket.write(message.clone()).unwrap();
            }
            socket.flush().unwrap();
            for message in sent {
                prop_assert!(socket.read().unwrap() == message);
            }
            socket.close(None).unwrap();
            Ok(())
        });
        outcome.unwrap();
    });
}

#[test]
fn pings_are_answered_by_the_service_and_its_close_reaches_the_client() {
    by_clients(|at| {
        let mut socket = open(at);
        socket.send(Message::Ping("here?".into())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong("here?".into()));
        let close = CloseFrame {
            code: CloseCode::Library(4001),
            reason: "enough".into(),
        };
        socket.close(Some(close.clone())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Close(Some(close)));
        assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
    });
}
