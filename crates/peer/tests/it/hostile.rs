//! Nodes that do not belong together, and those who are no nodes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::nodes::*;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use sluice_peer::{CallError, Identity, Lane, Link, Secret};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

async fn node_of(change: impl FnOnce(&mut sluice_peer::Config)) -> Link {
    let mut config = config("n2", 2);
    change(&mut config);
    let link = Link::bind(config).await.unwrap();
    link.serve(Arc::new(Echo::default()));
    link
}

async fn call(a: &Link, b: &Link) -> Result<Vec<u8>, CallError> {
    a.call(&to(b), Lane::Control, ECHO, b"x".to_vec(), patient()).await
}

#[tokio::test]
async fn another_token_is_the_wrong_token_from_either_side() {
    let a = node("n1", 1).await;
    let b = node_of(|c| c.token = Some(Secret::new(b"the token of another cluster").unwrap())).await;
    for _ in 0..2 {
        assert_eq!(
            call(&a, &b).await,
            Err(CallError::WrongToken {
                address: b.local_addr().to_string()
            })
        );
    }
    assert!(matches!(call(&b, &a).await, Err(CallError::WrongToken { .. })));
}

#[tokio::test]
async fn a_node_without_a_token_neither_calls_nor_is_called() {
    let (a, b) = (node("n1", 1).await, node_of(|c| c.token = None).await);
    let address = b.local_addr().to_string();
    assert_eq!(
        a.hello(&address, LONG).await,
        Err(CallError::NoToken { address, ours: false })
    );
    let address = a.local_addr().to_string();
    assert_eq!(
        b.hello(&address, LONG).await,
        Err(CallError::NoToken { address, ours: true })
    );
}

#[tokio::test]
async fn another_cluster_is_told_by_name_and_by_id() {
    let a = node_of(|c| {
        c.identity = Identity {
            cluster_id: Some(7),
            ..identity("n1", 1)
        }
    })
    .await;
    let b = node_of(|c| c.identity.cluster = "bank".into()).await;
    let c = node_of(|c| c.identity.cluster_id = Some(8)).await;
    for other in [&b, &c] {
        let expected = CallError::WrongCluster {
            address: other.local_addr().to_string(),
            theirs: Box::new(other.identity().tag()),
            ours: Box::new(a.identity().tag()),
        };
        assert_eq!(call(&a, other).await, Err(expected));
        assert!(matches!(call(other, &a).await, Err(CallError::WrongCluster { .. })));
    }
}

#[tokio::test]
async fn a_node_that_joins_is_known_to_and_one_that_joins_another_cluster_is_cut_off() {
    let a = node_of(|c| {
        c.identity = Identity {
            cluster_id: Some(7),
            ..identity("n1", 1)
        }
    })
    .await;
    let (b, c) = (node("n2", 2).await, node_of(|c| c.identity = identity("n3", 3)).await);
    for other in [&b, &c] {
        call(&a, other).await.unwrap();
        call(other, &a).await.unwrap();
        other.set_audience(vec![to(&a)]);
        other.tell(status("x", 1));
    }
    until("both are heard", || a.heard().len() == 2).await;

    b.set_cluster_id(7);
    until("its cluster is known", || a.heard()[0].identity.cluster_id == Some(7)).await;
    assert_eq!(
        a.hello(&b.local_addr().to_string(), LONG).await.unwrap().cluster_id,
        Some(7)
    );
    assert!(call(&a, &b).await.is_ok() && call(&b, &a).await.is_ok());

    c.set_cluster_id(8);
    until("it is cut off", || false_soon(&a, &c)).await;
    let mut end = call(&a, &c).await;
    while !matches!(end, Err(CallError::WrongCluster { .. })) {
        assert!(end.is_err(), "a call crossed between clusters");
        tokio::time::sleep(Duration::from_millis(20)).await;
        end = call(&a, &c).await;
    }
}

/// Whether what was last heard of `c` is no longer fresh.
fn false_soon(a: &Link, c: &Link) -> bool {
    let heard = a.heard();
    let last = heard.iter().find(|h| h.status.id == c.identity().id).unwrap();
    last.at.elapsed() > Duration::from_millis(400)
}

#[tokio::test]
async fn a_node_that_dials_itself_and_two_nodes_of_one_name_are_told() {
    let (a, b) = (node("n1", 1).await, node_of(|c| c.identity = identity("n1", 11)).await);
    let address = a.local_addr().to_string();
    assert_eq!(
        a.hello(&address, LONG).await,
        Err(CallError::Oneself {
            address: address.clone()
        })
    );
    let expected = CallError::NameTaken {
        address: b.local_addr().to_string(),
        name: "n1".into(),
        theirs: b.identity().id,
        ours: a.identity().id,
        ours_at: address,
    };
    assert_eq!(call(&a, &b).await, Err(expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_who_prove_nothing_do_not_keep_a_peer_out() {
    let (a, b) = (node("n1", 1).await, node("n2", 2).await);
    let mut crowd = Vec::new();
    for n in 0..200 {
        let mut tcp = TcpStream::connect(b.local_addr()).await.unwrap();
        // Some say nothing, some half a TLS record, some nonsense.
        match n % 3 {
            0 => {}
            1 => tcp.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap(),
            _ => {
                let _ = tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
            }
        }
        crowd.push(tcp);
    }
    call(&a, &b).await.unwrap();
    a.call(&to(&b), Lane::Bulk, ECHO, vec![], patient()).await.unwrap();
    drop(crowd);
}

#[tokio::test]
async fn whoever_dawdles_before_the_proof_is_put_out() {
    let b = node_of(|c| c.timings.handshake = Duration::from_millis(300)).await;
    let mut silent = TcpStream::connect(b.local_addr()).await.unwrap();
    assert_eq!(timeout(LONG, silent.read(&mut [0; 10])).await.unwrap().unwrap_or(0), 0);

    let mut dripping = dial_tls(b.local_addr()).await;
    let mut end = None;
    for byte in b"SLpd".iter().cycle().take(3000) {
        if dripping.write_all(&[*byte]).await.is_err() || dripping.flush().await.is_err() {
            end = Some(());
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        if let Ok(read) = timeout(Duration::from_millis(1), dripping.read(&mut [0; 1])).await {
            assert_eq!(read.unwrap_or(0), 0, "something was answered");
            end = Some(());
            break;
        }
    }
    assert!(end.is_some(), "a drip of bytes kept its place for ever");
}

#[tokio::test]
async fn nonsense_inside_tls_is_answered_by_nothing() {
    let b = node("n2", 2).await;
    for nonsense in [vec![0; 49], b"SLpa".repeat(13)[..49].to_vec(), vec![255; 100_000]] {
        let mut stream = dial_tls(b.local_addr()).await;
        let _ = stream.write_all(&nonsense).await;
        let _ = stream.flush().await;
        let mut answer = Vec::new();
        let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.is_empty(), "{answer:?}");
    }
}

#[tokio::test]
async fn whoever_has_no_token_gets_no_proof_to_guess_by_and_no_frame_through() {
    let b = node("n2", 2).await;
    let mut stream = dial_tls(b.local_addr()).await;
    let mut opening = b"SLpd".to_vec();
    opening.extend_from_slice(&[0, 1, 0, 1, 0]);
    opening.extend_from_slice(&[5; 40]);
    // The opening, no proof worth the name, and straight away a status and a call.
    stream.write_all(&opening).await.unwrap();
    stream.write_all(&[0; 32]).await.unwrap();
    stream
        .write_all(&[1, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1, 200, 0, 0, 0, 1, 9])
        .await
        .unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(
        answer.len(),
        49 + 33,
        "a reply and a verdict, and nothing of the node itself"
    );
    assert_eq!(
        (answer[49], &answer[50..]),
        (1, &[0; 32][..]),
        "the verdict carries no proof"
    );
}

#[tokio::test]
async fn somebody_in_the_middle_with_tls_of_their_own_on_both_sides_is_found_out() {
    let (a, b) = (node("n1", 1).await, node("n2", 2).await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (middle, target) = (listener.local_addr().unwrap(), b.local_addr());
    let acceptor = tls_acceptor();
    let relayed = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = Arc::clone(&relayed);
    let task = tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut near) = acceptor.accept(tcp).await else {
                continue;
            };
            let mut far = dial_tls(target).await;
            let (mut there, mut back) = ([0; 1024], [0; 1024]);
            loop {
                let sent = tokio::select! {
                    n = near.read(&mut there) => match n {
                        Ok(n @ 1..) => (&mut far as &mut (dyn AsyncWrite + Unpin + Send), &there[..n], n as u64),
                        _ => break,
                    },
                    n = far.read(&mut back) => match n {
                        Ok(n @ 1..) => (&mut near as &mut (dyn AsyncWrite + Unpin + Send), &back[..n], 0),
                        _ => break,
                    },
                };
                sent.0.write_all(sent.1).await.unwrap();
                sent.0.flush().await.unwrap();
                count.fetch_add(sent.2, Ordering::SeqCst);
            }
        }
    });
    let address = middle.to_string();
    assert_eq!(a.hello(&address, LONG).await, Err(CallError::WrongToken { address }));
    until("the middle carried the greeting", || {
        relayed.load(Ordering::SeqCst) >= 49 + 32
    })
    .await;
    task.abort();

    // The same way without a look inside is open: it was the look that was found out.
    let relay = Relay::to(b.local_addr()).await;
    a.hello(&relay.address.to_string(), LONG).await.unwrap();
}

#[tokio::test]
async fn a_stranger_s_tls_server_and_one_that_hangs_up_are_unreachable_and_say_why() {
    let a = node("n1", 1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = tls_acceptor();
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(tcp).await.unwrap();
        stream.write_all(&[b'x'; 49]).await.unwrap();
        stream.flush().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        drop(listener.accept().await);
    });
    let stranger = a.hello(&address, LONG).await.unwrap_err();
    assert!(
        matches!(&stranger, CallError::Unreachable { why, .. } if why.contains("not a sluice node")),
        "{stranger}"
    );
    let rude = a.hello(&address, LONG).await.unwrap_err();
    assert!(
        matches!(&rude, CallError::Unreachable { why, .. } if why.contains("greeting failed")),
        "{rude}"
    );
    task.await.unwrap();
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn tls_acceptor() -> TlsAcceptor {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["sluice-peer".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"sluice-peer".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// TLS with a node, by somebody who has no token.
async fn dial_tls(address: SocketAddr) -> TlsStream<TcpStream> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"sluice-peer".to_vec()];
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("sluice-peer").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}

#[derive(Debug)]
struct Anyone;

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
